"""Calls of a question-answering pipeline, in all the forms that transformers knew. With transformers 4.57 installed,

    python pipeline_calls.py > pipeline_golden.json

writes what its own pipeline returns; the tests make the same calls with `spanqa.pipeline`.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List

ROOT = Path(__file__).resolve().parents[2]
MODELS = ["minilm", "roberta", "distilbert"]
#: The models have 64 positions.
USUAL: Dict[str, Any] = {"max_seq_len": 56, "doc_stride": 16, "max_question_len": 20}

DOCUMENT = (ROOT / "docs" / "examples" / "lighthouse.txt").read_text(encoding="utf-8")
SHORT = "Ingrid Dahl built it in 1871, after three ships were lost on the reef."
KEEPER, BUILDER = "Who was the last keeper?", "Who built the lighthouse?"
EXAMPLES = [{"question": KEEPER, "context": DOCUMENT}, {"question": BUILDER, "context": SHORT}]


def calls() -> Dict[str, Callable[[Any], Any]]:
    """Names of calls, and the calls."""
    return {
        "texts": lambda pipe: pipe(question=KEEPER, context=DOCUMENT),
        "a short text": lambda pipe: pipe(question=BUILDER, context=SHORT),
        "two arguments": lambda pipe: pipe(KEEPER, SHORT),
        "an example": lambda pipe: pipe(EXAMPLES[0]),
        "examples": lambda pipe: pipe(EXAMPLES),
        "one example in a list": lambda pipe: pipe([EXAMPLES[1]]),
        "two examples as arguments": lambda pipe: pipe(*EXAMPLES),
        "a generator": lambda pipe: list(pipe(example for example in EXAMPLES)),
        "questions": lambda pipe: pipe(question=[KEEPER, BUILDER], context=DOCUMENT),
        "questions and contexts": lambda pipe: pipe(question=[KEEPER, BUILDER], context=[DOCUMENT, SHORT]),
        "data": lambda pipe: pipe(data=EXAMPLES),
        "X": lambda pipe: pipe(X=EXAMPLES[1]),
        "top_k": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, top_k=5),
        "topk": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, topk=2),
        "top_k of a list": lambda pipe: pipe(EXAMPLES, top_k=3),
        "no answer competes": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, handle_impossible_answer=True),
        "no answer among others": lambda pipe: pipe(question=BUILDER, context=SHORT, handle_impossible_answer=True, top_k=12),
        "no answer in a short text": lambda pipe: pipe(question=BUILDER, context="Dahl", handle_impossible_answer=True, top_k=4),
        "doc_stride": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, doc_stride=4, top_k=4),
        "max_seq_len": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, max_seq_len=40, doc_stride=8, top_k=4),
        "max_answer_len": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, max_answer_len=2, top_k=4),
        "not aligned": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, align_to_words=False, top_k=4),
        "padding": lambda pipe: pipe(question=KEEPER, context=DOCUMENT, padding=True),
        "batch_size": lambda pipe: pipe(EXAMPLES, batch_size=2),
    }


def refused() -> Dict[str, Callable[[Any], Any]]:
    """Names of calls that make no sense, and the calls."""
    return {
        "no context": lambda pipe: pipe(question=KEEPER),
        "an empty question": lambda pipe: pipe({"question": "", "context": SHORT}),
        "no text at all": lambda pipe: pipe({"question": KEEPER, "context": None}),
        "a missing field": lambda pipe: pipe({"question": KEEPER}),
        "unequal lists": lambda pipe: pipe(question=[KEEPER], context=[SHORT, SHORT]),
        "top_k of nothing": lambda pipe: pipe(question=KEEPER, context=SHORT, top_k=0),
        "no length": lambda pipe: pipe(question=KEEPER, context=SHORT, max_answer_len=0),
        "numbers": lambda pipe: pipe([1, 2]),
    }


def main() -> None:
    from transformers import pipeline

    warnings.simplefilter("ignore")
    found: Dict[str, Any] = {}
    for model in MODELS:
        pipe = pipeline("question-answering", model=str(ROOT / "tests/fixtures/tiny" / model), **USUAL)
        found[model] = {name: call(pipe) for name, call in calls().items()}
    errors: Dict[str, List[str]] = {"refused": []}
    for name, call in refused().items():
        try:
            call(pipe)
        except Exception as error:
            errors["refused"].append(f"{name}: {type(error).__name__}")
    json.dump({**found, **errors}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
