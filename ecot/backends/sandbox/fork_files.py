"""The file system of a fork server: lay inputs out, collect outputs, wipe. Standard library alone.

What a child left may be hostile: symbolic links, pipes, unreadable or endlessly nested folders.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

SCRATCH = Path("/tmp")
"""The sandbox's only writable place; wiped between requests."""


def lay_out(work: Path, files: Mapping[str, memoryview]) -> None:
    """Make a fresh working directory that holds the files, all of which may be executed."""
    work.mkdir(exist_ok=True)
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: no copy of the content stays in this process.
        with open(path, "wb", buffering=0, opener=_executable) as file:
            while content:
                content = content[file.write(content) or 0 :]


def _executable(path: str, flags: int) -> int:
    return os.open(path, flags, 0o755)


def collect(work: Path, names: Sequence[str], most_bytes: int) -> tuple[dict[str, bytearray], bool]:
    """Read those of the named files that are regular; whether all of them fitted."""
    found: dict[str, bytearray] = {}
    room = most_bytes
    for name in names:
        try:
            descriptor = _open(work, name)
        except OSError:  # Absent, behind a link, or made unreadable: the request left no such file.
            continue
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                continue
            if status.st_size > room:
                return found, False
            found[name] = _content(descriptor, status.st_size)
            room -= status.st_size
        finally:
            os.close(descriptor)
    return found, True


def _content(descriptor: int, size: int) -> bytearray:
    """A file in one buffer, of which there is no second copy that could not be erased."""
    content = bytearray(size)
    view = memoryview(content)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        while view and (num_bytes := file.readinto(view)):
            view = view[num_bytes:]
    return content


def _open(work: Path, name: str) -> int:
    """Open a file of the working directory without following a link on the way."""
    *parents, last = name.split("/")
    folder = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in parents:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def wipe() -> bool:
    """Remove all that was left; False if something resists, after which nothing may be run here."""
    try:
        _wipe_folder(SCRATCH, SCRATCH.stat().st_dev)
    except (OSError, RecursionError):
        return False
    return True


def _wipe_folder(folder: Path, device: int) -> bool:
    """Empty a folder but for what is mounted below it; whether nothing is."""
    empty = True
    folder.chmod(0o700)
    for entry in list(os.scandir(folder)):
        path = folder / entry.name
        if not entry.is_dir(follow_symlinks=False):
            path.unlink()
        elif path.lstat().st_dev != device or not _wipe_folder(path, device):
            empty = False
        else:
            path.rmdir()
    return empty
