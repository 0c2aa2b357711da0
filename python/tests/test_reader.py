"""The Reader beside the program itself."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

import spanqa
from spanqa import Request
from spanqa._options import flags
from spanqa.reader import MOST_REQUESTS

from conftest import LIGHTHOUSE, batch, requests_of, run, without_line


def test_the_record_is_that_of_ask(reader: spanqa.Reader, document: str) -> None:
    question = "Who was the last keeper?"
    # `ask` lays its windows elsewhere unless it reads everything, as `batch` does.
    expected = run(["ask", question, "--context", document, "--read", "all", "--quiet"])
    result = reader.ask(question, document)
    assert [result.record] == expected
    assert result.answer is not None and result.text == "Olav Brekke"
    assert document[result.answer.start : result.answer.end] == result.text


def test_the_records_are_those_of_batch(reader: spanqa.Reader) -> None:
    requests = [dict(request) for request in requests_of(40)]
    for request in requests[:20]:
        del request["id"]  # The place counts then.
    requests[3]["question"] = None
    requests[5]["context"] = ""
    requests[6] = {"id": "several", "question": "Who is it?", "contexts": ["Nobody.", "It is Olav."]}
    requests[9] = {"id": 9.5, "question": "Wer ist \u00e4lter?", "context": "\U0001f600 Olav ist \u00e4lter."}
    requests[30]["file"] = str(LIGHTHOUSE)
    del requests[30]["context"]
    for _ in range(2):
        found = [result.record for result in reader.answer(requests)]
        expected = [without_line(record) for record in batch(requests)]
        # batch does not name a request without an id, except by its line.
        expected[3] = json.dumps({"id": 4, **json.loads(expected[3])}, ensure_ascii=False, separators=(",", ":"))
        assert found == expected
    assert json.loads(expected[30])["error"]["code"] == "files_forbidden"


def test_errors_have_a_code_a_message_and_a_hint(reader: spanqa.Reader) -> None:
    with pytest.raises(spanqa.RequestError) as caught:
        reader.ask(" ", "A text.")
    error = caught.value
    assert error.code == "empty_question" and "empty" in error.message and error.hint
    assert error.hint in str(error)


def test_a_request_can_have_parameters(reader: spanqa.Reader, document: str) -> None:
    result = reader.ask("Who was the last keeper?", document, top_k=3, why=True)
    assert len(result.answers) == 3 and "why" in result.fields()
    with pytest.raises(spanqa.RequestError, match="top_kk"):
        reader.ask("Who was the last keeper?", document, top_kk=3)
    with pytest.raises(TypeError, match="parameters"):
        reader.ask("Who?", ["One.", "Two."], top_k=3)


def test_options_are_flags(document: str) -> None:
    with spanqa.Reader(top_k=2, threads=1, offset_unit="byte", always_answer=True, files=True) as reader:
        result = reader.ask_request({"question": "Who is the mayor of Norvik?", "file": str(LIGHTHOUSE)})
        assert len(result.answers) == 2 and result.answers[0].document == str(LIGHTHOUSE)
    with pytest.raises(spanqa.StartError, match="--bogus"):
        spanqa.Reader(bogus=True)
    with pytest.raises(TypeError, match="output"):
        spanqa.Reader(output="file")


def test_values_of_options() -> None:
    assert flags({"search": Path("notes"), "top_k": 3, "strict": True, "plain": False, "dtype": None}) == [
        "--search=notes",
        "--top-k=3",
        "--strict",
    ]
    assert flags({"search": ["a", "b"]}) == ["--search=a", "--search=b"]
    numpy = pytest.importorskip("numpy")
    assert flags({"threads": numpy.int64(2)}) == ["--threads=2"]
    with pytest.raises(TypeError, match="top_k"):
        flags({"top_k": {"most": 3}})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="files=True"):
        spanqa.Reader(no_files=False)


def test_one_request_is_not_many(reader: spanqa.Reader) -> None:
    request = {"question": "Who left?", "context": "Olav left."}
    # What types forbid.
    answer: Any = reader.answer
    for one in (request, "Who left?"):
        with pytest.raises(TypeError, match=r"ask\(question, context\)"):
            answer(one)
    with pytest.raises(TypeError, match="a tuple of 3"):
        list(answer([("Who left?", "Olav left.", 1)]))
    with pytest.raises(TypeError, match="names of columns"):
        answer([request], context="text")


def test_pairs(reader: spanqa.Reader) -> None:
    listed: Any = ["Who left?", "Olav left."]
    found = list(reader.answer([listed, ("Who left?", ["Nobody.", "Olav left."])]))
    assert [(result.text, result.answer and result.answer.document) for result in found] == [("Olav", 0), ("Olav", 1)]


def test_a_path_is_not_taken_for_its_text(reader: spanqa.Reader) -> None:
    for context, hint in ((LIGHTHOUSE, "open"), (b"Olav left.", "decode")):
        strange: Any = context
        with pytest.raises(TypeError, match=hint):
            reader.ask("Who left?", strange)
        with pytest.raises(TypeError, match=hint):
            list(reader.answer([{"question": "Who left?", "context": context}]))
    with pytest.raises(TypeError, match="complex cannot stand"):
        list(reader.answer([{"question": "Who left?", "context": 1j}]))
    with spanqa.Reader(files=True) as open_one:
        assert open_one.ask_request({"question": "Who was the last keeper?", "file": LIGHTHOUSE}).text == "Olav Brekke"


def test_what_is_missing_does_not_end_the_others(reader: spanqa.Reader) -> None:
    nothing: Any = float("nan")
    pandas = pytest.importorskip("pandas")
    requests = [("Who left?", nothing), (nothing, "Olav left."), ("Who left?", pandas.NA), ("Who left?", "Olav left.")]
    found = list(reader.answer(requests))
    assert [result.error and result.error.code for result in found] == ["missing_field"] * 3 + [None]
    assert reader.ask_request({"id": float("inf"), "question": "Who left?", "context": "Olav left."}).id == 1


def test_hints_are_for_python(reader: spanqa.Reader) -> None:
    asked: List[Request] = [{"question": "Who?", "file": "a.txt"}, {"question": "Who?", "text": "Olav."}]
    forbidden, missing = (result.error for result in reader.answer(asked))
    assert forbidden is not None and "files=True" in (forbidden.hint or "")
    assert missing is not None and "`context`" in (missing.hint or "") and "--" not in (missing.hint or "")


def test_a_result_is_shown_without_its_record(reader: spanqa.Reader) -> None:
    result = reader.ask("Who left?", "Olav left.")
    assert "Olav" in repr(result) and "windows_total" in result.record and "windows_total" not in repr(result)


def test_a_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(spanqa.StartError) as caught:
        spanqa.Reader(tmp_path)
    assert caught.value.code == "not_started" and str(tmp_path) in caught.value.message and caught.value.hint
    with pytest.raises(spanqa.StartError, match="there is no program"):
        spanqa.Reader(program=tmp_path / "nothing")


def test_requests_are_taken_as_they_are_wanted(reader: spanqa.Reader) -> None:
    taken = 0

    def endless() -> Iterator[Dict[str, Any]]:
        nonlocal taken
        for request in requests_of(100_000):
            taken += 1
            yield request

    results = reader.answer(endless())
    for _ in range(5):
        next(results)
    time.sleep(0.2)
    assert 5 <= taken <= MOST_REQUESTS + 5
    # What was left under way does not get in the way of others.
    assert reader.ask("Who left?", "Olav Brekke left.").text == "Olav Brekke"


def test_a_slow_consumer_of_large_records_does_not_block() -> None:
    text = "The keeper Olav Brekke met Ingrid Dahl, Astrid Moen and Sigrid Vik in 1871, 1902 and 1986. " * 3
    with spanqa.Reader(top_k=200, dedup="none", null_threshold=-100) as reader:
        # Far more than a pipe holds, in both directions.
        requests = [("Who was it?", f"{number}. {text}") for number in range(80)]
        results = reader.answer(requests)
        first = next(results)
        time.sleep(0.5)
        assert reader.ask("Who left?", "Olav left.").error is None
        rest = list(results)
        assert [first.id, *(result.id for result in rest)] == list(range(1, 81))
        assert sum(len(result.record) for result in rest) > 1 << 20


def test_a_request_larger_than_the_pipe(reader: spanqa.Reader) -> None:
    large = " ".join(f"Sentence {number} says nothing." for number in range(20_000))
    with spanqa.Reader(read=2, max_bytes="300k") as small:
        result = small.ask_request(("Who left?", large))
        assert result.error is not None and result.error.code in ("request_too_long", "document_too_large")
        assert small.ask("Who left?", "Olav left.").text == "Olav"


def test_several_threads_may_ask(reader: spanqa.Reader) -> None:
    names = [f"Person{number}" for number in range(24)]
    found: Dict[str, Any] = {}

    def ask(name: str) -> None:
        found[name] = reader.ask("Who left?", f"{name} left in 1986.", id=name)

    threads = [threading.Thread(target=ask, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: result.id for name, result in found.items()} == {name: name for name in names}


def test_halves_of_surrogate_pairs_keep_offsets(reader: spanqa.Reader) -> None:
    text = "\ud83d\ude00 Olav Brekke left in 1986."
    answer = reader.ask("Who left?", text).answer
    assert answer is not None and text[answer.start : answer.end] == answer.text == "Olav Brekke"


def test_close_ends_the_process() -> None:
    reader = spanqa.Reader()
    pid = reader.pid
    assert pid and alive(pid)
    reader.close()
    assert not alive(pid)
    reader.close()
    with pytest.raises(spanqa.Error, match="inside its `with`"):
        reader.ask("Who?", "Olav.")


def test_close_ends_what_is_under_way() -> None:
    reader = spanqa.Reader()
    results = reader.answer(requests_of(1000))
    next(results)
    pid = reader.pid
    assert pid
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < 10 and not alive(pid)
    with pytest.raises(spanqa.Error) as caught:
        list(results)
    assert caught.value.code == "closed"


def test_a_forgotten_reader_ends_its_process() -> None:
    reader = spanqa.Reader()
    pid = reader.pid
    assert pid
    del reader
    gc.collect()
    assert not alive(pid)


def test_python_ends_its_processes(tmp_path: Path) -> None:
    for ending in ("", "raise SystemExit(3)", "import os, signal; os.kill(os.getpid(), 9)"):
        code = f"import spanqa\nreader = spanqa.Reader()\nprint(reader.pid, flush=True)\n{ending}"
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60, check=False)
        assert gone(int(done.stdout)), ending


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_opens_its_own(reader: spanqa.Reader) -> None:
    child = os.fork()
    if child == 0:
        try:
            reader.ask("Who?", "Olav.")
        except spanqa.Error as error:
            reader.close()
            os._exit(7 if error.code == "forked" else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) == 7
    assert reader.ask("Who left?", "Olav left.").text == "Olav"


def gone(pid: int) -> bool:
    """Whether a process that nobody waits for ends soon."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    if not Path("/proc").is_dir():
        pytest.skip("looks at processes in /proc")
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
