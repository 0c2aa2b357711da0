"""How `spanqa serve` fares under load, beside transformers' pipeline behind FastAPI.

    pip install torch transformers==4.57.* fastapi uvicorn safetensors
    python benches/serving/load.py DATASET.json --spanqa PATH --peer models/builtin --out FOLDER

Questions of a SQuAD-like data set are sent to /predict. First comes what `spanqa batch` manages by the same rules, what the server does over
64 connections, and how long a request takes when there is no other. Then the open loop: arrival times are fixed beforehand, as chance would
have them (Poisson), from 10 to 150 % of the capacity that was measured, and the time of a request counts from its arrival, sent late or not.
Server and client share the machine, so leave it alone meanwhile. FOLDER gets load.json and two charts.
"""

import argparse
import asyncio
import json
import platform
import random
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from client import at_once, cores, open_loop, pairs, post, spanqa, until_ready

sys.path.append(str(Path(__file__).parents[1] / "peers"))
from svg import line_chart  # noqa: E402

SHARES = "0.1,0.3,0.5,0.7,0.9,1.1,1.3,1.5"


@contextmanager
def peer(model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = Path(__file__).with_name("peer.py")
    server = subprocess.Popen([sys.executable, here, "--model", model, "--port", str(port)])
    try:
        asyncio.run(until_ready(("127.0.0.1", port), "/ready"))
        yield ("127.0.0.1", port)
    finally:
        server.terminate()
        server.wait()


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def milliseconds(values, share):
    return round(1000 * quantile(values, share), 2)


def by_batch(program, asked):
    """Questions a second, loading the model aside: what a run of one question takes is taken off."""

    def run(some):
        lines = "\n".join(json.dumps({"question": q, "context": c}) for q, c in some)
        begun = time.perf_counter()
        subprocess.run([program, "batch", "--quiet", "--score", "hf"], input=lines.encode(), stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    return (len(asked) - 1) / (run(asked) - run(asked[:1]))


def closed(address, requests, connections):
    """Requests a second, and the seconds of each, over connections that are never idle."""
    seconds, last = [], {}

    def each(number, status, headers, body):
        assert status == 200, body
        now = time.perf_counter()
        seconds.append(now - last.get("end", begun))
        last["end"] = now

    begun = time.perf_counter()
    took = asyncio.run(at_once(address, requests, connections, each))
    return len(requests) / took, seconds


def arrivals(rate, seconds, seed):
    chance, at, times = random.Random(seed), 0.0, []
    while (at := at + chance.expovariate(rate)) < seconds:
        times.append(at)
    return times


def under_load(address, requests, rate, seconds, seed):
    """A row of the table."""
    times = arrivals(rate, seconds, seed)
    chosen = [requests[number % len(requests)] for number in range(len(times))]
    done = asyncio.run(open_loop(address, chosen, times))
    good = [took for _, status, took, _ in done if status == 200]
    refused = [(took, headers) for _, status, took, headers in done if status == 429]
    row = {
        "offered": round(len(times) / seconds, 1),
        # What is still answered after the last arrival takes its time, too.
        "goodput": round(len(good) / max(seconds, max(at + took for at, _, took, _ in done)), 1),
        "p50": milliseconds(good, 0.5),
        "p99": milliseconds(good, 0.99),
        "refused": len(refused),
        "failed": len(done) - len(good) - len(refused),
    }
    if refused:
        row["refused_p99"] = milliseconds([took for took, _ in refused], 0.99)
        row["refused_by_server_max"] = max(float(headers["x-total-time"]) for _, headers in refused)
        row["retry_after"] = sorted({int(headers["retry-after"]) for _, headers in refused})
    return row


def charts(out, results):
    colours = {"spanqa serve": "#0969da", "transformers": "#cf222e"}
    latency, good = [], []
    for name, result in results["servers"].items():
        rows, colour = result["rows"], colours[name]
        latency.append((f"{name}, p99", colour, False, [(row["offered"], row["p99"]) for row in rows]))
        latency.append((f"{name}, p50", colour, True, [(row["offered"], row["p50"]) for row in rows]))
        good.append((name, colour, False, [(row["offered"], row["goodput"]) for row in rows]))
    write = lambda name, chart: (out / name).write_text(chart, encoding="utf-8")
    write("latency.svg", line_chart("Time of a request", "requests a second", "milliseconds", latency, y_log=True))
    write("goodput.svg", line_chart("Answered in time", "requests a second", "answers a second", good))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--spanqa", required=True)
    parser.add_argument("--peer", help="folder of the built-in model; without it spanqa is measured alone")
    parser.add_argument("--seconds", type=float, default=11, help="of each load")
    parser.add_argument("--shares", default=SHARES, help="loads, as shares of the capacity")
    parser.add_argument("--questions", type=int, default=600, help="of each measurement of capacity")
    parser.add_argument("--queue-tokens", default="16384", help="--max-queue-tokens of spanqa: about two seconds' work")
    parser.add_argument("--batch-tokens", help="spanqa's, if not its own choice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    asked = pairs(args.dataset, args.questions)
    random.Random(0).shuffle(asked)
    requests = [post("/predict", {"inputs": {"question": q, "context": c}}) for q, c in asked]
    results = {"cores": cores(), "machine": platform.processor() or platform.machine(), "servers": {}}

    def measure(name, address, capacity, alone):
        result = results["servers"].setdefault(name, {"capacity": round(capacity, 1), "alone_p50": alone, "rows": []})
        print(f"{name}: {capacity:.1f} questions/s, alone p50 {alone} ms", flush=True)
        return result

    def loads(servers):
        for share in map(float, args.shares.split(",")):
            for name, address in servers:
                result = results["servers"][name]
                row = under_load(address, requests, share * result["capacity"], args.seconds, round(share * 100))
                result["rows"].append({"share": share, **row})
                print(f"{name} {share:.0%}: {row}", flush=True)

    def start(name, address, rounds):
        asyncio.run(at_once(address, requests[:20], 1, lambda *_: None))
        _, seconds = closed(address, requests[:100], 1)
        capacities = []
        for _ in range(rounds):
            if name == "spanqa serve":
                results.setdefault("batch", []).append(round(by_batch(args.spanqa, asked), 1))
            capacities.append(closed(address, requests if rounds > 1 else requests[:200], 64)[0])
        measure(name, address, statistics.median(capacities), milliseconds(seconds, 0.5))
        if name == "spanqa serve":
            results["of_batch"] = round(statistics.median(c / b for c, b in zip(capacities, results["batch"])), 3)
            print(f"batch: {results['batch']} questions/s; server by batch: {results['of_batch']}", flush=True)

    flags = ["--max-queue-tokens", args.queue_tokens]
    flags += ["--batch-tokens", args.batch_tokens] if args.batch_tokens else []
    with spanqa(args.spanqa, *flags) as (address, _):
        start("spanqa serve", address, args.rounds)
        servers = [("spanqa serve", address)]
        if args.peer:
            with peer(args.peer) as other:
                start("transformers", other, 1)
                loads([*servers, ("transformers", other)])
        else:
            loads(servers)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "load.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    charts(args.out, results)


if __name__ == "__main__":
    main()
