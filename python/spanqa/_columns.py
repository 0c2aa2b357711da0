"""Results as columns: what a frame gets beside what it has. A row each, with the best answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

from ._errors import Error
from ._results import Result

#: Types that pandas, polars, pyarrow and Spark all have.
TEXT, TRUTH, INTEGER, NUMBER = "text", "truth", "integer", "number"

_COLUMNS: Tuple[Tuple[str, str, Callable[[Result], Any]], ...] = (
    ("answered", TRUTH, lambda result: result.answered),
    ("answer", TEXT, lambda result: result.text),
    ("start", INTEGER, lambda result: result.answer and result.answer.start),
    ("end", INTEGER, lambda result: result.answer and result.answer.end),
    # Texts of frames have no names, so this is a number.
    ("document", INTEGER, lambda result: result.answer and result.answer.document),
    ("score", NUMBER, lambda result: result.answer and result.answer.score),
    ("margin", NUMBER, lambda result: result.answer and result.answer.margin),
    ("no_answer_score", NUMBER, lambda result: result.no_answer_score),
    ("perhaps", TRUTH, lambda result: result.perhaps),
    ("confidence", NUMBER, lambda result: result.confidence),
    ("code", TEXT, lambda result: result.error and result.error.code),
    ("error", TEXT, lambda result: result.error and result.error.message),
)
_RECORD = ("record", TEXT, lambda result: result.record)

#: Name, type and values.
Column = Tuple[str, str, List[Any]]


@dataclass(frozen=True)
class Columns:
    """Which columns of a frame are read, and which it gets: the keywords of `Reader.answer` and of the engines' `answer`."""

    question: str = "question"
    context: str = "context"
    id: str = "id"
    record: bool = False
    prefix: str = ""

    def read(self) -> Dict[str, str]:
        """The columns to read, by the fields of a request that they become."""
        return {"id": self.id, "question": self.question, "context": self.context}

    def schema(self) -> List[Tuple[str, str]]:
        """Names and types of the new columns."""
        return [(name, kind) for name, kind, _ in self.of([])]

    def of(self, results: Sequence[Result]) -> List[Column]:
        """The new columns."""
        chosen = (*_COLUMNS, _RECORD) if self.record else _COLUMNS
        return [(self.prefix + name, kind, [value(result) for result in results]) for name, kind, value in chosen]

    def check(self, names: Iterable[str]) -> None:
        """Of the columns of a frame, those to read are there, and none would be displaced."""
        present = [str(name) for name in names]
        for role in ("question", "context"):
            column = self.read()[role]
            if column not in present:
                raise Error(
                    "missing_column", f"there is no column {column!r}", f"there are {', '.join(present)}; `{role}=` names the column"
                )
        for column in self.read().values():
            if present.count(column) > 1:
                raise Error("missing_column", f"there are several columns {column!r}", "rename them, so that one is to be read")
        taken = [name for name, _ in self.schema() if name in present]
        if taken:
            hint = f"drop or rename them, or give another prefix than {self.prefix!r}: `prefix='spanqa_'`"
            raise Error("column_taken", f"there are columns {', '.join(taken)} already", hint)
