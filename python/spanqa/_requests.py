"""Requests as lines for `spanqa batch`."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Mapping, Optional, Tuple, Union

#: A question and its text, or a mapping with the fields of a request: `question`, and `context`, `contexts`, `file`, `files` or `search`.
Request = Union[Mapping[str, Any], Tuple[str, str]]

#: Fields that say what a question is about. Others stay here: they may be large, and mean nothing over there.
_ABOUT = ("context", "contexts", "file", "files", "search")
_HALVES = re.compile("[\ud800-\udfff]")


def encode(request: Request, number: int, parameters: Optional[Mapping[str, Any]] = None) -> bytes:
    """One line. A request without an id gets the number."""
    if isinstance(request, tuple):
        question, context = request
        request = {"question": question, "context": context}
    elif not isinstance(request, Mapping):
        raise TypeError(f"a request is a mapping or a pair of question and context, not {type(request).__name__}")
    if parameters is None:
        parameters = request.get("parameters")
    about: Dict[str, Any] = {name: request[name] for name in _ABOUT if name in request}
    fields: Dict[str, Any] = {"id": _id(request.get("id"), number)}
    asked: Dict[str, Any] = {"question": request.get("question"), **about}
    if parameters:
        fields["inputs"] = _one_text(asked)
        fields["parameters"] = dict(parameters)
    else:
        fields.update(asked)
    return _line(fields)


def _one_text(asked: Dict[str, Any]) -> Dict[str, Any]:
    """What may have parameters of its own: with a list there would be several records for one request."""
    context = asked.get("context")
    if set(asked) - {"question", "context"} or isinstance(asked["question"], list) or isinstance(context, list):
        raise TypeError("a request with parameters has one `question` and one `context`; give a Reader options for the others")
    return asked


def _id(given: Any, number: int) -> Union[str, int, float]:
    if isinstance(given, bool) or given is None:
        return number
    if isinstance(given, (str, int)):
        return given
    if isinstance(given, float):
        # That is how pandas spells "missing".
        return number if given != given else given
    # Numbers of numpy know what they are in Python.
    item = getattr(given, "item", None)
    return _id(item(), number) if callable(item) else str(given)


def _line(fields: Dict[str, Any]) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False, default=_plain)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # Halves of surrogate pairs, which only Python's strings can hold. One for one, so that offsets stay.
        return _HALVES.sub("\ufffd", text).encode() + b"\n"


def _plain(value: Any) -> Any:
    """What JSON does not know: arrays and paths."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else str(value)
