"""One run of the program: lines in, lines out, and what it says on standard error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

from ._errors import StartError

#: Seconds that a process has to end by itself before it is killed.
PATIENCE = 5.0
#: Lines of standard error that are kept.
KEPT_LINES = 50


class Process:
    """A running `spanqa batch`."""

    def __init__(self, command: List[str]) -> None:
        # An interrupt at the terminal is for Python, which then decides what becomes of the process.
        apart: Dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            apart = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        try:
            self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **apart)
        except OSError as error:
            raise StartError("not_started", f"cannot start {command[0]}: {error}", "is it a program for this machine?") from error
        self._said: Deque[str] = deque(maxlen=KEPT_LINES)
        self._listener = threading.Thread(target=self._listen, name="spanqa-stderr", daemon=True)
        self._listener.start()

    def wait_until_ready(self) -> None:
        """Returns when the model is open: an empty request is refused from then on, and costs nothing."""
        try:
            with contextlib.suppress(OSError):
                self.write(b"{}\n")
            if self.read() is None:
                code = self.wait()
                message, hint = self.last_words()
                raise StartError("not_started", message or f"spanqa {ending(code)} before it was ready", hint)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._popen.pid

    def write(self, line: bytes) -> None:
        """Writes a line. Raises OSError if the process has ended."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(line)
        self._popen.stdin.flush()

    def read(self) -> Optional[bytes]:
        """The next whole line; None once there will be no more."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        return line if line.endswith(b"\n") else None

    def _listen(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            self._said.append(line.decode("utf-8", "replace").rstrip())

    def last_words(self) -> Tuple[Optional[str], Optional[str]]:
        """The error that the process ended with, and its hint. To be asked after it has ended."""
        self._listener.join(PATIENCE)
        message: Optional[str] = None
        hint: Optional[str] = None
        for line in self._said:
            if line.startswith("error: "):
                message, hint = line[len("error: ") :], None
            elif line.startswith("hint: "):
                hint = line[len("hint: ") :]
            elif line.startswith("For more information, try '--help'"):
                hint = "options of a Reader are the flags of `spanqa batch --help`, with underscores"
        if message is None and self._said:
            message = " ".join(line for line in self._said if line.strip())
        return message, hint

    def wait(self) -> int:
        """Its exit code, once it has ended; minus a signal that ended it."""
        return self._popen.wait()

    def end(self) -> None:
        """Ends the process after what it was asked."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        self._end_within(PATIENCE)

    def kill(self) -> None:
        """Ends the process whatever it does."""
        self._popen.kill()
        self._end_within(PATIENCE)

    def _end_within(self, seconds: float) -> None:
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
