"""Long runs of `spanqa`: what it holds, and what is lost or wrong. Linux only: it reads `/proc`.

    python benches/serving/soak.py serve --spanqa PATH --out FOLDER [--minutes 60] [--rate 12] [--restarts 6]
    python benches/serving/soak.py batch --spanqa PATH --out FOLDER [--requests 2000000]

serve    Requests of every kind come as chance has them, to a tiny and to the built-in model: short and long texts, several questions,
         streams, embeddings, orders, wrong ones, and senders that hang up. In the first half of the time the server is ended by SIGTERM so
         many times, and started again on its port, while the load goes on; the second half is one life.
batch    So many small requests through a pipe, one of a thousand of which is not JSON.

It promises nothing about speed. It fails (exit 1) if one of these does not hold:

- every request is answered with the status that is right for it, and equal requests with equal bytes, whichever process answers;
- what was sent over a connection that was opened for it is answered. In the moment at which an ended server closes its address, the system
  may still take a connection that it then resets; such requests are counted. While no server is there connections are refused, while one
  loads its model it says 503: a client that tries again is answered by the next one;
- the server ends with 0, the batch too, and each line of it has its record, in order;
- memory does not grow: the most of the last quarter of a process's life is at most 10 % and 4 MB above the most of the second one. For the
  server that is its last life. Neither do descriptors; the server has as many as before the load once its clients have gone.

A machine that stood still for a while (asleep, or stopped) makes requests void that were on their way; they are counted.

FOLDER gets serve.csv or batch.csv (seconds, process, MB, descriptors, threads, seconds of CPU), and the figures are printed as JSON.
"""

import argparse
import asyncio
import collections
import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from client import Connections, get, post, resident, until_ready

TINY = Path(__file__).parents[2] / "tests/fixtures/tiny/minilm"
WORDS = ["the", "old", "king", "of", "hill", "was", "and", "who", "it", "in", "a", "house", "by", "sea"]


