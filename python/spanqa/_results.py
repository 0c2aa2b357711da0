"""Records as objects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Optional, Tuple, Union

from ._errors import CrashError, Error, RequestError

#: Hints that name flags of the program, as a Reader has them.
_HINTS = {
    "files_forbidden": "put the text itself into `context`, or open the Reader with `files=True`",
    "missing_field": "a request has `question` and `context`; of a frame, `question=` and `context=` name the columns",
}


@dataclass(frozen=True)
class Answer:
    """A span of a document. `document[start:end] == text`, unless the Reader counts in another `offset_unit`."""

    text: str
    start: int
    end: int
    #: A probability, by the rules of the Reader's `score`.
    score: float
    #: Logits by which the span leads "no answer".
    margin: Optional[float]
    #: Which of several texts it is from, counted from 0, or the name of a file.
    document: Union[int, str]
    line: int
    column: int
    #: Where it stands in the file, if the text was made from one.
    source: Optional[Dict[str, Any]] = None


@dataclass(frozen=True)
class Result:
    """What came of one request."""

    id: Union[str, int, float]
    question: Optional[str]
    answered: bool
    #: The best first; empty if there is no answer.
    answers: Tuple[Answer, ...]
    #: If there is no answer: the spans that came nearest.
    candidates: Tuple[Answer, ...]
    #: There is no answer, and the first candidate may well be one.
    perhaps: bool
    #: How likely the reply is to be right, be it an answer or none; only of models where that was measured.
    confidence: Optional[float]
    no_answer_score: Optional[float]
    null_odds: Optional[float]
    #: Why this request could not be answered, if so.
    error: Optional[Error]
    #: The record as spanqa wrote it, one line of JSON.
    record: str = field(repr=False)

    @property
    def answer(self) -> Optional[Answer]:
        """The best answer, if there is one."""
        return self.answers[0] if self.answers else None

    @property
    def text(self) -> Optional[str]:
        """The words of the best answer, if there is one."""
        return self.answers[0].text if self.answers else None

    def fields(self) -> Dict[str, Any]:
        """The whole record, with what has no attribute here, such as `why` and `model`."""
        record: Dict[str, Any] = json.loads(self.record)
        return record


def read_result(line: bytes, given: Union[str, int, float]) -> Result:
    """Reads a record of `spanqa batch`. `given` is the id that went with the request."""
    record: Dict[str, Any] = json.loads(line)
    error: Optional[Error] = None
    if "error" in record:
        # Lines are counted over the life of a process, which is nothing to whoever asked.
        record.pop("line", None)
        record = {"id": given, **record}
        what = record["error"]
        error = RequestError(what["code"], what["message"], _HINTS.get(what["code"], what.get("hint")))
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return Result(
        id=record["id"],
        question=record.get("question"),
        answered=record.get("answered", False),
        answers=tuple(_answer(span) for span in record.get("answers", ())),
        candidates=tuple(_answer(span) for span in record.get("candidates", ())),
        perhaps=record.get("perhaps", False),
        confidence=record.get("confidence"),
        no_answer_score=record.get("no_answer_score"),
        null_odds=record.get("null_odds"),
        error=error,
        record=line.decode().rstrip("\n"),
    )


def crashed(error: CrashError, given: Union[str, int, float]) -> Result:
    """The result of a request that spanqa died of."""
    what = {"code": error.code, "message": error.message, "hint": error.hint}
    record = json.dumps({"id": given, "error": what}, ensure_ascii=False, separators=(",", ":"))
    return replace(read_result(record.encode(), given), error=error)


def _answer(span: Dict[str, Any]) -> Answer:
    return Answer(
        text=span["text"],
        start=span["start"],
        end=span["end"],
        score=span["score"],
        margin=span.get("margin"),
        document=span["document"],
        line=span["line"],
        column=span["column"],
        source=span.get("source"),
    )
