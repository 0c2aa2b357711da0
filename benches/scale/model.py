"""What a job of many questions takes on many workers, simulated with the figures that measure.py found on one machine.

    python model.py [--rate 25] [--start 0.1] [--spread 0.1] [--dispatch 0.005] [--boot 60] [--deaths 0.01]

A driver hands out tasks one after the other; a worker boots, opens the model for each task, answers, and takes the next.
Workers differ in speed, tasks in length, and workers die: a task that was under way starts again on another. Nothing is
shuffled, so tasks do not wait for each other. A line of the output is a job: hours, the share of the workers' time that went
into answers, the share of the time in which the driver was busy, and the tasks that were begun again.
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass
from typing import List, Tuple

#: Tasks that are simulated one by one; above that each stands for several that a worker does in a row.
MOST_EVENTS = 400_000


@dataclass(frozen=True)
class Costs:
    """Seconds, unless it says otherwise."""

    #: Questions a second that a worker answers.
    rate: float
    #: From a task's begin to a model that is open.
    start: float
    #: Standard deviation of workers' speeds, and of tasks' lengths, as a share.
    spread: float
    #: What the driver does for each task, one after the other.
    dispatch: float
    #: Until a worker of the engine is there. All boot at once.
    boot: float
    #: Workers that die in an hour, as a share.
    deaths: float


@dataclass(frozen=True)
class Outcome:
    seconds: float
    #: Of the workers' seconds, those that answered.
    useful: float
    #: Of the whole time, that in which the driver had something to do.
    driver: float
    repeated: int


def simulate(questions: int, workers: int, per_task: int, costs: Costs, seed: int = 1) -> Outcome:
    chance = random.Random(seed)
    tasks = -(-questions // per_task)
    together = -(-tasks // MOST_EVENTS)
    events = -(-tasks // together)
    size = questions / events
    speeds = [costs.rate * max(0.2, chance.gauss(1, costs.spread)) for _ in range(workers)]
    free: List[Tuple[float, int]] = [(costs.boot, worker) for worker in range(workers)]
    heapq.heapify(free)
    driver = finish = busy = 0.0
    left, repeated = events, 0
    while left:
        ready, worker = heapq.heappop(free)
        driver = max(driver, ready) + costs.dispatch * together
        work = size * max(0.1, chance.gauss(1, costs.spread)) / speeds[worker]
        end = driver + costs.start * together + work
        lives = chance.expovariate(costs.deaths / 3600) if costs.deaths else float("inf")
        if lives < end - driver:
            # What it had done of this task is lost, and another worker has to boot.
            repeated += 1
            heapq.heappush(free, (driver + lives + costs.boot, worker))
            continue
        left -= 1
        busy += work
        finish = max(finish, end)
        heapq.heappush(free, (end, worker))
    return Outcome(finish, busy / (workers * finish), costs.dispatch * tasks / finish, repeated)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=25)
    arguments.add_argument("--start", type=float, default=0.1)
    arguments.add_argument("--spread", type=float, default=0.1)
    arguments.add_argument("--dispatch", type=float, default=0.005)
    arguments.add_argument("--boot", type=float, default=60)
    arguments.add_argument("--deaths", type=float, default=0.01)
    arguments.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    arguments.add_argument("--questions", type=float, nargs="+", default=[1e6, 1e8, 1e10])
    given = arguments.parse_args()
    costs = Costs(given.rate, given.start, given.spread, given.dispatch, given.boot, given.deaths)
    print(f"{'questions':>12} {'workers':>8} {'a task':>8} {'tasks':>9} {'hours':>10} {'answering':>9} {'driver':>7} {'repeated':>8}")
    for questions in given.questions:
        for workers in given.workers:
            # About ten minutes a task, but at least four tasks a worker, so that all end at about the same time.
            per_task = max(1, int(min(600 * costs.rate, questions / workers / 4)))
            found = simulate(int(questions), workers, per_task, costs)
            tasks = -(-int(questions) // per_task)
            print(
                f"{questions:12.0e} {workers:8} {per_task:8} {tasks:9} {found.seconds / 3600:10.2f} "
                f"{found.useful:9.1%} {found.driver:7.1%} {found.repeated:8}"
            )


if __name__ == "__main__":
    main()
