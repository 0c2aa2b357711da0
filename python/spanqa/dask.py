"""Answers for a Dask data frame: a Reader for each partition.

import dask.dataframe
import spanqa.dask

answers = spanqa.dask.answer(dask.dataframe.read_parquet("questions/"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict

from . import _frames
from ._columns import Columns
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
    _frames.require(frame, "map_partitions", "Dask")
    columns = Columns(question, context, id, record, prefix)
    columns.check(frame.columns)
    empty = _frames.join(frame._meta, columns.of([]))
    return frame.map_partitions(_answer, {"threads": 1, **options}, columns, meta=empty)


def _answer(part: "pandas.DataFrame", options: Dict[str, Any], columns: Columns) -> "pandas.DataFrame":
    with Reader(**options) as reader:
        return _frames.answer(reader, part, columns)
