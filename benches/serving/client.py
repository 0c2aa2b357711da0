"""Servers to measure, requests to send them, and a client that costs little."""

import asyncio
import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path


def pairs(path, count):
    """The first questions of a SQuAD-like data set, evenly from all its paragraphs, with their contexts."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
    every = [
        (question["question"], paragraph["context"])
        for article in data
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    step = max(1, len(every) // count)
    return every[::step][:count]


@contextmanager
def spanqa(program, *flags):
    """A running server; its address as (host, port)."""
    command = [program, "serve", "--port", "0", "--quiet", "--shutdown-delay", "0", *flags]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        host, port = server.stdout.readline().strip().removeprefix("http://").rsplit(":", 1)
        asyncio.run(until_ready((host, int(port)), "/ready"))
        yield (host, int(port)), server
    finally:
        server.terminate()
        server.wait()


async def until_ready(address, path):
    for _ in range(3000):
        try:
            status, *_ = await Connections(address).ask(get(path))
            if status == 200:
                return
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"the server at {address} does not become ready")


def get(path):
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


def post(path, body, kind="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connections:
    """Connections that are used again; where none is free another one is opened."""

    def __init__(self, address):
        self.address, self.free = address, []

    async def ask(self, request):
        """Sends a request. Status, headers and body of the response."""
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection(*self.address)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            # It was closed while nobody used it.
            writer.close()
            reader, writer = await asyncio.open_connection(*self.address)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head[:-4].decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            writer.close()
        else:
            self.free.append((reader, writer))
        return int(status.split()[1]), headers, body


async def at_once(address, requests, connections, each):
    """Sends all requests over so many connections, each as soon as its connection is free. Seconds."""
    waiting, pool = iter(enumerate(requests)), Connections(address)

    async def work():
        for number, request in waiting:
            each(number, *await pool.ask(request))

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return time.perf_counter() - begun


async def open_loop(address, requests, arrivals):
    """Sends each request at its time, whatever became of those before: [(arrival, status, seconds from then to the whole response, headers)]."""
    pool, done = Connections(address), []
    begun = time.perf_counter()

    async def one(arrival, request):
        try:
            status, headers, _ = await pool.ask(request)
        except (OSError, asyncio.IncompleteReadError):
            status, headers = 0, {}
        done.append((arrival, status, time.perf_counter() - begun - arrival, headers))

    tasks = []
    for arrival, request in zip(arrivals, requests):
        wait = begun + arrival - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(arrival, request)))
    await asyncio.gather(*tasks)
    return done


def resident(process):
    """Megabytes of memory that a process holds now."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {process} has ended")


def cores():
    return os.cpu_count()
