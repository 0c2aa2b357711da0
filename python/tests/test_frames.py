"""Frames of pandas, polars and pyarrow: answers beside the columns that were there, the same whichever library it is."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

import spanqa

from conftest import batch, requests_of, without_line

NEW = ["answered", "answer", "start", "end", "document", "score", "margin", "no_answer_score", "perhaps", "confidence", "code", "error"]


def cells() -> Dict[str, List[Any]]:
    requests = requests_of(1500)[::50]
    requests[4]["question"] = None
    requests[5]["question"] = "Who is the mayor of Norvik?"
    return {name: [request[name] for request in requests] for name in ("id", "question", "context")}


def rows(frame: Any) -> List[Dict[str, Any]]:
    if hasattr(frame, "to_pylist"):
        found: List[Dict[str, Any]] = frame.to_pylist()
    elif hasattr(frame, "to_dicts"):
        found = frame.to_dicts()
    else:
        found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return found


def make(library: str, columns: Dict[str, List[Any]]) -> Any:
    module = pytest.importorskip(library.split(".")[0])
    if library == "pandas":
        return module.DataFrame(columns)
    if library == "polars":
        return module.DataFrame(columns, strict=False)
    if library == "pyarrow.RecordBatch":
        return module.RecordBatch.from_pydict(columns)
    return module.table(columns).replace_schema_metadata({"kept": "yes"})


LIBRARIES = ["pandas", "polars", "pyarrow", "pyarrow.RecordBatch"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_answers_are_columns(reader: spanqa.Reader, library: str) -> None:
    columns = cells()
    frame = make(library, columns)
    found = reader.answer(frame, record=True)
    assert type(found) is type(frame)
    requests = [dict(zip(columns, row)) for row in zip(*columns.values())]
    expected = [without_line(record) for record in batch(requests)]
    answered = rows(found)
    assert [row["record"] for row in answered] == expected
    assert list(answered[0]) == ["id", "question", "context", *NEW, "record"]
    results = list(reader.answer(requests))
    for row, result in zip(answered, results):
        best = result.answer
        assert (
            row["answered"] == result.answered
            and row["perhaps"] == result.perhaps
            and row["confidence"] == result.confidence
            and row["answer"] == result.text
        )
        assert (row["start"], row["end"], row["score"]) == ((best.start, best.end, best.score) if best else (None, None, None))
        assert row["code"] == (result.error.code if result.error else None)
    assert answered[4]["code"] == "missing_field" and not answered[5]["answered"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_other_names_numbers_and_lists(reader: spanqa.Reader, library: str) -> None:
    texts = [["Nobody.", "Olav left."], ["Ingrid came."]]
    columns: Dict[str, List[Any]] = {"key": [7, 8], "q": ["Who left?", "Who came?"], "texts": texts, "page": [1, 2]}
    found = reader.answer(make(library, columns), question="q", context="texts", id="key", prefix="spanqa_", record=True)
    first, second = rows(found)
    assert (first["spanqa_answer"], first["spanqa_document"], first["page"]) == ("Olav", 1, 1)
    assert second["spanqa_answer"] == "Ingrid"
    assert first["spanqa_record"].startswith('{"id":7,')


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_empty_frame(reader: spanqa.Reader, library: str) -> None:
    frame = make(library, {"question": ["Who?"], "context": ["Olav."]})
    empty = frame.iloc[:0] if library == "pandas" else frame.slice(0, 0)
    found = reader.answer(empty)
    assert len(found) == 0 and len(list(found.schema.names if library.startswith("pyarrow") else found.columns)) == 2 + len(NEW)


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_that_do_not_fit(reader: spanqa.Reader, library: str) -> None:
    with pytest.raises(spanqa.Error, match="there is no column 'question'"):
        reader.answer(make(library, {"q": ["Who?"], "context": ["Olav."]}))
    with pytest.raises(spanqa.Error) as caught:
        reader.answer(make(library, {"question": ["Who?"], "context": ["Olav."], "answer": ["Olav"]}))
    assert caught.value.code == "column_taken" and "prefix" in (caught.value.hint or "")


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_two_columns_of_one_name(reader: spanqa.Reader, library: str) -> None:
    module = pytest.importorskip(library)
    names = ["question", "context", "context"]
    cells = [["Who left?"], ["Olav left."], ["Ingrid came."]]
    frame = module.DataFrame(list(zip(*cells)), columns=names) if library == "pandas" else module.Table.from_arrays(cells, names=names)
    with pytest.raises(spanqa.Error, match="several columns 'context'"):
        reader.answer(frame)


def test_frames_of_derived_classes_and_of_other_libraries(reader: spanqa.Reader) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = {"question": ["Who left?"], "context": ["Olav left."]}
    derived = type("Derived", (pandas.DataFrame,), {})(columns)
    assert reader.answer(derived)["answer"].tolist() == ["Olav"]
    with pytest.raises(TypeError, match=r"LazyFrame: `collect\(\)` it first"):
        reader.answer(polars.LazyFrame(columns))


@pytest.mark.parametrize("engine", [spanqa.dask, spanqa.ray, spanqa.spark])
def test_engines_want_their_own_data_sets(engine: Any) -> None:
    with pytest.raises(TypeError, match=r"not builtins\.list; `Reader\.answer` takes"):
        engine.answer([("Who left?", "Olav left.")])


def test_the_index_of_pandas_stays(reader: spanqa.Reader) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"question": ["Who left?", float("nan")], "context": "Olav left."}, index=["b", "a"])
    found = reader.answer(frame)
    assert list(found.index) == ["b", "a"] and found.loc["b", "answer"] == "Olav" and found.loc["a", "code"] == "missing_field"
    assert str(found["start"].dtype) == "Int64" and list(frame.columns) == ["question", "context"]


def test_pyarrow_keeps_types_and_metadata(reader: spanqa.Reader) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    found = reader.answer(make("pyarrow", cells()))
    assert found.schema.metadata == {b"kept": b"yes"}
    assert found.schema.field("start").type == pyarrow.int64() and found.schema.field("score").type == pyarrow.float64()
    chunks = pyarrow.concat_tables([make("pyarrow", {"question": [f"Who is {n}?"] * 3, "context": ["It is Olav."] * 3}) for n in range(3)])
    assert reader.answer(chunks).num_rows == 9
