"""Data frames of pandas, polars and pyarrow. None of them is imported unless one of its frames is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Sequence

from ._columns import INTEGER, NUMBER, TEXT, TRUTH, Column, Columns

if TYPE_CHECKING:
    from .reader import Reader

#: Rows that are taken out of a frame at a time.
SLICE = 1024


_LIBRARIES = {
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("pyarrow", "Table"): "pyarrow",
    ("pyarrow", "RecordBatch"): "pyarrow",
}
#: What to do with frames that are none for a Reader, by their library.
_OTHERS = {
    "polars": "`collect()` it first",
    "pyspark": "`spanqa.spark.answer` takes it",
    "dask": "`spanqa.dask.answer` takes it",
    "ray": "`spanqa.ray.answer` takes it",
}


def library(value: object) -> str:
    """The library that a frame, or what its class is derived from, is of; nothing for what is none."""
    names = ((kind.__module__.partition(".")[0], kind.__name__) for kind in type(value).__mro__)
    return next((_LIBRARIES[name] for name in names if name in _LIBRARIES), "")


def refuse_others(value: object) -> None:
    """A frame of yet another library would be taken for requests: for the names of its columns."""
    # Of the class: some have to compute the names.
    if hasattr(type(value), "columns"):
        hint = _OTHERS.get(type(value).__module__.partition(".")[0], "make one of these of it")
        raise TypeError(f"a Reader takes frames of pandas, polars and pyarrow, not {name_of(value)}: {hint}")


def require(value: object, method: str, engine: str) -> None:
    """A frame is one of an engine: it has what is called on it."""
    if not hasattr(value, method):
        hint = "`Reader.answer` takes frames of pandas, polars and pyarrow"
        raise TypeError(f"what is answered here is a data set of {engine}, not {name_of(value)}; {hint}")


def name_of(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def answer(reader: "Reader", frame: Any, columns: Columns) -> Any:
    """The frame with answers beside its own columns."""
    columns.check(names(frame))
    requests = (_as_request(row) for row in rows(frame, columns.read()))
    return join(frame, columns.of(list(reader.answer(requests))))


def _as_request(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Several texts in a cell are `contexts`."""
    context = row.get("context")
    if context is None or isinstance(context, str):
        return row
    tolist = getattr(context, "tolist", None)
    texts = tolist() if callable(tolist) else context
    if not isinstance(texts, list):
        return row
    return {**{name: value for name, value in row.items() if name != "context"}, "contexts": texts}


def names(frame: Any) -> List[str]:
    """Names of its columns."""
    return list(frame.schema.names) if library(frame) == "pyarrow" else list(frame.columns)


def rows(frame: Any, wanted: Dict[str, str]) -> Iterator[Dict[str, Any]]:
    """The cells of some columns, row by row, under the names that requests have for them. What is missing is None."""
    present = names(frame)
    taken = {role: column for role, column in wanted.items() if column in present}
    for first in range(0, len(frame), SLICE):
        cells = [_cells(frame, column, first) for column in taken.values()]
        for row in zip(*cells):
            yield dict(zip(taken, row))


def _cells(frame: Any, column: str, first: int) -> List[Any]:
    kind = library(frame)
    if kind == "pandas":
        part = frame[column].iloc[first : first + SLICE]
        return [None if missing else cell for cell, missing in zip(part.tolist(), part.isna().tolist())]
    if kind == "polars":
        cells: List[Any] = frame[column].slice(first, SLICE).to_list()
        return cells
    cells = frame.column(column).slice(first, SLICE).to_pylist()
    return cells


def join(frame: Any, columns: Sequence[Column]) -> Any:
    """The frame with columns beside its own."""
    return {"pandas": _join_pandas, "polars": _join_polars, "pyarrow": _join_pyarrow}[library(frame)](frame, columns)


def _join_pandas(frame: Any, columns: Sequence[Column]) -> Any:
    import pandas

    types = {TEXT: object, TRUTH: bool, INTEGER: "Int64", NUMBER: "float64"}
    # Where a whole number is missing, only Int64 keeps the others whole.
    new = {name: pandas.Series(values, index=frame.index, dtype=types[kind]) for name, kind, values in columns}
    return frame.assign(**new)


def _join_polars(frame: Any, columns: Sequence[Column]) -> Any:
    import polars

    types = {TEXT: polars.String, TRUTH: polars.Boolean, INTEGER: polars.Int64, NUMBER: polars.Float64}
    return frame.with_columns([polars.Series(name, values, dtype=types[kind]) for name, kind, values in columns])


def _join_pyarrow(frame: Any, columns: Sequence[Column]) -> Any:
    import pyarrow

    arrays = [pyarrow.array(values, type=arrow_type(kind)) for _, kind, values in columns]
    fields = [*frame.schema, *(pyarrow.field(name, arrow_type(kind)) for name, kind, _ in columns)]
    schema = pyarrow.schema(fields, metadata=frame.schema.metadata)
    return type(frame).from_arrays([*frame.columns, *arrays], schema=schema)


def arrow_type(kind: str) -> Any:
    """The type of a column in Arrow."""
    import pyarrow

    types = {TEXT: pyarrow.string(), TRUTH: pyarrow.bool_(), INTEGER: pyarrow.int64(), NUMBER: pyarrow.float64()}
    return types[kind]
