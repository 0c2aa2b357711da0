"""What answering costs on one machine, alone and under Ray and Spark: the figures that model.py counts with.

    pip install . 'ray[data]' pyspark pyarrow
    python measure.py --questions questions.jsonl [--limit 600] [--only batch,reader,ray,spark]
    python measure.py --questions questions.jsonl --only peer --peer FOLDER

`questions.jsonl` has lines of {"id", "question", "context"}. Every line of the output is a JSON object. All runs have to
give the same records, whose digest is the last line. `peer` is what one writes on Spark without this package: transformers'
pipeline (`pip install torch 'transformers<5.3'`) in mapInPandas, with the model in FOLDER (`spanqa export builtin FOLDER`).
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import spanqa
from spanqa._columns import Columns

Rows = List[Dict[str, Any]]
#: When batches came, and how many rows they had.
Arrived = List[Tuple[float, int]]

#: Empty tasks that are timed.
TASKS = 100


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--questions", type=Path, required=True)
    arguments.add_argument("--limit", type=int, default=600)
    arguments.add_argument(
        "--batch-size", type=int, default=16, help="rows that a worker gets at a time: few, so that it is seen when it is at work"
    )
    arguments.add_argument("--only", default="start,batch,reader,ray,spark")
    arguments.add_argument("--peer", default="")
    given = arguments.parse_args()
    os.environ["PEER"] = given.peer
    os.environ["BATCH_SIZE"] = str(given.batch_size)
    with given.questions.open(encoding="utf-8") as lines:
        rows: Rows = [json.loads(line) for line, _ in zip(lines, range(given.limit))]
    say(load=os.getloadavg()[0], cores=os.cpu_count(), questions=len(rows))
    expected: List[str] = []
    for name in given.only.split(","):
        for what, records in MEASURES[name](rows):
            records.sort()
            expected = expected or records
            if records != expected:
                sys.exit(f"{what}: other records than the first run")
    say(records=len(expected), digest=hashlib.sha256("\n".join(expected).encode()).hexdigest()[:16])


def batch_size() -> int:
    return int(os.environ["BATCH_SIZE"])


def say(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


def start(rows: Rows) -> List[Tuple[str, List[str]]]:
    """From nothing to a model that is open."""
    seconds = []
    for _ in range(7):
        began = time.monotonic()
        spanqa.Reader(threads=1).close()
        seconds.append(time.monotonic() - began)
    say(what="start and end of a Reader", seconds=round(statistics.median(seconds), 3), worst=round(max(seconds), 3))
    return []


def batch(rows: Rows) -> List[Tuple[str, List[str]]]:
    """The program alone: one process, then two side by side, a thread each."""
    one = timed("batch, 1 process", len(rows), lambda: run_batch(rows))
    halves = [rows[::2], rows[1::2]]
    with ThreadPoolExecutor(2) as pool:
        two = timed("batch, 2 processes", len(rows), lambda: [record for part in pool.map(run_batch, halves) for record in part])
    return [("batch, 1 process", one), ("batch, 2 processes", two)]


def run_batch(rows: Rows) -> List[str]:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    command = [spanqa.find_program(), "batch", "--quiet", "--threads", "1"]
    done = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().splitlines()


def reader(rows: Rows) -> List[Tuple[str, List[str]]]:
    """The same through Python, and what Python's share of the time is."""
    import pyarrow

    table = pyarrow.Table.from_pylist(rows)
    with spanqa.Reader(threads=1) as answering:
        before = resource.getrusage(resource.RUSAGE_SELF)
        records = timed("Reader, 1 process", len(rows), lambda: answering.answer(table, record=True).column("record").to_pylist())
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    say(what="Python's own time", milliseconds_a_question=round(1000 * used / len(rows), 3))
    return [("Reader", records)]


