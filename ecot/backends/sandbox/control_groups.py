"""Control groups: caps on the memory and the processes of a whole sandbox, where the kernel lets us make groups.

Resource limits bind each process alone; a group binds all that a command starts, files in memory included. Both
versions are served: version 2 (stock Debian 12, systemd) and version 1 (many containers).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecot.backends.sandbox.command import MEBIBYTE, Limits

ROOT = Path("/sys/fs/cgroup")

_LAUNCHER_BYTES = 64 * MEBIBYTE
"""Room for the launcher itself and for what the kernel books for pipes and page tables."""
_LAUNCHER_PROCESSES = 8
_CLOSING_SECONDS = 2.0
_MEMBERS = "cgroup.procs"
"""Every group has it, of either version."""
_NAME = re.compile(r"ecot-(\d+)-\d+")
_numbers = itertools.count()

# Moves itself into the groups and becomes the command: no process of the command was ever outside.
_ENTER = 'for file in {files}; do echo $$ >"$file" || exit 1; done; exec "$@"'


@dataclass(frozen=True)
class ControlGroups:
    """Where groups can be made on this machine."""

    version: int
    parents: tuple[Path, ...]
    """The folder to make a group in; with version 1 one for memory and one for processes."""

    @contextlib.contextmanager
    def group(self, limits: Limits) -> Iterator[Group]:
        """A group for one command, removed at the end, when all its processes must be gone."""
        name = f"ecot-{os.getpid()}-{next(_numbers)}"
        group = Group(self.version, tuple(parent / name for parent in self.parents))
        try:
            for folder in group.folders:
                folder.mkdir()
            group.set_limits(limits)
            yield group
        finally:
            group.remove()


@dataclass(frozen=True)
class Group:
    """One control group (with version 1: one for memory, one for processes)."""

    version: int
    folders: tuple[Path, ...]

    def set_limits(self, limits: Limits) -> None:
        """Write the caps, also other ones than before."""
        memory, processes = self.folders[0], self.folders[-1]
        num_bytes = limits.memory_bytes + limits.scratch_bytes + _LAUNCHER_BYTES
        (processes / "pids.max").write_text(str(limits.processes + _LAUNCHER_PROCESSES))
        if self.version == 1:
            cap, swap = memory / "memory.limit_in_bytes", memory / "memory.memsw.limit_in_bytes"
            values = {cap: num_bytes, swap: num_bytes}
            # The latter may never be below the former.
            order = (swap, cap) if num_bytes > int(cap.read_text()) else (cap, swap)
        else:
            order = memory / "memory.max", memory / "memory.swap.max"
            values = dict(zip(order, (num_bytes, 0), strict=True))
            swap = order[1]
        for file in order:
            if file != swap or file.exists():  # A kernel may count no swap.
                file.write_text(str(values[file]))

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in this group."""
        files = " ".join(str(folder / _MEMBERS) for folder in self.folders)
        return ["/bin/sh", "-c", _ENTER.format(files=files), "sh", *argv]

    @property
    def out_of_memory(self) -> bool:
        """Whether a process of the group was killed because the group's memory was used up."""
        return self.num_killed > 0

    @property
    def num_killed(self) -> int:
        """How many processes of the group were killed because the group's memory was used up."""
        events = "memory.oom_control" if self.version == 1 else "memory.events"
        counts = dict(line.split() for line in (self.folders[0] / events).read_text().splitlines())
        return int(counts["oom_kill"])

    def remove(self) -> None:
        """Remove the group; a process that has just ended may still be leaving it."""
        deadline = time.monotonic() + _CLOSING_SECONDS
        for folder in self.folders:
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break  # left to the sweep of a later process
                    time.sleep(0.001)


@functools.cache
def find_control_groups() -> ControlGroups | None:
    """Where this process may make groups with caps on memory and processes; None if nowhere.

    Groups that a killed process left behind are removed on the way.
    """
    for version, parents in _candidates():
        if not all(os.access(parent, os.W_OK) for parent in parents):
            continue
        found = ControlGroups(version, parents)
        try:
            with found.group(Limits()) as group:
                if not group.out_of_memory:
                    _sweep(parents)
                    return found
        except OSError:  # no such controller here, or no permission
            continue
    return None


def _candidates() -> list[tuple[int, tuple[Path, ...]]]:
    """Version and parent folders worth trying: this process's own groups, then the roots."""
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= {name: path.lstrip("/") for name in controllers.split(",")}
    found: list[tuple[int, tuple[Path, ...]]] = []
    if "" in own:
        mine = ROOT / own[""]
        # A group with processes in it cannot hand controllers to its children, its parent may.
        found += [(2, (mine,)), (2, (mine.parent,))] if mine != ROOT else [(2, (mine,))]
    if {"memory", "pids"} <= own.keys():
        found.append((1, (ROOT / "memory" / own["memory"], ROOT / "pids" / own["pids"])))
        # In a container the path that the kernel names may lie outside of what is mounted.
        found.append((1, (ROOT / "memory", ROOT / "pids")))
    # Where the controllers of version 1 are mounted their common folder is a plain one, in which nothing is a group.
    return [(version, parents) for version, parents in found if all((parent / _MEMBERS).exists() for parent in parents)]


def _sweep(parents: Sequence[Path]) -> None:
    for parent in parents:
        for folder in parent.glob("ecot-*-*"):
            match = _NAME.fullmatch(folder.name)
            if match is not None and not Path(f"/proc/{match[1]}").exists():
                with contextlib.suppress(OSError):  # someone else was faster
                    folder.rmdir()
