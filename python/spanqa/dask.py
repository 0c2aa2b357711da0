"""Answers for a Dask data frame: a Reader for each partition.

import dask.dataframe
import spanqa.dask

answers = spanqa.dask.answer(dask.dataframe.read_parquet("questions/"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict

from . import _frames
from ._columns import require_new, require_present, schema
from ._options import Option
from .reader import Reader

if TYPE_CHECKING:
    import dask.dataframe
    import pandas


def answer(
    frame: "dask.dataframe.DataFrame",
    *,
    question: str = "question",
    context: str = "context",
    id: str = "id",
    record: bool = False,
    prefix: str = "",
    **options: Option,
) -> "dask.dataframe.DataFrame":
    """The frame with the columns of `Reader.answer` beside its own.

    A partition opens the model once, and computes with one thread unless `threads` says otherwise: Dask has a task for each of
    its threads. `options` are those of a Reader.

    Rows that cannot be answered stay, with `code` and `error`. When the program dies, the Reader starts it again.
    """
    columns: Dict[str, Any] = {"question": question, "context": context, "id": id, "record": record, "prefix": prefix}
    require_present(columns, list(frame.columns))
    new = schema(record, prefix)
    require_new([name for name, _ in new], list(frame.columns), prefix)
    empty = _frames.join(frame._meta, [(name, kind, []) for name, kind in new])
    return frame.map_partitions(_answer, {"threads": 1, **options}, columns, meta=empty)


def _answer(part: "pandas.DataFrame", options: Dict[str, Any], columns: Dict[str, Any]) -> "pandas.DataFrame":
    with Reader(**options) as reader:
        return reader.answer(part, **columns)
