"""The examples beside other libraries, where these are installed, and those of the documentation."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import spanqa

from conftest import LIGHTHOUSE

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python" / "examples"))


def test_haystack() -> None:
    haystack = pytest.importorskip("haystack")
    from haystack_reader import SpanqaReader

    pipeline = haystack.Pipeline()
    pipeline.add_component("reader", SpanqaReader(top_k=2))
    texts = ["The ferry leaves at nine.", LIGHTHOUSE.read_text(encoding="utf-8")]
    documents = [haystack.Document(content=text) for text in texts] + [haystack.Document(content=None)]
    answers = pipeline.run({"reader": {"query": "Who was the last keeper?", "documents": documents}})["reader"]["answers"]
    assert answers[0].data == "Olav Brekke" and answers[0].document.content == texts[1] and len(answers) == 2
    span = answers[0].document_offset
    assert texts[1][span.start : span.end] == "Olav Brekke"
    nothing = pipeline.run({"reader": {"query": "Who?", "documents": []}})
    assert nothing["reader"]["answers"] == []


def test_langchain(reader: spanqa.Reader) -> None:
    pytest.importorskip("langchain_core")
    from langchain_tool import quotation_tool

    quote = quotation_tool(reader, ["The ferry leaves at nine.", "Olav Brekke left in 1986."])
    assert str(quote.invoke({"question": "Who left?"})).startswith('"Olav Brekke" (text 1, line 1')
    assert quote.invoke({"question": "What is the capital of France?"}) == "The texts do not answer that."
    assert "the question is empty" in quote.invoke({"question": ""})


def blocks() -> Any:
    """Blocks of Python in the documentation, but for those that need a cluster."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    found = re.findall(r"(<!-- not run[^\n]*-->\n\n)?```python\n(.*?)```", page, re.DOTALL)
    return [code for not_run, code in found if not not_run]


@pytest.mark.parametrize("code", blocks())
def test_the_documentation(code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for needed in re.findall(r"^import (\w+)", code, re.MULTILINE):
        pytest.importorskip(needed)
    monkeypatch.chdir(ROOT / "docs" / "examples")
    exec(compile(code, "docs/python.md", "exec"), {"__name__": "docs"})
    printed = capsys.readouterr().out.splitlines()
    # Comments say what is printed; dots stand for what depends on the processor.
    expected = [line.rpartition("# ")[2] for line in code.splitlines() if "# " in line]
    assert len(printed) == len(expected)
    for said, wanted in zip(printed, expected):
        assert re.fullmatch(re.escape(wanted).replace(r"\.\.\.", ".*"), said), f"{said} instead of {wanted}"
