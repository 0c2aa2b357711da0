"""transformers' question-answering pipeline, which 5.3 removed: the same calls, the same results, from spanqa.

>>> from spanqa import pipeline
>>> with pipeline("question-answering") as answer:
...     answer(question="Who left?", context="Olav Brekke left in 1986.")["answer"]
'Olav Brekke'
"""

from __future__ import annotations

import os
import warnings
from types import GeneratorType, TracebackType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Type, Union

from ._options import Option
from ._results import Result
from .reader import Reader

Row = Dict[str, Any]
#: One row, or a list of them if there are more, as transformers had it.
Rows = Union[Row, List[Row]]

_TASK = "question-answering"
#: What a call may say of how it is answered; other names are no parameters.
_PARAMETERS = frozenset(
    [
        "top_k",
        "max_answer_len",
        "max_seq_len",
        "doc_stride",
        "max_question_len",
        "handle_impossible_answer",
        "align_to_words",
        "padding",
    ]
)
#: Said to transformers about the same work, without a change to results.
_WITHOUT_EFFECT = frozenset(["batch_size", "num_workers", "framework", "use_fast"])
_DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "auto": None}


def pipeline(
    task: str = _TASK,
    model: Optional[Union[str, "os.PathLike[str]"]] = None,
    *,
    tokenizer: Optional[Union[str, "os.PathLike[str]"]] = None,
    revision: Optional[str] = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    files: bool = False,
    options: Optional[Mapping[str, Option]] = None,
    **parameters: Any,
) -> "QuestionAnsweringPipeline":
    """A pipeline as `transformers.pipeline("question-answering", ...)` made it.

    `model` is a name or a folder; nothing is spanqa's built-in model. `parameters` are those of a call, and hold for all calls.
    `options` are more options of the Reader, such as `{"threads": 1}`.
    """
    if task != _TASK:
        raise ValueError(f"spanqa has the task {_TASK!r}, not {task!r}")
    if model is not None and not isinstance(model, (str, os.PathLike)):
        raise TypeError("`model` is a name or a folder: save the model with `save_pretrained(folder)` and give the folder")
    if tokenizer is not None and tokenizer != model:
        raise TypeError("`tokenizer` is that of the model: spanqa reads it from the model's folder")
    if model is not None and revision is not None:
        model = f"{os.fspath(model)}@{revision}"
    given: Dict[str, Any] = {"device": _device(device), "dtype": _dtype(dtype if dtype is not None else torch_dtype)}
    given.update(options or {})
    for name in _WITHOUT_EFFECT:
        parameters.pop(name, None)
    return QuestionAnsweringPipeline(Reader(model, score="hf", files=files, **given), **parameters)


def _device(device: Any) -> Optional[str]:
    """A device by transformers' names: -1 and "cpu", 0 and "cuda:0"."""
    if device is None:
        return None
    if isinstance(device, int):
        return "cpu" if device < 0 else f"cuda:{device}"
    return {"mps": "metal"}.get(str(device), str(device))


def _dtype(dtype: Any) -> Optional[str]:
    """A type of numbers by torch's names, as a string or as torch's own object."""
    name = str(dtype).replace("torch.", "")
    return None if dtype is None else _DTYPES.get(name, name)


class QuestionAnsweringPipeline:
    """Answers as transformers' pipeline did: rows of `score`, `start`, `end`, `answer`."""

    task = _TASK

    def __init__(self, reader: Reader, **parameters: Any) -> None:
        self.reader = reader
        self._parameters = _checked(parameters)

    def __call__(self, *args: Any, **given: Any) -> Any:
        """`answer(question=..., context=...)`, texts or lists of them; or an example, a list or a generator of examples, each
        with question and context. One example has one result; a list has a list of them, a generator an iterator.

        `top_k`, `max_answer_len`, `max_seq_len`, `doc_stride`, `max_question_len`, `handle_impossible_answer` and
        `align_to_words` mean what they meant.
        """
        for name in _WITHOUT_EFFECT:
            given.pop(name, None)
        inputs = _inputs(args, given)
        parameters = {**self._parameters, **_checked(given)}
        if isinstance(inputs, GeneratorType):
            return self._answer((_example(item) for item in inputs), parameters)
        examples = [_example(item) for item in inputs]
        answers = list(self._answer(iter(examples), parameters))
        return answers[0] if len(answers) == 1 else answers

    def _answer(self, examples: Iterator[Row], parameters: Row) -> Iterator[Rows]:
        asked = ({**example, "parameters": parameters} for example in examples)
        for result in self.reader.answer(asked):
            if result.error is not None:
                raise result.error
            yield _rows(result, parameters)

    @staticmethod
    def create_sample(question: Any, context: Any) -> Any:
        """An example, or a list of them if there are several questions."""
        if isinstance(question, list):
            return [{"question": one, "context": text} for one, text in zip(question, context)]
        return {"question": question, "context": context}

    def close(self) -> None:
        """Ends the process that answers."""
        self.reader.close()

    def __enter__(self) -> "QuestionAnsweringPipeline":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()


