"""The pipeline beside transformers' own: what 4.57.6 returned is in pipeline_golden.json."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator

import pytest

import spanqa

from pipeline_calls import BUILDER, MODELS, ROOT, SHORT, USUAL, calls, refused

GOLDEN: Dict[str, Any] = json.loads(Path(__file__).with_name("pipeline_golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=MODELS)
def pipe(request: pytest.FixtureRequest) -> Iterator[spanqa.QuestionAnsweringPipeline]:
    model = ROOT / "tests" / "fixtures" / "tiny" / request.param
    with spanqa.pipeline("question-answering", model=model, dtype="float32", **USUAL) as pipe:
        pipe.model = request.param  # type: ignore[attr-defined]
        yield pipe


@pytest.mark.parametrize("name", calls())
def test_results_are_those_of_transformers(pipe: Any, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = calls()[name](pipe)
    same(found, GOLDEN[pipe.model][name], name)


def same(found: Any, expected: Any, where: str) -> None:
    assert type(found) is type(expected), f"{where}: {found} instead of {expected}"
    if isinstance(expected, list):
        assert len(found) == len(expected), f"{where}: {found} instead of {expected}"
        for place, (one, other) in enumerate(zip(found, expected)):
            same(one, other, f"{where}[{place}]")
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for name, value in expected.items():
            same(found[name], value, f"{where}.{name}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-7), where
    else:
        assert found == expected, where


@pytest.mark.parametrize("name", refused())
def test_what_transformers_refuses_is_refused_in_the_same_way(pipe: Any, name: str) -> None:
    try:
        refused()[name](pipe)
        kind = "nothing"
    except Exception as error:
        kind = type(error).__name__
    assert f"{name}: {kind}" in GOLDEN["refused"]


def test_more_forms_and_names() -> None:
    with spanqa.pipeline(device=-1, torch_dtype="torch.float32", options={"threads": 1}) as pipe:
        usual = pipe(question=BUILDER, context=SHORT)
        example = SimpleNamespace(question_text=BUILDER, context_text=SHORT)
        assert pipe(example) == usual and pipe(pipe.create_sample(BUILDER, SHORT)) == usual
        assert pipe(pipe.create_sample([BUILDER], [SHORT])) == usual
        # Where "no answer" comes first, the spans behind it are the nearest ones.
        nobody = pipe(question="What does a ticket cost?", context="Olav is. Per is.", handle_impossible_answer=True, top_k=3)
        assert [row["answer"] == "" for row in nobody] == [True, False, False]
        with pytest.raises(TypeError, match="top_kk"):
            pipe(question=BUILDER, context=SHORT, top_kk=3)
        with pytest.raises(TypeError, match="`pipeline"):
            pipe(question=BUILDER, context=SHORT, threads=1)
        with pytest.raises(ValueError, match=BUILDER):
            pipe(BUILDER)
    with pytest.raises(ValueError, match="summarization"):
        spanqa.pipeline("summarization")
    with pytest.raises(TypeError, match="save_pretrained"):
        spanqa.pipeline(model=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="folder"):
        spanqa.pipeline(tokenizer="other")
    with pytest.raises(spanqa.StartError, match="owner/repo@v2"):
        spanqa.pipeline(model="owner/repo", tokenizer="owner/repo", revision="v2", options={"offline": True})
    with pytest.raises(spanqa.StartError, match="owner/repo@v2"):
        spanqa.pipeline(model="owner/repo", revision="v2", options={"offline": True})
