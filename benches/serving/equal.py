"""Whether answers are the same bytes whatever else is asked at the same time.

    python benches/serving/equal.py DATASET.json --spanqa PATH

A sample of the questions of a SQuAD-like data set is asked over 64 connections, in several orders, and compared with what
`spanqa ask` prints for each alone and with what `spanqa batch` prints for all.
"""

import argparse
import asyncio
import json
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor

from client import at_once, cores, pairs, post, spanqa


def compare(name, found, expected):
    wrong = [number for number in range(len(expected)) if found.get(number) != expected[number]]
    print(f"{name}: {len(expected) - len(wrong)} of {len(expected)} the same")
    for number in wrong[:3]:
        print(f"  {number}: {found.get(number)!r} is not {expected[number]!r}")
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--spanqa", required=True)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--orders", type=int, default=3)
    args = parser.parse_args()
    asked = pairs(args.dataset, args.questions)

    def alone(pair):
        command = [args.spanqa, "ask", "--quiet", "--threads", "1", pair[0], "--context", pair[1]]
        return subprocess.run(command, stdout=subprocess.PIPE).stdout

    with ThreadPoolExecutor(cores()) as several:
        by_ask = list(several.map(alone, asked))
    lines = [json.dumps({"id": number, "question": q, "context": c}).encode() for number, (q, c) in enumerate(asked)]
    batch = subprocess.run([args.spanqa, "batch", "--quiet"], input=b"\n".join(lines), stdout=subprocess.PIPE)
    by_batch = batch.stdout.splitlines(keepends=True)
    assert len(by_batch) == len(asked), "batch gave another number of records"

    ways = [
        ("/v1/answer and ask", lambda n: post("/v1/answer", {"question": asked[n][0], "context": asked[n][1]}), by_ask),
        ("/v1/answer/stream and batch", lambda n: post("/v1/answer/stream", lines[n], "application/x-ndjson"), by_batch),
    ]
    same = True
    with spanqa(args.spanqa) as (address, _):
        for order in range(args.orders):
            numbers = list(range(len(asked)))
            random.Random(order).shuffle(numbers)
            for name, request, expected in ways:
                found = {}
                each = lambda place, status, headers, body: found.__setitem__(numbers[place], body)
                asyncio.run(at_once(address, [request(n) for n in numbers], args.connections, each))
                same &= compare(f"order {order}, {args.connections} connections, {name}", found, expected)
        stream = {}
        everything = post("/v1/answer/stream", b"\n".join(lines), "application/x-ndjson")
        asyncio.run(at_once(address, [everything], 1, lambda *all: stream.update(enumerate(all[3].splitlines(keepends=True)))))
        same &= compare("all in one stream, and batch", stream, by_batch)
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
