"""How often the best passages of a document hold the answer: `spanqa rank` on questions with known answers.

    python ranking.py DATASET.json --spanqa PATH --above 4096 --order words --order "reader --read 24"

DATASET is SQuAD-like JSON. Only its answerable questions to documents with more than `--above` bytes count. A passage is a hit if it
holds one of the answers whole, where the data set says it stands. Prints a line for each order.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path


def questions(path, above):
    """Each question with its document and the places of its answers, in code points."""
    for article in json.loads(Path(path).read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            if len(paragraph["context"].encode()) <= above:
                continue
            for question in paragraph["qas"]:
                answers = question.get("answers") or []
                places = [(answer["answer_start"], answer["answer_start"] + len(answer["text"])) for answer in answers]
                if places and not question.get("is_impossible"):
                    yield question["question"], paragraph["context"], places


def rank(spanqa, question, document, order, most):
    command = [spanqa, "rank", question, str(document), "--read-as", "text", "--quiet", "--offline", "-k", str(most), "--by", *order.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)["results"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--spanqa", default="spanqa")
    parser.add_argument("--above", type=int, default=4096)
    parser.add_argument("--every", type=int, default=1, help="only one question of so many")
    parser.add_argument("--order", action="append", default=[])
    args = parser.parse_args()
    asked = list(questions(args.dataset, args.above))[:: args.every]
    with tempfile.TemporaryDirectory() as folder:
        for order in args.order or ["words"]:
            places, started = [], time.time()
            for question, context, golds in asked:
                document = Path(folder) / f"{abs(hash(context))}.txt"
                if not document.exists():
                    document.write_text(context, encoding="utf-8", newline="")
                found = rank(args.spanqa, question, document, order, 20)
                holds = [any(one["start"] <= start and end <= one["end"] for start, end in golds) for one in found]
                places.append(holds.index(True) + 1 if True in holds else None)
            hits = {most: sum(place is not None and place <= most for place in places) for most in (1, 3, 5, 20)}
            shown = ", ".join(f"first {most}: {count} ({100 * count / len(asked):.1f} %)" for most, count in hits.items())
            print(f"{order}: {len(asked)} questions; {shown}; {(time.time() - started) / len(asked):.2f} s a question", flush=True)


main()