def _checked(parameters: Row) -> Row:
    """Parameters that are known and make sense, by their names of today."""
    known = {name: value for name, value in parameters.items() if value is not None}
    topk = known.pop("topk", None)
    if topk is not None and "top_k" not in known:
        warnings.warn("`topk` is called `top_k`", UserWarning, stacklevel=3)
        known["top_k"] = topk
    unknown = sorted(set(known) - _PARAMETERS)
    if unknown:
        hint = '; `pipeline(options={"threads": 1})` has options of a Reader'
        raise TypeError(f"unknown parameters {', '.join(unknown)}; there are {', '.join(sorted(_PARAMETERS))}{hint}")
    for name in ("top_k", "max_answer_len"):
        if name in known and known[name] < 1:
            raise ValueError(f"{name} must be at least 1, not {known[name]}")
    return known


def _inputs(args: Any, given: Row) -> Any:
    """The examples of a call. Takes what names them out of the keywords."""
    question, context = given.pop("question", None), given.pop("context", None)
    named = [given.pop(name) for name in ("X", "data") if name in given]
    if len(args) == 2 and all(isinstance(arg, str) for arg in args):
        question, context = args
    elif len(args) == 1:
        named = [args[0]]
    elif args:
        named = [list(args)]
    if named:
        examples = named[0]
        if isinstance(examples, GeneratorType):
            return examples
        return [examples] if isinstance(examples, (Mapping, str)) or not hasattr(examples, "__iter__") else list(examples)
    if isinstance(question, list) and isinstance(context, str):
        return [{"question": one, "context": context} for one in question]
    if isinstance(question, list) and isinstance(context, list):
        if len(question) != len(context):
            raise ValueError(f"there are {len(question)} questions and {len(context)} contexts")
        return [{"question": one, "context": text} for one, text in zip(question, context)]
    if isinstance(question, str) and isinstance(context, str):
        return [{"question": question, "context": context}]
    raise ValueError("give `question` and `context`, texts or lists of texts")


def _example(item: Any) -> Row:
    """Question and context of an example: of a mapping, or of a SquadExample."""
    if not isinstance(item, Mapping):
        if not (hasattr(item, "question_text") and hasattr(item, "context_text")):
            raise ValueError(f"an example has a question and a context, not {item!r}")
        item = {"question": item.question_text, "context": item.context_text}
    for name in ("question", "context"):
        if name not in item:
            raise KeyError(f"an example has a question and a context; {name!r} is missing")
        if item[name] is None or item[name] == "":
            raise ValueError(f"the {name} of an example is {'None' if item[name] is None else 'empty'}")
    return {"question": item["question"], "context": item["context"]}


def _rows(result: Result, parameters: Row) -> Rows:
    spans = result.answers or result.candidates
    rows: List[Row] = [{"score": span.score, "start": span.start, "end": span.end, "answer": span.text} for span in spans]
    if parameters.get("handle_impossible_answer"):
        null = {"score": result.no_answer_score, "start": 0, "end": 0, "answer": ""}
        # What scores as high as "no answer" stays before it.
        rows = sorted([*rows, null], key=lambda row: -row["score"])[: parameters.get("top_k", 1)]
    return rows[0] if len(rows) == 1 else rows