class Samples:
    """What processes hold, every few seconds, in a table."""

    def __init__(self, path, every):
        self.rows, self.every, self.begun = [], every, time.monotonic()
        self.file = open(path, "w", newline="", encoding="utf-8")
        self.table = csv.writer(self.file)
        self.table.writerow(["seconds", "process", "mb", "descriptors", "threads", "cpu"])

    def take(self, process):
        try:
            held = resident(process)
            descriptors = self.descriptors(process)
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return  # It has just ended.
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        row = (round(time.monotonic() - self.begun, 1), process, round(held, 1), descriptors, int(fields[17]), round(cpu, 1))
        self.rows.append(row)
        self.table.writerow(row)
        self.file.flush()

    @staticmethod
    def descriptors(process):
        return len(os.listdir(f"/proc/{process}/fd"))

    def growth(self):
        """The most MB and descriptors of the second and of the last quarter of the last process, and whether its memory is flat."""
        rows = [row for row in self.rows if row[1] == self.rows[-1][1]]
        quarter = max(1, len(rows) // 4)
        most = lambda some, column: max(row[column] for row in some)
        early, late = rows[quarter : 2 * quarter] or rows, rows[-quarter:]
        mb, descriptors = [[most(some, column) for some in (early, late)] for column in (2, 3)]
        flat = mb[1] <= mb[0] * 1.1 + 4
        return {"mb": mb, "descriptors": descriptors, "seconds": rows[-1][0] - rows[0][0], "flat": flat}


def text(chance, words):
    return " ".join(chance.choice(WORDS) for _ in range(words))


def kinds(chance):
    """Requests by kind, with their share and the status that is right. There are few of each, so that replies can be compared."""
    few = lambda make: [make() for _ in range(8)]
    ask = lambda words: {"id": "a", "question": "who was it?", "context": text(chance, words)}
    lines = lambda: "\n".join(json.dumps(ask(20)) for _ in range(20)).encode() + b"\nno JSON\n"
    return {
        "short": (30, 200, few(lambda: post("/v1/answer", ask(20)))),
        "pipeline": (10, 200, few(lambda: post("/predict", {"inputs": {"question": "who?", "context": text(chance, 30)}}))),
        "long": (4, 200, few(lambda: post("/v1/answer", ask(4_000)))),
        "several": (8, 200, few(lambda: post("/v1/answer", {**ask(40), "question": None, "questions": ["who?", "", "where?"]}))),
        "built-in": (4, 200, few(lambda: post("/models/builtin/v1/answer", ask(60)))),
        "stream": (6, 200, few(lambda: post("/v1/answer/stream", lines(), "application/x-ndjson"))),
        "embed": (3, 200, few(lambda: post("/embed", {"inputs": [text(chance, 10), text(chance, 20)]}))),
        "rerank": (3, 200, few(lambda: post("/rerank", {"query": "the king", "texts": [text(chance, 8) for _ in range(4)]}))),
        "no JSON": (6, 400, few(lambda: post("/v1/answer", text(chance, 5).encode()))),
        "a file": (4, 400, few(lambda: post("/v1/answer", {"question": "who?", "file": "/etc/hostname"}))),
        "no such path": (4, 404, few(lambda: post("/v1/nothing", ask(5)))),
        "too large": (1, 413, [post("/v1/answer", ask(3_000_000))]),
        "page": (4, 200, [get("/docs"), get("/health"), get("/openapi.json")]),
        "leaving": (13, None, few(lambda: post("/v1/answer", ask(400)))),
    }


class Serve:
    def __init__(self, args):
        self.args = args
        self.chance = random.Random(args.seed)
        self.kinds = kinds(self.chance)
        self.samples = Samples(args.out / "serve.csv", 5)
        self.seen, self.done = {}, collections.Counter()
        self.problems, self.again, self.gaps, self.ended = collections.Counter(), 0, [], []
        # Seconds in which nothing moved, the end of the last such time, and requests that were on their way then.
        self.still, self.still_until, self.void = 0, 0, 0
        # When a server ended, and requests that were reset by that.
        self.end, self.reset = 0, 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        self.pool = Connections(self.address)
        self.begun = time.monotonic()

    async def start(self):
        flags = ["--model", f"tiny={TINY}", "--model", "builtin=builtin", "--port", str(self.address[1]), "--shutdown-delay", "1"]
        self.server = subprocess.Popen([self.args.spanqa, "serve", "--quiet", *flags], stdout=subprocess.DEVNULL)
        await until_ready(self.address, "/ready")
        self.at_first = Samples.descriptors(self.server.pid)

    async def restart(self):
        server = self.server
        server.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        while server.poll() is None:
            await asyncio.sleep(0.02)
        ended = time.monotonic()
        self.ended.append(server.returncode)
        self.end = ended
        # Connections to the one that has ended are of no use.
        for _, writer in self.pool.free:
            writer.close()
        self.pool.free.clear()
        await self.start()
        self.gaps.append({"ending": round(ended - begun, 2), "away": round(time.monotonic() - ended, 2)})

    async def alone(self, request):
        """Over a connection of its own, which may be refused; but what it took is answered."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self.address)
                break
            except OSError:
                self.again += 1
                await asyncio.sleep(0.1)
        writer.write(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        try:
            reply = await reader.read()
        except ConnectionError:
            reply = b""
        writer.close()
        if not reply:
            return 0, b""
        head, _, body = reply.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    async def kept(self, request):
        """Over a connection that is kept; where the server closed it first, a client asks again."""
        while True:
            try:
                status, _, body = await self.pool.ask(request)
                return status, body
            except (OSError, asyncio.IncompleteReadError):
                self.again += 1
                await asyncio.sleep(0.1)

    async def leave(self, request):
        """Sends all or a part, and hangs up now or soon."""
        try:
            _, writer = await asyncio.open_connection(*self.address)
            writer.write(request[: self.chance.randrange(1, len(request) + 1)])
            await asyncio.sleep(self.chance.choice((0, 0, 0.02)))
            writer.close()
        except OSError:
            self.again += 1

    async def one(self, kind):
        _, right, requests = self.kinds[kind]
        number = self.chance.randrange(len(requests))
        self.done[kind] += 1
        if right is None:
            return await self.leave(requests[number])
        # A body that is refused before it is read may end a connection: such a sender has one for itself.
        how = self.alone if kind == "too large" or self.chance.random() < 0.5 else self.kept
        begun = time.monotonic()
        try:
            status, body = await asyncio.wait_for(how(requests[number]), 90)
            while status == 503 and b"not_ready" in body:
                self.again += 1
                await asyncio.sleep(0.1)
                status, body = await asyncio.wait_for(how(requests[number]), 90)
        except asyncio.TimeoutError:
            status, body = "no end", b""
        if status != right:
            # By then it is known whether everything stood still.
            await asyncio.sleep(2 * self.samples.every)
        if status != right and self.still_until > begun:
            self.void += 1
        elif status == 0 and self.end > begun:
            self.reset += 1
        elif status != right:
            self.problems[f"{kind}: {status}" + (" (sent, not answered)" if status == 0 else f" {body[:200]!r}")] += 1
        elif kind != "page":
            # Chunks are cut by time, records are not.
            words = [line for line in body.split(b"\n") if line.startswith(b"{")] if kind == "stream" else body
            if self.seen.setdefault((kind, number), words) != words:
                self.problems[f"{kind}: other bytes than before"] += 1
            if kind == "stream" and len(words) != 21:
                self.problems[f"stream: {len(words)} records"] += 1

    async def load(self, end):
        names, shares = list(self.kinds), [share for share, *_ in self.kinds.values()]
        running, at = set(), time.monotonic()
        while (at := at + self.chance.expovariate(self.args.rate)) < end:
            await asyncio.sleep(max(0, at - time.monotonic()))
            if time.monotonic() - at > 10:
                # What would have come meanwhile does not come at once.
                at = time.monotonic()
            task = asyncio.create_task(self.one(self.chance.choices(names, shares)[0]))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def watch(self):
        while True:
            self.samples.take(self.server.pid)
            begun = time.monotonic()
            await asyncio.sleep(self.samples.every)
            if (late := time.monotonic() - begun - self.samples.every) > 5:
                self.still, self.still_until = self.still + late, time.monotonic()

    async def run(self):
        await self.start()
        seconds = self.args.minutes * 60
        watch = asyncio.create_task(self.watch())
        load = asyncio.create_task(self.load(self.begun + seconds))
        for number in range(self.args.restarts):
            at = self.begun + seconds / 2 * (number + 1) / self.args.restarts
            await asyncio.sleep(max(0, at - time.monotonic()))
            await self.restart()
        await load
        watch.cancel()
        for _, writer in self.pool.free:
            writer.close()
        await asyncio.sleep(2)
        descriptors = [self.at_first, Samples.descriptors(self.server.pid)]
        self.server.send_signal(signal.SIGTERM)
        self.ended.append(await asyncio.to_thread(self.server.wait))
        growth = self.samples.growth()
        print(
            json.dumps(
                {
                    "requests": sum(self.done.values()),
                    "by kind": self.done,
                    "restarts": self.gaps,
                    "ended with": self.ended,
                    "asked again": self.again,
                    "seconds stood still": round(self.still),
                    "void": self.void,
                    "reset at an end": self.reset,
                    "last life": growth,
                    "descriptors before and after": descriptors,
                    "problems": self.problems,
                },
                indent=1,
            )
        )
        return not self.problems and not any(self.ended) and growth["flat"] and descriptors[1] <= descriptors[0] + 2


def batch(args):
    samples = Samples(args.out / "batch.csv", 1)
    command = [args.spanqa, "batch", "--model", str(TINY), "--window", "60", "--quiet", "--errors-ok"]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def wrong(number):
        return number % 1000 == 999

    def write():
        with program.stdin as pipe:
            for number in range(args.requests):
                line = f'{{"id": {number}, "question": "who was it?", "context": "king {number} of the hill was old"}}\n'
                pipe.write(b"no JSON\n" if wrong(number) else line.encode())

    def watch():
        while program.poll() is None:
            samples.take(program.pid)
            time.sleep(samples.every)

    threads = [threading.Thread(target=work, daemon=True) for work in (write, watch)]
    for thread in threads:
        thread.start()
    problems, records = collections.Counter(), 0
    for record in map(json.loads, program.stdout):
        if wrong(records):
            problems["a wrong line without an error"] += "error" not in record
        else:
            problems["an error"] += "error" in record
            problems["out of order"] += record["id"] != records
        records += 1
    code = program.wait()
    problems["records that are missing"] += args.requests - records
    growth = samples.growth()
    figures = {"records": records, "ended with": code, "cpu": samples.rows[-1][5], "memory": growth, "problems": +problems}
    print(json.dumps(figures, indent=1))
    early, late = growth["descriptors"]
    return not +problems and code == 0 and growth["flat"] and late <= early + 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["serve", "batch"])
    parser.add_argument("--spanqa", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60, help="of serve")
    parser.add_argument("--rate", type=float, default=12, help="requests a second to serve")
    parser.add_argument("--restarts", type=int, default=6, help="of serve")
    parser.add_argument("--requests", type=int, default=2_000_000, help="of batch")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    good = asyncio.run(Serve(args).run()) if args.what == "serve" else batch(args)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
