"""Finds the program that the wheel brought along."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Iterator, Optional, Union

from ._errors import StartError

NAME = "spanqa.exe" if os.name == "nt" else "spanqa"


def find_program(program: Optional[Union[str, "os.PathLike[str]"]] = None) -> str:
    """The path of the program: the one that is named, that of SPANQA_PROGRAM, the one of this installation, or that in PATH."""
    named = program or os.environ.get("SPANQA_PROGRAM")
    if named:
        found = shutil.which(os.fspath(named))
        if found is None:
            raise StartError("program_missing", f"there is no program {os.fspath(named)}", "check the path and its permissions")
        return found
    for place in _places():
        if os.access(place, os.X_OK) and place.is_file():
            return str(place)
    found = shutil.which(NAME)
    if found is None:
        hint = "install it with `pip install .` in a clone of its repository, or name it: Reader(program=...) or SPANQA_PROGRAM"
        raise StartError("program_missing", f"the program {NAME} was not found", hint)
    return found


def _places() -> Iterator[Path]:
    """Where pip puts programs: of this environment, of the user, beside a folder that --target named."""
    yield Path(sysconfig.get_path("scripts")) / NAME
    user = f"{os.name}_user"
    if user in sysconfig.get_scheme_names():
        yield Path(sysconfig.get_path("scripts", user)) / NAME
    yield Path(__file__).resolve().parent.parent / "bin" / NAME
