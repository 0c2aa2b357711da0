"""What the tests share. They run the program that SPANQA_PROGRAM names, or the installed one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

import spanqa

LIGHTHOUSE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "lighthouse.txt"


@pytest.fixture(scope="session")
def document() -> str:
    return LIGHTHOUSE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def reader() -> Iterator[spanqa.Reader]:
    with spanqa.Reader() as reader:
        yield reader


def run(arguments: List[str], lines: str = "") -> List[str]:
    """Lines that the program prints."""
    command = [spanqa.find_program(), *arguments]
    done = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().splitlines()


def batch(requests: List[Dict[str, Any]], *flags: str) -> List[str]:
    """Records of one run of batch."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    return run(["batch", "--quiet", "--no-files", *flags], lines)


def without_line(record: str) -> str:
    """A record of an error without the number of its line."""
    fields = json.loads(record)
    if "error" not in fields:
        return record
    del fields["line"]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def requests_of(number: int) -> List[Dict[str, Any]]:
    """Questions about the example, and about pieces of it, with ids that sort in their order."""
    paragraphs = [part for part in LIGHTHOUSE.read_text(encoding="utf-8").split("\n\n") if part.strip()]
    questions = ["Who was the last keeper?", "When was it built?", "Who built the lighthouse?", "What was lost on the reef?"]
    return [
        {
            "id": f"{place:05}",
            "question": questions[place % len(questions)],
            "context": f"Part {place}. " + paragraphs[place // len(questions) % len(paragraphs)],
        }
        for place in range(number)
    ]
