"""Data frames of pandas, polars and pyarrow. None of them is imported unless one of its frames is there."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence

from ._columns import INTEGER, NUMBER, TEXT, TRUTH, Column

#: Rows that are taken out of a frame at a time.
SLICE = 1024


def library(value: object) -> str:
    """The library that a frame is of; nothing for what is none."""
    kind = type(value)
    name = (kind.__module__.partition(".")[0], kind.__name__)
    frames = {
        ("pandas", "DataFrame"): "pandas",
        ("polars", "DataFrame"): "polars",
        ("pyarrow", "Table"): "pyarrow",
        ("pyarrow", "RecordBatch"): "pyarrow",
    }
    return frames.get(name, "")


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
