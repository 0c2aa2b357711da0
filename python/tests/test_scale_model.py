"""The simulation of benches/scale, where its answer is known without it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benches" / "scale"))

from model import Costs, simulate

FREE = Costs(rate=10, start=0, spread=0, dispatch=0, boot=0, deaths=0)


def test_work_alone_is_shared_out_evenly() -> None:
    found = simulate(10_000, workers=10, per_task=100, costs=FREE)
    assert found.seconds == pytest.approx(100) and found.useful == pytest.approx(1)


def test_what_each_task_and_each_worker_costs() -> None:
    costs = replace(FREE, start=2, boot=30)
    # Ten tasks a worker, of ten seconds each.
    assert simulate(10_000, workers=10, per_task=100, costs=costs).seconds == pytest.approx(30 + 10 * (2 + 10))


def test_a_slow_driver_bounds_everything() -> None:
    found = simulate(10_000, workers=1000, per_task=1, costs=replace(FREE, dispatch=1))
    assert found.seconds == pytest.approx(10_000, rel=0.01) and found.driver == pytest.approx(1, rel=0.01)


def test_the_dead_take_time() -> None:
    found = simulate(100_000, workers=10, per_task=1000, costs=replace(FREE, deaths=5))
    assert found.repeated > 3
    assert found.seconds > simulate(100_000, workers=10, per_task=1000, costs=FREE).seconds
    assert found.useful < 1


def test_tasks_that_are_simulated_together_cost_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = replace(FREE, start=1, dispatch=0.01)
    exact = simulate(100_000, workers=10, per_task=10, costs=costs)
    monkeypatch.setattr("model.MOST_EVENTS", 1000)
    assert simulate(100_000, workers=10, per_task=10, costs=costs).seconds == pytest.approx(exact.seconds, rel=0.02)
