"""What `spanqa serve` does when things go wrong at size. Linux only: it reads `/proc`.

    python benches/serving/faults.py --spanqa PATH [--model tests/fixtures/tiny/minilm] [CHECK]...

connections  10,000 that say nothing, let in all at once or a thousand at a time, and one that asks
bodies       50 MB: refused by length and without one, and read where that is allowed
leaving      2,000 requests whose senders hang up
ending       SIGTERM under load, 20 times: what was sent over a connection that was taken is answered
memory       200,000 requests: what the process holds after every 20,000
"""

import argparse
import asyncio
import json
import resource
import signal
import time
from pathlib import Path

from client import Connections, at_once, get, post, resident, spanqa

ASK = post("/v1/answer", {"question": "who was it?", "context": "the old king of the hill was old"})


async def metric(address, name):
    _, _, body = await Connections(address).ask(get("/metrics"))
    return next(float(line.split()[1]) for line in body.decode().splitlines() if line.split(" ")[0] == name)


async def answered(address, request=ASK):
    status, _, body = await Connections(address).ask(request)
    return status, body


async def silent(address, count):
    """So many open connections; the system takes no more than a few thousand attempts at a time."""
    opened = []
    for first in range(0, count, 500):
        some = (asyncio.open_connection(*address) for _ in range(first, min(count, first + 500)))
        opened += await asyncio.gather(*some)
    return opened


def connections(args):
    for most, timeout in (("12000", "60s"), ("1000", "2s")):
        with spanqa(args.spanqa, *args.flags, "--max-connections", most, "--header-timeout", timeout) as (address, server):

            async def run():
                before = resident(server.pid)
                begun = time.perf_counter()
                opened = await silent(address, 10_000)
                took = time.perf_counter() - begun
                begun = time.perf_counter()
                status, _ = await answered(address)
                waited = time.perf_counter() - begun
                held = resident(server.pid)
                assert status == 200
                for _, writer in opened:
                    writer.close()
                while await metric(address, "spanqa_connections") > 1:
                    await asyncio.sleep(0.1)
                print(
                    f"10,000 connections, {most} let in: opened in {took:.1f} s, a request took {waited:.2f} s, "
                    f"{held - before:.1f} MB more than {before:.1f} MB"
                )

            asyncio.run(run())


def bodies(args):
    text = json.dumps({"question": "who was it?", "context": "the old king of the hill. " * (50_000_000 // 26)}).encode()
    chunk = 1 << 16
    pieces = (text[at : at + chunk] for at in range(0, len(text), chunk))
    head = b"POST /v1/answer HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    with spanqa(args.spanqa, *args.flags) as (address, server):
        before = resident(server.pid)
        for name, request in (("by its length", post("/v1/answer", text)), ("without a length", chunked)):
            for _ in range(5):
                status, _ = asyncio.run(answered(address, request))
                assert status == 413, status
            print(f"50 MB refused {name}: 413 five times, {resident(server.pid) - before:.1f} MB more")
        assert asyncio.run(answered(address))[0] == 200
    with spanqa(args.spanqa, *args.flags, "--max-body", "64M", "--request-timeout", "10m") as (address, _):

        async def run():
            begun, others = time.perf_counter(), []
            long = asyncio.create_task(answered(address, post("/v1/answer", text)))
            while not long.done():
                asked = time.perf_counter()
                assert (await answered(address))[0] == 200
                others.append(time.perf_counter() - asked)
                await asyncio.sleep(0.05)
            status, body = await long
            assert status == 200, body
            took, others = time.perf_counter() - begun, sorted(others)
            median, longest = others[len(others) // 2], others[-1]
            print(f"50 MB read in {took:.1f} s; {len(others)} others meanwhile in {median:.3f} s, the longest {longest:.3f} s")

        asyncio.run(run())


def leaving(args):
    with spanqa(args.spanqa, *args.flags) as (address, server):

        async def run():
            async def one():
                _, writer = await asyncio.open_connection(*address)
                writer.write(ASK)
                await writer.drain()
                writer.close()

            for _ in range(20):
                await asyncio.gather(*(one() for _ in range(100)))
            while await metric(address, "spanqa_queue_tokens") or await metric(address, "spanqa_connections") > 1:
                await asyncio.sleep(0.05)
            assert (await answered(address))[0] == 200
            print(f"2,000 senders hung up: nothing waits any more, {resident(server.pid):.1f} MB")

        asyncio.run(run())


def ending(args):
    sent = lost = unanswered = 0
    for run in range(20):
        with spanqa(args.spanqa, *args.flags) as (address, server):

            async def client():
                nonlocal sent, lost, unanswered
                while True:
                    try:
                        reader, writer = await asyncio.open_connection(*address)
                    except OSError:
                        # It takes no connection any more.
                        return
                    sent += 1
                    try:
                        writer.write(ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
                        response = await reader.read()
                        lost += not response.startswith(b"HTTP/1.1 200")
                    except OSError:
                        unanswered += 1
                    writer.close()

            async def load():
                clients = [asyncio.create_task(client()) for _ in range(32)]
                await asyncio.sleep(0.3 + run * 0.01)
                server.send_signal(signal.SIGTERM)
                await asyncio.gather(*clients)

            asyncio.run(load())
            assert server.wait() == 0
    print(f"20 times SIGTERM: {sent} requests were sent, {lost} got no answer, {unanswered} were cut off")
    assert not lost and not unanswered


def memory(args):
    with spanqa(args.spanqa, *args.flags) as (address, server):
        begun, held = time.perf_counter(), [resident(server.pid)]

        def each(number, status, headers, body):
            assert status == 200, body

        for _ in range(10):
            asyncio.run(at_once(address, [ASK] * 20_000, 64, each))
            held.append(resident(server.pid))
        rate = 200_000 / (time.perf_counter() - begun)
        print(f"200,000 requests, {rate:.0f} a second; MB: {', '.join(f'{one:.1f}' for one in held)}")
        assert held[-1] < held[1] * 1.1 + 2, "it grows"


CHECKS = {check.__name__: check for check in (connections, bodies, leaving, ending, memory)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", default=list(CHECKS), metavar="CHECK")
    parser.add_argument("--spanqa", required=True)
    parser.add_argument("--model", default=str(Path(__file__).parents[2] / "tests/fixtures/tiny/minilm"))
    args = parser.parse_args()
    args.flags = ["--model", args.model]
    # Each side has a file for each connection.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    for check in args.checks:
        CHECKS[check](args)


if __name__ == "__main__":
    main()
