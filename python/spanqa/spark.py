"""Answers for a Spark data frame: a Reader in each task, fed with Arrow batches; nothing is shuffled.

import spanqa.spark

answers = spanqa.spark.answer(spark.read.parquet("questions/"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterator, Mapping

from . import _frames
from ._columns import INTEGER, NUMBER, TEXT, TRUTH, Columns
from ._options import Option
from .reader import Reader

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql import DataFrame


def answer(
    frame: "DataFrame",
    *,
    question: str = "question",
    context: str = "context",
    id: str = "id",
    record: bool = False,
    prefix: str = "",
    **options: Option,
) -> "DataFrame":
    """The frame with the columns of `Reader.answer` beside its own.

    A task computes with as many threads as `spark.task.cpus` gives it, unless `threads` says otherwise. `options` are those
    of a Reader. A task opens the model once; `spark.sql.execution.arrow.maxRecordsPerBatch` is how many rows it takes at a time.

    Rows that cannot be answered stay, with `code` and `error`, so that a bad row does not fail its task. When a worker dies,
    Spark repeats the task.
    """
    _frames.require(frame, "mapInArrow", "Spark")
    columns = Columns(question, context, id, record, prefix)
    columns.check(frame.columns)
    return frame.mapInArrow(Answering(options, columns), _with_answers(frame, columns))


class Answering:
    """What a task does."""

    def __init__(self, options: Mapping[str, Option], columns: Columns) -> None:
        self._options = dict(options)
        self._columns = columns

    def __call__(self, batches: "Iterator[pyarrow.RecordBatch]") -> "Iterator[pyarrow.RecordBatch]":
        options: Dict[str, Any] = {"threads": _cpus_of_the_task(), **self._options}
        with Reader(**options) as reader:
            for batch in batches:
                yield _frames.answer(reader, batch, self._columns)


def _cpus_of_the_task() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.cpus() if context else 1


def _with_answers(frame: "DataFrame", columns: Columns) -> Any:
    """The schema of what comes back."""
    from pyspark.sql.types import BooleanType, DoubleType, LongType, StringType, StructField, StructType

    types = {TEXT: StringType, TRUTH: BooleanType, INTEGER: LongType, NUMBER: DoubleType}
    new = [StructField(name, types[kind]()) for name, kind in columns.schema()]
    return StructType([*frame.schema.fields, *new])
