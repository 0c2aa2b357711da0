"""Processes that die. A stand-in for the program dies at a word."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, List

import pytest

import spanqa

PROGRAM = """#!{python}
import json, os, sys, time
deaths = {deaths!r}
for line in sys.stdin:
    request = json.loads(line)
    question = request.get("question") or ""
    if question == "die":
        print("error: no memory for this", file=sys.stderr)
        print("hint: buy some", file=sys.stderr, flush=True)
        os._exit(3)
    if question == "die once" and not os.path.exists(deaths):
        open(deaths, "w").close()
        os.kill(os.getpid(), 9)
    if question == "half":
        sys.stdout.write('{{"id": ')
        sys.stdout.flush()
        os._exit(0)
    if question == "hang" or question == "hang once" and not os.path.exists(deaths):
        open(deaths, "w").close()
        time.sleep(600)
    if question == "never again":
        open(deaths + ".never", "w").close()
        os._exit(1)
    if os.path.exists(deaths + ".never"):
        print("error: the model is gone", file=sys.stderr)
        os._exit(2)
    record = {{"id": request.get("id"), "question": question, "answered": False, "answers": []}}
    print(json.dumps(record, separators=(",", ":")), flush=True)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    script = tmp_path / "stand-in"
    script.write_text(PROGRAM.format(python=sys.executable, deaths=str(tmp_path / "deaths")))
    script.chmod(0o755)
    return script


def ask_all(reader: spanqa.Reader, questions: List[str]) -> List[Any]:
    return list(reader.answer((question, "text") for question in questions))


def test_what_was_under_way_is_asked_again(program: Path) -> None:
    with spanqa.Reader(program=program) as reader:
        results = ask_all(reader, ["a", "b", "die once", "c", "d"])
        assert [result.question for result in results] == ["a", "b", "die once", "c", "d"]
        assert [result.id for result in results] == [1, 2, 3, 4, 5]
        assert reader.restarts == 1


def test_a_request_that_kills_is_found(program: Path, caplog: pytest.LogCaptureFixture) -> None:
    with spanqa.Reader(program=program) as reader:
        asked = reader.answer((question, "text") for question in ["a", "die", "b", "half", "c"])
        results = list(asked)
        assert [result.error and result.error.code for result in results] == [None, "crashed", None, "crashed", None]
        error = results[1].error
        assert isinstance(error, spanqa.CrashError)
        assert error.code == "crashed" and error.hint == "buy some"
        assert "exit code 3" in error.message and "no memory for this" in error.message
        with pytest.raises(spanqa.CrashError):
            reader.ask("die", "text")
        assert reader.ask("e", "text").question == "e"
    assert "no memory for this" in caplog.text


def test_a_request_that_kills_stays_a_row_of_a_frame(program: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with spanqa.Reader(program=program) as reader:
        frame = pandas.DataFrame({"question": ["a", "die", "b"], "context": "text"})
        assert reader.answer(frame)["code"].fillna("").tolist() == ["", "crashed", ""]


def test_a_killed_process_is_replaced(program: Path) -> None:
    with spanqa.Reader(program=program) as reader:
        for _ in range(5):
            assert reader.pid
            os.kill(reader.pid, signal.SIGKILL)
            assert reader.ask("a", "text").question == "a"


def test_processes_that_all_die_are_given_up(program: Path) -> None:
    with spanqa.Reader(program=program) as reader:
        results = reader.answer(("die", "text") for _ in range(50))
        assert [getattr(next(results).error, "code", None) for _ in range(3)] == ["crashed"] * 3
        assert caught(results) == "gave_up" and reader.restarts <= 4
        assert reader.ask("a", "text").question == "a"


def caught(results: Any) -> str:
    with pytest.raises(spanqa.Error) as error:
        next(results)
    return error.value.code


def test_a_model_that_is_gone_after_a_crash(program: Path) -> None:
    with spanqa.Reader(program=program) as reader:
        for question in ("never again", "a"):
            with pytest.raises(spanqa.StartError, match="the model is gone"):
                reader.ask(question, "text")


def test_close_ends_a_process_that_hangs(program: Path) -> None:
    reader = spanqa.Reader(program=program)
    results = reader.answer((question, "x" * 300_000) for question in ["a", "hang", "b", "c", "d"])
    # In a thread: before it hands the first answer on it may write to the process that hangs, and then waits with it.
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, results)
        time.sleep(0.5)
        reader.close()
        with pytest.raises(spanqa.Error) as error:
            rest.result(timeout=30)
    assert error.value.code == "closed"


def test_an_interrupt_leaves_a_reader_that_works(program: Path) -> None:
    with spanqa.Reader(program=program) as reader:
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            ask_all(reader, ["hang once", "b" * 600_000, "c"])
        assert reader.ask("a", "text").question == "a"


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
