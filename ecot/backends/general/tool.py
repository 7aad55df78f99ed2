"""The Python that runs candidates: the system's, which every sandbox shows and every user reaches."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ecot.errors import MissingToolError, ToolError

_PLACES = ("/usr/bin/python3", "/bin/python3")

FLAGS = ("-s", "-S", "-B", "-X", "utf8")
"""Neither packages nor folders of the host's or a user's: candidates have the standard library.

Not `-I`: it would ignore `PYTHONHASHSEED`, and the order of sets would differ from run to run. The environment is the
sandbox's own, so there is nothing else in it to ignore.
"""

ENVIRONMENT = {"PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Interpreter:
    """Where it lies and which one it is."""

    path: str
    version: str


@functools.cache
def find_interpreter() -> Interpreter:
    """Find the system's Python.

    Raises:
        MissingToolError: there is none; the message says how to get it.
        ToolError: it is too old.
    """
    path = next((place for place in _PLACES if Path(place).is_file()), None)
    if path is None:
        raise MissingToolError("python3 is not installed in /usr/bin; get it with `apt install python3`")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    match = re.fullmatch(r"Python (3\.(\d+)\.\S+)\s*", done.stdout)
    if match is None or int(match[2]) < 9:
        raise ToolError(f"{path} --version prints {done.stdout.strip()!r}; Python 3.9 or newer is needed")
    return Interpreter(path, match[1])
