"""Options of a Reader: the flags of `spanqa batch`, by their names with underscores."""

from __future__ import annotations

from typing import List, Mapping, Sequence, Union

Option = Union[None, bool, int, float, str, Sequence[str]]

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
        if name in _OWN:
            raise TypeError(f"`{name}` is no option of a Reader: it decides how requests and records travel")
        flag = "--" + name.replace("_", "-")
        if value is True:
            found.append(flag)
        elif value is None or value is False:
            continue
        elif isinstance(value, (str, int, float)):
            found.append(f"{flag}={value}")
        else:
            found.extend(f"{flag}={one}" for one in value)
    return found