def with_ray(rows: Rows) -> List[Tuple[str, List[str]]]:
    """Actors of one thread, and what a batch costs when nothing is done with it."""
    import ray

    path = os.pathsep.join([str(Path(spanqa.__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    ray.data.DataContext.get_current().enable_progress_bars = False
    found = []
    for actors in (1, 2):
        # All cores are the actors', so nothing else may have to be computed.
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows) // batch_size()).materialize()
        answers = spanqa.ray.answer(dataset, actors=actors, batch_size=batch_size(), record=True)
        arrived: Arrived = []
        records = timed(f"Ray, {actors} actors", len(rows), functools.partial(records_as_they_come, answers, arrived))
        say_steady(f"Ray, {actors} actors", arrived, actors)
        found.append((f"Ray, {actors}", records))
    blocks = ray.data.range(TASKS, override_num_blocks=TASKS).materialize()
    seconds = clock(lambda: blocks.map_batches(nothing, batch_format="pyarrow").take_all())
    say(what="Ray, an empty task", milliseconds=round(1000 * seconds / TASKS, 2))
    ray.shutdown()
    return found


def records_as_they_come(answers: Any, arrived: Arrived) -> List[str]:
    """The records of a data set of Ray, and when each batch of them came."""
    records: List[str] = []
    for block in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        arrived.append((time.time(), block.num_rows))
        records.extend(block.column("record").to_pylist())
    return records


def records_with_times(answers: Any, arrived: Arrived) -> List[str]:
    """The records of a frame of Spark, and when each batch of them was answered."""
    found = answers.collect()
    arrived.extend(Counter(row["at"] for row in found).items())
    return [row["record"] for row in found]


class Stamped(spanqa.spark.Answering):
    """What a task does, with the time at which each batch was answered."""

    def __call__(self, batches: Any) -> Any:
        import pyarrow

        for batch in super().__call__(batches):
            at = pyarrow.array([time.time()] * batch.num_rows)
            yield pyarrow.RecordBatch.from_arrays([batch.column("record"), at], names=["record", "at"])


def say_steady(what: str, arrived: Arrived, workers: int) -> None:
    """The speed while all workers answer: from when each has given its first batch to when one may have given its last."""
    if len(arrived) <= 2 * workers:
        sys.exit(f"{what}: too few batches to see a steady speed; give a larger --limit than {len(arrived) * batch_size()}")
    arrived.sort()
    begin, end = arrived[workers - 1][0], arrived[-workers][0]
    questions = sum(number for at, number in arrived if begin < at <= end)
    say(what=f"{what}, all at work", questions_a_second=round(questions / (end - begin), 2))


def nothing(batch: Any) -> Any:
    return batch


def spark_frame(cores: int, rows: Rows) -> Tuple[Any, Any]:
    """A session of so many tasks at a time, and the rows in it, in memory."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master(f"local[{cores}]").config("spark.ui.enabled", "false")
    session = session.config("spark.ui.showConsoleProgress", "false")
    session = session.config("spark.sql.execution.arrow.maxRecordsPerBatch", str(batch_size())).getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    cells = [(row["id"], row["question"], row["context"]) for row in rows]
    frame = session.createDataFrame(cells, "id string, question string, context string").repartition(2 * cores).cache()
    frame.count()
    return session, frame


def with_spark(rows: Rows) -> List[Tuple[str, List[str]]]:
    """Tasks of one thread, and what a task costs when nothing is done in it."""
    found = []
    for cores in (1, 2):
        session, frame = spark_frame(cores, rows)
        # Once for the workers to be there.
        spanqa.spark.answer(frame.limit(4)).collect()
        answers = frame.mapInArrow(Stamped({}, Columns(record=True)), "record string, at double")
        arrived: Arrived = []
        records = timed(f"Spark, {cores} tasks", len(rows), functools.partial(records_with_times, answers, arrived))
        say_steady(f"Spark, {cores} tasks", arrived, cores)
        found.append((f"Spark, {cores}", records))
        empty = session.range(0, TASKS, 1, TASKS).mapInArrow(as_they_are, "id long")
        empty.count()
        seconds = clock(empty.count)
        say(what=f"Spark, an empty task, {cores} at a time", milliseconds=round(1000 * seconds / TASKS, 2))
        session.stop()
    return found


def with_peer(rows: Rows) -> List[Tuple[str, List[str]]]:
    """transformers' pipeline in tasks of one thread. Its answers are not compared: it takes each window's best span for itself."""
    for cores in (1, 2):
        session, frame = spark_frame(cores, rows)
        answers = frame.mapInPandas(by_transformers, "record string, score double")
        answers.limit(1).collect()
        timed(f"Spark, transformers, {cores} tasks", len(rows), functools.partial(records_of, answers.collect))
        session.stop()
    return []


def by_transformers(frames: Any) -> Any:
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    answer = pipeline("question-answering", model=os.environ["PEER"], device="cpu")
    for frame in frames:
        asked = {"question": frame["question"].tolist(), "context": frame["context"].tolist()}
        found = answer(**asked, handle_impossible_answer=True, max_seq_len=384, doc_stride=128, batch_size=8)
        found = found if isinstance(found, list) else [found]
        yield frame[[]].assign(record=[one["answer"] for one in found], score=[one["score"] for one in found])


def as_they_are(batches: Any) -> Any:
    yield from batches


def records_of(collect: Callable[[], List[Any]]) -> List[str]:
    return [row["record"] for row in collect()]


def timed(what: str, questions: int, work: Callable[[], List[str]]) -> List[str]:
    found: List[str] = []
    seconds = clock(lambda: found.extend(work()))
    say(what=what, seconds=round(seconds, 2), questions_a_second=round(questions / seconds, 2))
    return found


def clock(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


MEASURES = {"start": start, "batch": batch, "reader": reader, "ray": with_ray, "spark": with_spark, "peer": with_peer}

if __name__ == "__main__":
    main()
