"""The Reader: a model that is open, and questions to it."""

from __future__ import annotations

import os
import weakref
from collections import deque
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Deque, Iterable, Iterator, Mapping, Optional, Protocol, Sequence, Tuple, Type, TypeVar, Union, overload

from . import _frames
from ._columns import Columns
from ._errors import CrashError
from ._exchange import Exchange
from ._options import Option, flags
from ._program import find_program
from ._requests import Request, about, encode
from ._results import Result, crashed, read_result

#: Requests, and their bytes, that are under way at most. More would not be faster, and has to be asked again when the process dies.
MOST_REQUESTS = 256
MOST_BYTES = 1 << 20

_Id = Union[str, int, float]


class _HasColumns(Protocol):
    """What the frames of pandas, polars and pyarrow have in common."""

    @property
    def columns(self) -> Any: ...


Frame = TypeVar("Frame", bound=_HasColumns)


class Reader:
    """Answers questions with one `spanqa batch` process, whose model is opened once.

    >>> with Reader() as reader:
    ...     reader.ask("Who left?", "Olav Brekke left in 1986.").text
    'Olav Brekke'

    `model` is what `--model` takes: a name, `owner/repo`, or a folder; nothing is the built-in model. Other options are the flags of
    `spanqa batch` with underscores: `top_k=3`, `threads=1`, `strict=True`. Requests may name files only with
    `files=True`.
    """

    def __init__(
        self,
        model: Optional[Union[str, "os.PathLike[str]"]] = None,
        *,
        files: bool = False,
        program: Optional[Union[str, "os.PathLike[str]"]] = None,
        **options: Option,
    ) -> None:
        if model is not None:
            options["model"] = os.fspath(model)
        names_only = [] if files else ["--no-files"]
        command = [find_program(program), "batch", "--quiet", "--errors-ok", *names_only, *flags(options)]
        self._exchange = Exchange(command)
        # Also when nobody closes it: at the latest when Python ends.
        self._end = weakref.finalize(self, self._exchange.close)

    def ask(
        self,
        question: str,
        context: Union[str, Sequence[str]],
        *,
        id: Optional[_Id] = None,
        **parameters: Any,
    ) -> Result:
        """Answers one question about a text, or about several that are read as one. Raises RequestError if it cannot be answered.

        Parameters change how this question is answered: `top_k`, `max_answer_tokens`, `null_threshold`, `always_answer`, `why` and what
        else the "parameters" of a request may hold.
        """
        result = self.ask_request({"id": "1" if id is None else id, "question": question, **about(context)}, parameters)
        if result.error is not None:
            raise result.error
        return result

    def ask_request(self, request: Request, parameters: Optional[Mapping[str, Any]] = None) -> Result:
        """Answers one request. What is wrong with it is in the result's `error`."""
        line = encode(request, 1, parameters)
        return self._receive(self._exchange.send(line), 1)

    @overload
    def answer(
        self,
        requests: Frame,
        *,
        question: str = ...,
        context: str = ...,
        id: str = ...,
        record: bool = ...,
        prefix: str = ...,
    ) -> Frame: ...
    @overload
    def answer(self, requests: Iterable[Request]) -> Iterator[Result]: ...

    def answer(
        self,
        requests: Any,
        *,
        question: str = "question",
        context: str = "context",
        id: str = "id",
        record: bool = False,
        prefix: str = "",
    ) -> Any:
        """Answers many requests.

        A data frame comes back with columns beside its own: `answered`, `answer`, `start`, `end`, `document`, `score`,
        `margin`, `no_answer_score`, `perhaps`, `confidence`, `code` and `error`, and with `record=True` the whole record as JSON.
        `question`, `context` and `id` name the columns to read, and `prefix` goes before the names of the new ones. A cell
        of the context may be a list of texts.

        Anything else that can be iterated, of requests, comes back as an iterator of results in the same order. It takes
        requests as they are wanted: some are under way while a result is looked at, never more than a few hundred.
        """
        columns = Columns(question, context, id, record, prefix)
        if _frames.library(requests):
            return _frames.answer(self, requests, columns)
        _frames.refuse_others(requests)
        if isinstance(requests, (str, bytes, Mapping)):
            raise TypeError("`answer` takes many requests; one is asked with `ask(question, context)` or `answer([request])`")
        if columns != Columns():
            raise TypeError("names of columns are for data frames; the fields of a request are `question`, `context` and `id`")
        return self._results(iter(requests))

    def _results(self, requests: Iterable[Request]) -> Iterator[Result]:
        waiting: Deque[Tuple["Future[bytes]", int, int]] = deque()
        size = 0
        for number, request in enumerate(requests, 1):
            line = encode(request, number)
            while waiting and (len(waiting) >= MOST_REQUESTS or size + len(line) > MOST_BYTES or waiting[0][0].done()):
                future, asked, length = waiting.popleft()
                size -= length
                yield self._receive(future, asked)
            waiting.append((self._exchange.send(line), number, len(line)))
            size += len(line)
        for future, asked, _ in waiting:
            yield self._receive(future, asked)

    def _receive(self, future: "Future[bytes]", number: int) -> Result:
        try:
            record = future.result()
        except CrashError as error:
            # It is this request's fault alone, so the others go on.
            return crashed(error, number)
        return read_result(record, number)

    @property
    def pid(self) -> Optional[int]:
        """The process that answers, if one runs."""
        return self._exchange.pid

    @property
    def restarts(self) -> int:
        """How often the process died and another took its place."""
        return self._exchange.restarts

    def close(self) -> None:
        """Ends the process. What is under way gets an error."""
        self._end()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()
