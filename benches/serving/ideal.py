"""What a queue would do that answers one request after the other, as fast as the server does at its best.

    python benches/serving/ideal.py DATASET.json --capacity 38.2

Requests come as chance has them (Poisson), are the questions of a SQuAD-like data set, and take as long as they have characters. No server
that answers in the order of arrival can do better at that capacity. Needs Python alone.
"""

import argparse
import random
import sys

from client import pairs

REQUESTS = 200_000


def waits(seconds, share, capacity):
    """How long each of many requests takes from its arrival on."""
    chance, now, free, found = random.Random(1), 0.0, 0.0, []
    for _ in range(REQUESTS):
        now += chance.expovariate(share * capacity)
        free = max(now, free) + chance.choice(seconds)
        found.append(free - now)
    return sorted(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--capacity", type=float, required=True, help="requests a second")
    args = parser.parse_args()
    sizes = [len(question) + len(context) for question, context in pairs(args.dataset, sys.maxsize)]
    mean = sum(sizes) / len(sizes)
    seconds = [size / mean / args.capacity for size in sizes]
    for share in [0.1, 0.3, 0.5, 0.7, 0.9]:
        found = waits(seconds, share, args.capacity)
        p50, p99 = (1000 * found[int(part * len(found))] for part in (0.5, 0.99))
        print(f"{share:.0%}: p50 {p50:.0f} ms, p99 {p99:.0f} ms")


if __name__ == "__main__":
    main()
