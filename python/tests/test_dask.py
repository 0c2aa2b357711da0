"""Dask on one machine: the same bytes as one run of batch, in threads and in processes, with bad rows and when the program dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Dict, List

import pytest

import spanqa

from conftest import batch, requests_of, without_line

pytest.importorskip("dask.dataframe")

import dask
import dask.dataframe
import pandas

import spanqa.dask


def frame_of(requests: List[Dict[str, Any]], partitions: int) -> Any:
    return dask.dataframe.from_pandas(pandas.DataFrame(requests), npartitions=partitions)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_the_bytes_are_those_of_batch(scheduler: str) -> None:
    requests = requests_of(60)
    requests[7]["question"] = None
    requests[31]["question"] = ""
    answers = spanqa.dask.answer(frame_of(requests, 4), record=True)
    with dask.config.set(scheduler=scheduler):
        found = answers.compute()
    assert [str(record) for record in found["record"]] == [without_line(record) for record in batch(requests)]
    assert found["code"].notna().sum() == 2


def test_what_is_promised_of_the_columns_is_kept() -> None:
    answers = spanqa.dask.answer(frame_of(requests_of(6), 2), prefix="spanqa_", threads=1)
    with dask.config.set(scheduler="synchronous"):
        found = answers.compute()
    assert list(found.columns) == list(answers.columns)
    assert found.dtypes.to_dict() == answers.dtypes.to_dict()


def test_the_program_may_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = requests_of(40)
    mark = tmp_path / "killed"
    answer = spanqa.Reader.answer

    def killing(reader: Any, part: Any, **columns: Any) -> Any:
        if not mark.exists():
            mark.touch()
            os.kill(reader.pid or 0, signal.SIGKILL)
        return answer(reader, part, **columns)

    monkeypatch.setattr(spanqa.Reader, "answer", killing)
    answers = spanqa.dask.answer(frame_of(requests, 2), record=True)
    with dask.config.set(scheduler="threads"):
        found = answers.compute()
    assert [str(record) for record in found["record"]] == batch(requests)
    assert mark.exists(), "nothing was killed"


def test_columns_are_looked_at_before_anything_runs() -> None:
    frame = frame_of(requests_of(4), 2)
    with pytest.raises(spanqa.Error) as missing:
        spanqa.dask.answer(frame, context="text")
    assert missing.value.code == "missing_column"
    with pytest.raises(spanqa.Error) as taken:
        spanqa.dask.answer(frame.assign(answer="a"))
    assert taken.value.code == "column_taken"
