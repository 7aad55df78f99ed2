"""What an outcome depends on besides task and code: the tools, and our own part of the environment."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources

_SHARED = ("candidate_text.py", "task_settings.py")


def fingerprint_of(parts: Sequence[str], folders: Sequence[str], suffixes: Sequence[str] = (".py",)) -> str:
    """The hash that stands in every outcome of a backend and in every cache key.

    The sandbox's files count too; adversaries do not, since they only test the others.

    Args:
        parts: tools with their versions, flags, options and a hash of the secret.
        folders: of the domain, under `ecot/backends/`.
        suffixes: of the files in them that count.
    """
    room = resources.files("ecot.backends")
    files = [(name, (room / name).read_bytes()) for name in _SHARED]
    for folder in (*folders, "sandbox"):
        for item in room.joinpath(folder).iterdir():
            if item.name.endswith(tuple(suffixes)) and item.name != "adversaries.py":
                files.append((f"{folder}/{item.name}", item.read_bytes()))
    return hashlib.sha256("\0".join(parts).encode() + b"".join(content for _, content in sorted(files))).hexdigest()
