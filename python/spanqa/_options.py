"""Options of a Reader: the flags of `spanqa batch`, by their names with underscores."""

from __future__ import annotations

import os
from typing import Any, Iterable, List, Mapping, Sequence, Union

Option = Union[None, bool, int, float, str, "os.PathLike[str]", Sequence[str]]

#: Flags that change what goes over the pipe, or where to. The Reader sets what it needs.
_OWN = frozenset(
    [
        "columns",
        "context_field",
        "errors_ok",
        "fail_fast",
        "flat",
        "help",
        "id_field",
        "input_format",
        "keep_fields",
        "output",
        "output_format",
        "progress",
        "question_field",
        "quiet",
        "resume",
        "resume_anyway",
        "unordered",
    ]
)


def flags(options: Mapping[str, Option]) -> List[str]:
    """Flags of the command line. True sets one, False and None leave it out, a list repeats it."""
    found: List[str] = []
    for name, value in options.items():
        if name == "no_files":
            raise TypeError("`no_files` is set unless there is `files=True`")
        if name in _OWN:
            raise TypeError(f"`{name}` is no option of a Reader: it decides how requests and records travel")
        flag = "--" + name.replace("_", "-")
        if value is True:
            found.append(flag)
        elif value is not None and value is not False:
            found.extend(f"{flag}={one}" for one in _values(name, value))
    return found


def _values(name: str, value: Any) -> List[str]:
    if isinstance(value, os.PathLike):
        return [os.fspath(value)]
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [str(value)]
    if isinstance(value, (bytes, Mapping)):
        raise TypeError(f"`{name}` is a text, a number or a list, not {value!r}")
    return [str(one) for one in value]
