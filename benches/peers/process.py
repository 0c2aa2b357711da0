"""Workers as child processes: asking them, watching that the idle ones are idle, and keeping within the memory."""

import json
import os
import select
import subprocess
import time
from collections import OrderedDict

TICK = os.sysconf("SC_CLK_TCK")
# Offline: everything is local, and a worker must not wait for a hub.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class WorkerError(Exception):
    """A worker that did not start, died, or answered with an error."""


class Process:
    """One worker, from its `ready` line to `quit`."""

    def __init__(self, command, env, threads, log, timeout=600):
        self.log, self.timeout, self.buffer = log, timeout, b""
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": str(threads), **env}
        with open(log, "wb") as errors:
            try:
                self.child = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
                )
            except OSError as error:
                raise WorkerError(f"{command[0]}: {error.strerror}") from error
        try:
            self.ready = self.receive()
        except WorkerError:
            self.kill()
            raise

    def send(self, line):
        try:
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()
        except OSError as error:
            raise WorkerError(f"the worker is gone: {self.last_words()}") from error

    def receive(self):
        """The next reply; one with an `error` becomes a WorkerError."""
        deadline = time.monotonic() + self.timeout
        while b"\n" not in self.buffer:
            if not select.select([self.child.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                self.kill()
                raise WorkerError(f"no answer within {self.timeout:.0f} s")
            part = os.read(self.child.stdout.fileno(), 65536)
            if not part:
                self.child.wait()
                raise WorkerError(f"exit status {self.child.returncode}: {self.last_words()}")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        try:
            reply = json.loads(line)
        except ValueError:
            self.kill()
            raise WorkerError(f"not a line of JSON: {line[:200]!r}") from None
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def ask(self, line):
        self.send(line)
        return self.receive()

    def last_words(self):
        """The last line on stderr says best why a program ended."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "nothing on stderr"

    def cpu_seconds(self):
        """Processor time of all its threads so far."""
        with open(f"/proc/{self.child.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def close(self):
        if self.child.poll() is None:
            try:
                self.send("quit")
                self.child.wait(timeout=10)
            except (WorkerError, subprocess.TimeoutExpired):
                pass
        self.kill()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


class Pool:
    """Workers that stay loaded while memory allows; the one unused for longest makes room for the next."""

    def __init__(self, room):
        self.room = room  # bytes that a start may need
        self.running = OrderedDict()
        self.evictions = 0

    def get(self, key, start, needed=()):
        """The worker under `key`, started by `start()` if need be, and whether it is new; those under `needed` stay."""
        if key in self.running:
            self.running.move_to_end(key)
            return self.running[key], False
        while available_memory() < self.room:
            oldest = next((other for other in self.running if other not in needed), None)
            if oldest is None:
                break
            self.running.pop(oldest).close()
            self.evictions += 1
        self.running[key] = start()
        return self.running[key], True

    def discard(self, matches):
        """Ends the workers whose key `matches`."""
        for key in [key for key in self.running if matches(key)]:
            self.running.pop(key).close()

    def close(self):
        for process in self.running.values():
            process.close()
        self.running.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Watch:
    """Processor time around a turn: of the other workers, which should be none, and of anything else on the machine."""

    def __init__(self, pool, busy):
        self.busy = list(busy)
        self.others = [process for process in pool.running.values() if process not in self.busy]
        self.began, self.before = time.monotonic(), self.times()

    def times(self):
        own = [sum(process.cpu_seconds() for process in group) for group in (self.busy, self.others)]
        return *own, machine_busy_seconds()

    def shares(self):
        """Of one core during the turn: {"idle_workers", "foreign"}."""
        wall = time.monotonic() - self.began
        busy, others, machine = (after - before for after, before in zip(self.times(), self.before))
        return {"idle_workers": others / wall, "foreign": max(0.0, machine - busy - others) / wall}


def machine_busy_seconds():
    with open("/proc/stat") as stat:
        fields = [int(value) for value in stat.readline().split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / TICK


def available_memory():
    with open("/proc/meminfo") as meminfo:
        return next(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemAvailable"))
