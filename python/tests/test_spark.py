"""Spark in local mode: the same bytes as one run of batch, whatever happens to workers and rows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

import spanqa

from conftest import batch, requests_of, without_line

pyspark = pytest.importorskip("pyspark")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java", allow_module_level=True)

import spanqa.spark  # noqa: E402

SCHEMA = "id string, question string, context string"


@pytest.fixture(scope="module")
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def spark(empty_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    # Workers run the Python of these tests, and find the package where they do.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Two tasks at a time, each tried up to four times.
    builder = pyspark.sql.SparkSession.builder.master("local[2,4]").appName("spanqa")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
        "spark.sql.execution.arrow.maxRecordsPerBatch": "16",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    os.environ["HF_HOME"] = str(empty_cache)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def frame_of(spark: Any, requests: List[Dict[str, Any]], partitions: int) -> Any:
    rows = [(request["id"], request["question"], request["context"]) for request in requests]
    return spark.createDataFrame(rows, SCHEMA).repartition(partitions)


def records(frame: Any) -> List[str]:
    return [row.record for row in sorted(frame.collect(), key=lambda row: str(row.id))]


def test_the_bytes_are_those_of_batch(spark: Any) -> None:
    requests = requests_of(60)
    # Bad rows, that leave the others alone.
    requests[7]["question"] = None
    requests[30]["context"] = None
    requests[31]["question"] = ""
    answers = spanqa.spark.answer(frame_of(spark, requests, 4), record=True)
    expected = [without_line(record) for record in batch(sorted(requests, key=lambda request: request["id"]))]
    assert records(answers) == expected
    bad = {row.id: row.code for row in answers.where("code is not null").collect()}
    wanted = {7: "missing_field", 30: "missing_field", 31: "empty_question"}
    assert bad == {requests[place]["id"]: code for place, code in wanted.items()}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
@pytest.mark.parametrize("victim", ["worker", "program"])
def test_a_dead_worker_changes_nothing(spark: Any, victim: str) -> None:
    requests = requests_of(120)
    answers = spanqa.spark.answer(frame_of(spark, requests, 2), record=True)
    killed: List[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            for program, parent in readers():
                time.sleep(0.5)
                target = program if victim == "program" else parent
                os.kill(target, signal.SIGKILL)
                killed.append(target)
                break
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    found = records(answers)
    killer.join()
    assert killed, "nothing was killed"
    assert found == batch(sorted(requests, key=lambda request: request["id"]))


def readers() -> List[Any]:
    """Programs that run below this process, with their parents."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            words = (place / "cmdline").read_bytes().split(b"\0") if place.name.isdigit() else []
            if words[1:3] == [b"batch", b"--quiet"] and b"--errors-ok" in words:
                parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if b"pyspark" in Path(f"/proc/{parent}/cmdline").read_bytes():
                    found.append((int(place.name), parent))
        except (OSError, ValueError):
            continue
    return found


def test_a_worker_without_network_and_with_an_empty_cache(spark: Any, empty_cache: Path) -> None:
    frame = frame_of(spark, requests_of(4), 1)
    answers = spanqa.spark.answer(frame, offline=True)
    assert answers.where("code is null").count() == 4
    # What the built-in model does not need is said with what to do about it.
    with pytest.raises(Exception, match="spanqa models pull roberta"):
        spanqa.spark.answer(frame, model="roberta", offline=True).collect()
    assert not list(empty_cache.iterdir())


def test_the_pipe_of_documents(spark: Any) -> None:
    requests = requests_of(20)
    requests[3]["question"] = ""
    lines = frame_of(spark, requests, 2).toJSON()
    command = f"{spanqa.find_program()} batch --quiet --threads 1 --no-files --errors-ok"
    piped = sorted(lines.pipe(command).collect(), key=lambda record: str(json.loads(record)["id"]))
    expected = batch(sorted(requests, key=lambda request: request["id"]))
    assert [without_line(record) for record in piped] == [without_line(record) for record in expected]


def test_columns_are_checked_before_anything_runs(spark: Any) -> None:
    frame = frame_of(spark, requests_of(1), 1)
    with pytest.raises(spanqa.Error, match="there is no column 'text'"):
        spanqa.spark.answer(frame, context="text")
    with pytest.raises(spanqa.Error, match="answered"):
        spanqa.spark.answer(frame.withColumnRenamed("id", "answered"))
