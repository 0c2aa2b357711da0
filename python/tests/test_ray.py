"""Ray on one machine: the same bytes as one run of batch, with one actor and with two, when one is killed, with bad rows."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from conftest import batch, requests_of, without_line

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

import spanqa.ray  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # Workers find the package, and this file, where this process does.
    path = os.pathsep.join([str(Path(spanqa.__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def expected(requests: List[Dict[str, Any]]) -> List[str]:
    return [without_line(record) for record in batch(sorted(requests, key=lambda request: request["id"]))]


def records(dataset: Any) -> List[str]:
    return [row["record"] for row in sorted(dataset.take_all(), key=lambda row: row["id"])]


@pytest.mark.parametrize("actors", [1, 2])
def test_the_bytes_are_those_of_batch(actors: int) -> None:
    requests = requests_of(60)
    requests[7]["question"] = None
    requests[31]["question"] = ""
    answers = spanqa.ray.answer(ray.data.from_items(requests), actors=actors, batch_size=16, record=True)
    assert records(answers) == expected(requests)


def test_mistakes_are_told_before_anything_runs() -> None:
    dataset = ray.data.from_items(requests_of(2))
    with pytest.raises(spanqa.Error, match="there is no column 'text'"):
        spanqa.ray.answer(dataset, context="text")
    for actors in (0, (3, 2)):
        with pytest.raises(ValueError, match="at least and at most"):
            spanqa.ray.answer(dataset, actors=actors)


class Killing(spanqa.ray.Answering):
    """Dies once, with what it has done."""

    def __init__(self, mark: str, victim: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._mark, self._victim = Path(mark), victim

    def __call__(self, table: Any) -> Any:
        done = super().__call__(table)
        if "00040" in table.column("id").to_pylist() and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid() if self._victim == "actor" else self._reader.pid or 0, signal.SIGKILL)
            return super().__call__(table)
        return done


@pytest.mark.parametrize("victim", ["actor", "program"])
def test_a_dead_worker_changes_nothing(victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = requests_of(80)
    mark = tmp_path / "killed"

    def killing(dataset: Any, what: Any, fn_constructor_kwargs: Dict[str, Any], **rest: Any) -> Any:
        more = {"mark": str(mark), "victim": victim, **fn_constructor_kwargs}
        return map_batches(dataset, Killing, fn_constructor_kwargs=more, **rest)

    map_batches = ray.data.Dataset.map_batches
    monkeypatch.setattr(ray.data.Dataset, "map_batches", killing)
    answers = spanqa.ray.answer(ray.data.from_items(requests), batch_size=16, record=True)
    monkeypatch.undo()
    assert records(answers) == expected(requests)
    assert mark.exists(), "nothing was killed"
