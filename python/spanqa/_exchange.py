"""Requests out, records back, whatever becomes of the process.

Records come in the order of the requests, so a queue of tickets says whose each one is. A thread takes records as they
come; so the pipe never fills up behind a slow consumer, and a caller may write as much as it likes without a deadlock.

When the process dies, what was under way is asked again of a new one, one request at a time: the request that kills it
is found, gets the error, and the others get their records.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from concurrent.futures import Future
from typing import Deque, List, Optional, Tuple

from ._errors import CrashError, Error
from ._process import PATIENCE, Process, ending

log = logging.getLogger("spanqa")

#: Processes that may die one after the other, with no record between, before requests are given up.
MOST_DEATHS = 3
TOO_LARGE = "was it too large for the memory? `max_bytes` refuses large requests, `batch_tokens` makes batches smaller"


class Ticket:
    """A request that waits for its record."""

    def __init__(self, line: bytes) -> None:
        self.line = line
        self.record: "Future[bytes]" = Future()
        self.unwanted = False


class Exchange:
    """Sends requests to a process and restarts it when it dies. May be used from several threads."""

    def __init__(self, command: List[str]) -> None:
        self._command = command
        self._owner = os.getpid()
        #: Held by whoever writes, and while a process takes the place of another.
        self._writing = threading.Lock()
        self._pending: Deque[Ticket] = deque()
        self._closed = False
        self._process: Optional[Process] = None
        self._reading: Optional[threading.Thread] = None
        self.restarts = 0
        self._start_reading()

    @property
    def pid(self) -> Optional[int]:
        """The process that answers now."""
        process = self._process
        return process.pid if process else None

    def send(self, line: bytes) -> "Future[bytes]":
        """Sends a request of one line; the future gets its record, or an Error."""
        ticket = Ticket(line)
        with self._writing:
            self._require_usable()
            process = self._process or self._start_reading()
            self._pending.append(ticket)
            try:
                process.write(line)
            except (OSError, ValueError):
                pass  # It has died or is closed: the thread that reads finds out.
            except BaseException:
                # Half a line may have been written: nothing that follows would be understood.
                ticket.unwanted = True
                process.kill()
                raise
        return ticket.record

    def _require_usable(self) -> None:
        if self._closed:
            raise Error("closed", "this Reader is closed", "open a new one; results are taken while it is open, inside its `with`")
        if os.getpid() != self._owner:
            raise Error("forked", "this Reader belongs to another process", "open a Reader in each process that asks")

    def _start(self) -> Process:
        """A process that is ready. Called with the lock, or before anybody knows this object."""
        process = Process(self._command)
        self._process = process
        if self._closed:
            process.kill()
        try:
            process.wait_until_ready()
        except BaseException:
            self._process = None
            raise
        return process

    def _start_reading(self) -> Process:
        process = self._start()
        self._reading = threading.Thread(target=self._read, args=[process], name="spanqa-records", daemon=True)
        self._reading.start()
        return process

    def _read(self, process: Optional[Process]) -> None:
        """Hands out records until there is no process to read from."""
        while process is not None:
            record = process.read()
            if record is not None:
                self._pending.popleft().record.set_result(record)
            else:
                process = self._after_death(process)

    def _after_death(self, process: Process) -> Optional[Process]:
        """Asks again what was under way, or says why it cannot be. The process that answers from now on, if one has to."""
        with self._writing:
            try:
                self._process = self._ask_again(process)
            except Error as error:
                self._process = None
                error = Error("closed", "the Reader was closed before this was answered") if self._closed else error
                while self._pending:
                    self._pending.popleft().record.set_exception(error)
            return self._process

    def _ask_again(self, dead: Process) -> Optional[Process]:
        """Asks what is pending, one request after the other, of new processes. Returns the one that has survived."""
        what, _ = how_it_ended(dead)
        deaths = 0
        while self._pending:
            if self._closed or deaths == MOST_DEATHS:
                what = f"{what}; it died {deaths} times without an answer between"
                raise Error("gave_up", what, "does `spanqa ask` work on this machine?")
            log.warning("%s; asking again what was under way: %d requests", what, len(self._pending))
            process = self._start()
            self.restarts += 1
            deaths += 1
            while self._pending:
                record = ask(process, self._pending[0])
                if record is None:
                    break
                deaths = 0
                self._pending.popleft().record.set_result(record)
            else:
                return process
            what, hint = how_it_ended(process)
            error = CrashError("crashed", f"{what}; it was asked nothing but this", hint or TOO_LARGE)
            self._pending.popleft().record.set_exception(error)
        return None

    def close(self) -> None:
        """Ends the process and waits until it has ended. What was under way gets an error."""
        if os.getpid() != self._owner:
            return
        self._closed = True
        process, reading = self._process, self._reading
        if process is not None:
            # Someone may be writing to a process that no longer reads: only its end ends that.
            if self._pending:
                process.kill()
            else:
                process.end()
        if reading is not None and reading is not threading.current_thread():
            reading.join(PATIENCE)


def ask(process: Process, ticket: Ticket) -> Optional[bytes]:
    """Asks a process that has nothing else to do; None if it dies of that."""
    if ticket.unwanted:
        return b""
    try:
        process.write(ticket.line)
    except (OSError, ValueError):
        return None
    return process.read()


def how_it_ended(process: Process) -> Tuple[str, Optional[str]]:
    """What became of a process that has ended, and its hint."""
    code = process.wait()
    message, hint = process.last_words()
    return f"spanqa {ending(code)}" + (f": {message}" if message else ""), hint
