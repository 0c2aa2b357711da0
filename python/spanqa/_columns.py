"""Results as columns: what a frame gets beside what it has. A row each, with the best answer."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

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
    ("code", TEXT, lambda result: result.error and result.error.code),
    ("error", TEXT, lambda result: result.error and result.error.message),
)
_RECORD = ("record", TEXT, lambda result: result.record)

#: Name, type and values.
Column = Tuple[str, str, List[Any]]


def schema(record: bool = False, prefix: str = "") -> List[Tuple[str, str]]:
    """Names and types of the columns."""
    chosen = (*_COLUMNS, _RECORD) if record else _COLUMNS
    return [(prefix + name, kind) for name, kind, _ in chosen]


def columns(results: Sequence[Result], record: bool, prefix: str) -> List[Column]:
    """The columns of results."""
    chosen = (*_COLUMNS, _RECORD) if record else _COLUMNS
    return [(prefix + name, kind, [value(result) for result in results]) for name, kind, value in chosen]


def require_new(names: Sequence[str], present: Sequence[str], prefix: str) -> None:
    """Columns of the caller are not displaced."""
    taken = [name for name in names if name in set(present)]
    if taken:
        hint = f"drop or rename them, or give another prefix than {prefix!r}: `prefix='spanqa_'`"
        raise Error("column_taken", f"there are columns {', '.join(taken)} already", hint)


def require_present(wanted: Dict[str, str], present: Sequence[str]) -> None:
    """The columns to read are there."""
    for role in ("question", "context"):
        if wanted[role] not in present:
            hint = f"there are {', '.join(map(str, present))}; `{role}=` names the column"
            raise Error("missing_column", f"there is no column {wanted[role]!r}", hint)
