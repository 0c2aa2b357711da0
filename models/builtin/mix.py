"""Draws what the built-in model learned from beside the everyday questions.

    python mix.py squad2-train.json.gz held-out.json nq-tydi.jsonl

11,000 SQuAD v2.0 questions outside the held-out articles go to squad-sample.json, 3,000 of the other rows to nq-tydi-sample.jsonl.
`spanqa train --data squad2-train.json.gz --hold-out 0.02 --seed 0` writes held-out.json.
"""

import gzip
import json
import random
import sys

squad, held_out, others = sys.argv[1:]
random.seed(26)
with open(held_out, encoding="utf-8") as file:
    held = {article["title"] for article in json.load(file)["data"]}
with gzip.open(squad) as file:
    articles = [article for article in json.load(file)["data"] if article["title"] not in held]
ids = [question["id"] for article in articles for text in article["paragraphs"] for question in text["qas"]]
chosen = set(random.sample(ids, 11_000))
for article in articles:
    for text in article["paragraphs"]:
        text["qas"] = [question for question in text["qas"] if question["id"] in chosen]
    article["paragraphs"] = [text for text in article["paragraphs"] if text["qas"]]
with open("squad-sample.json", "w", encoding="utf-8") as out:
    json.dump({"version": "v2.0", "data": [article for article in articles if article["paragraphs"]]}, out)
with open(others, encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
random.shuffle(rows)
with open("nq-tydi-sample.jsonl", "w", encoding="utf-8") as out:
    out.writelines(json.dumps(row) + "\n" for row in rows[:3_000])
