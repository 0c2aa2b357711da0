"""`python -m spanqa`: the program, where its folder is not in PATH."""

import os
import subprocess
import sys

from ._program import find_program


def main() -> int:
    command = [find_program(), *sys.argv[1:]]
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
