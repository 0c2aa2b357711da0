"""What can go wrong: a stable code for programs, a message and a hint for people."""

from __future__ import annotations

from typing import Optional


class Error(Exception):
    """Any error of this package. `code` is stable; `message` and `hint` may change."""

    def __init__(self, code: str, message: str, hint: Optional[str] = None) -> None:
        # All three are arguments of the exception, so that it can be pickled and sent from a worker to a driver.
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{self.message} [{self.code}]{hint}"


class RequestError(Error):
    """A request that cannot be answered. Its code is one of those in spanqa's docs/records.md."""


class StartError(Error):
    """spanqa cannot be started: the program is missing, an option is wrong, or the model cannot be opened."""


class CrashError(Error):
    """spanqa died of this request: it ended while it was asked nothing else."""
