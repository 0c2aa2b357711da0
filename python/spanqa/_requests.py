"""Requests as lines for `spanqa batch`."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

#: A question and its text or texts, or a mapping with the fields of a request: `question`, and `context`, `contexts`, `file`, `files`
#: or `search`.
Request = Union[Mapping[str, Any], Tuple[str, Union[str, List[str]]]]

#: Fields that say what a question is about. Others stay here: they may be large, and mean nothing over there.
_ABOUT = ("context", "contexts", "file", "files", "search")
_HALVES = re.compile("[\ud800-\udfff]")


def encode(request: Request, number: int, parameters: Optional[Mapping[str, Any]] = None) -> bytes:
    """One line. A request without an id gets the number."""
    if isinstance(request, (tuple, list)) and len(request) == 2:
        question, context = request
        request = {"question": question, **about(context)}
    elif not isinstance(request, Mapping):
        what = f"{type(request).__name__} of {len(request)}" if isinstance(request, (tuple, list)) else type(request).__name__
        raise TypeError(f"a request is a mapping or a pair of question and context, not a {what}")
    _refuse_files(request.get("context"))
    if parameters is None:
        parameters = request.get("parameters")
    fields: Dict[str, Any] = {"id": _id(request.get("id"), number)}
    asked: Dict[str, Any] = {"question": _known(request.get("question"))}
    asked.update((name, _known(request[name])) for name in _ABOUT if name in request)
    if parameters:
        fields["inputs"] = _one_text(asked)
        fields["parameters"] = dict(parameters)
    else:
        fields.update(asked)
    return _line(fields)


def about(context: Any) -> Dict[str, Any]:
    """The field for one text, or for several. What is neither is refused by the program, which says so in the record."""
    if isinstance(context, (str, bytes, os.PathLike, Mapping)) or not isinstance(context, Iterable):
        return {"context": context}
    return {"contexts": list(context)}


def _refuse_files(context: Any) -> None:
    """A path, or bytes, would be read as the text that Python spells it with."""
    if isinstance(context, bytes):
        raise TypeError("a context is a text or a list of texts, not bytes: `decode()` makes a text of them")
    if isinstance(context, os.PathLike):
        raise TypeError(f"a context is a text or a list of texts, not {context!r}: `open(path, encoding='utf-8').read()` is a file's text")


def _known(value: Any) -> Any:
    """A value, or None for what pandas and numpy have in the place of one that is missing."""
    missing = value != value if isinstance(value, float) else type(value).__name__ in ("NAType", "NaTType")
    return None if missing else value


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
        # pandas spells "missing" so, and JSON cannot spell infinity.
        return given if math.isfinite(given) else number
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
    """What JSON does not know: arrays, and names of files. Anything else would become a text that nobody wrote."""
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a {type(value).__name__} cannot stand in a request, as it is no text")
