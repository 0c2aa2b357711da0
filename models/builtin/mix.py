"""Draws what the built-in model learned from beside the everyday questions.

    python mix.py squad2-train.json.gz held-out.json others.jsonl.gz

SQuAD v2.0 outside the held-out articles goes to squad.json; the other rows go to a file for each source, nq.jsonl and so on, of QAMR
every fourth. `spanqa train --data squad2-train.json.gz --hold-out 0.02 --seed 0` writes held-out.json.
"""

import gzip
import json
import sys

squad, held_out, others = sys.argv[1:]
with open(held_out, encoding="utf-8") as file:
    held = {article["title"] for article in json.load(file)["data"]}
with gzip.open(squad) as file:
    articles = [article for article in json.load(file)["data"] if article["title"] not in held]
with open("squad.json", "w", encoding="utf-8") as out:
    json.dump({"version": "v2.0", "data": articles}, out)
rows = {}
with gzip.open(others, "rt", encoding="utf-8") as file:
    for line in file:
        rows.setdefault(json.loads(line)["source"].split("-")[0], []).append(line)
for source, lines in rows.items():
    with open(f"{source}.jsonl", "w", encoding="utf-8") as out:
        out.writelines(lines[::4] if source == "qamr" else lines)
