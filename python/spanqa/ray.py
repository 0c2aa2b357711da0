"""Answers for a Ray dataset: a pool of actors, each with a Reader whose model is opened once.

import ray
import spanqa.ray

answers = spanqa.ray.answer(ray.data.read_parquet("questions/"), actors=8, num_cpus=2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple, Union

from . import _frames
from ._columns import Columns
from ._options import Option
from .reader import Reader

if TYPE_CHECKING:
    import pyarrow
    import ray.data


class Answering:
    """What an actor does: a table in, the table with answers out."""

    def __init__(self, options: Mapping[str, Any], columns: Columns) -> None:
        self._reader = Reader(**options)
        self._columns = columns

    def __call__(self, table: "pyarrow.Table") -> "pyarrow.Table":
        return _frames.answer(self._reader, table, self._columns)


def answer(
    dataset: "ray.data.Dataset",
    *,
    actors: Union[int, Tuple[int, int]] = 1,
    num_cpus: float = 1,
    batch_size: int = 256,
    question: str = "question",
    context: str = "context",
    id: str = "id",
    record: bool = False,
    prefix: str = "",
    resources: Optional[Mapping[str, Any]] = None,
    **options: Option,
) -> "ray.data.Dataset":
    """The dataset with the columns of `Reader.answer` beside its own.

    `actors` is how many answer, or at least and at most how many. Each gets `num_cpus` cores, and computes with as many
    threads unless `threads` says otherwise. `resources` are further arguments of `map_batches`, such as `{"num_gpus": 1}`.
    `options` are those of a Reader.

    Rows that cannot be answered stay, with `code` and `error`. When an actor dies, Ray starts another and gives it the rows again.
    """
    _frames.require(dataset, "map_batches", "Ray")
    from ray.data import ActorPoolStrategy

    least, most = (actors, actors) if isinstance(actors, int) else actors
    if not 1 <= least <= most:
        raise ValueError(f"`actors` is how many, or at least and at most how many, not {actors}")
    columns = Columns(question, context, id, record, prefix)
    # Where they are known only once the data set is computed, a worker looks at them.
    known = dataset.schema(fetch_if_missing=False)
    if known is not None:
        columns.check(known.names)
    options.setdefault("threads", max(1, int(num_cpus)))
    return dataset.map_batches(
        Answering,
        fn_constructor_kwargs={"options": options, "columns": columns},
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
        **(resources or {}),
    )
