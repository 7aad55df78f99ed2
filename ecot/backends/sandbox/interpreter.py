"""Show this process's Python, with the packages of its environment, inside a sandbox."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ecot.backends.sandbox.bubblewrap import Launcher
from ecot.errors import SandboxError

_STAGE = "/mnt"
"""Where, in a mount namespace of the launcher's own, folders wait while the way to them is rebuilt."""


def python_folders() -> tuple[Path, ...]:
    """The folders that this process's interpreter and its packages lie in, outside of what a sandbox shows anyway."""
    wanted = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve()}
    return tuple(sorted(path for path in wanted if path != Path("/usr")))


def reaching(launcher: Launcher, paths: Sequence[Path]) -> Launcher:
    """A launcher whose user reaches the paths.

    A caller who is root starts the sandbox as an unprivileged user, who may not pass through, say, `/root`. Then an
    empty folder, passable for all, is mounted over the closed one and the paths alone are bound into it: in a mount
    namespace of the launcher's own, so that nothing changes for anybody else.

    Raises:
        SandboxError: the tools for that are missing.
    """
    closed = {folder for path in paths if (folder := _closed_folder(path)) is not None}
    if not closed or not launcher.unprivileged or os.geteuid() != 0:
        return launcher
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    if unshare is None or mount is None:
        places = ", ".join(map(str, sorted(closed)))
        raise SandboxError(
            f"no sandbox: Python lies under {places}, which only root may enter; install unshare and mount "
            "(`apt install util-linux mount`), or Python in a place that all may enter"
        )
    stages = {path: f"{_STAGE}/{index}" for index, path in enumerate(paths)}
    commands = ["umask 022", f"mount -t tmpfs -o mode=0755,size=1m none {_STAGE}"]
    for path, stage in stages.items():
        commands += [f"mkdir {stage}", f"mount --rbind {shlex.quote(str(path))} {stage}"]
    commands += [f"mount -t tmpfs -o mode=0755,size=1m none {shlex.quote(str(folder))}" for folder in sorted(closed)]
    for path, stage in stages.items():
        target = shlex.quote(str(path))
        commands += [f"mkdir -p {target}", f"mount --rbind {stage} {target}"]
    script = " && ".join([*commands, 'exec "$@"'])
    return replace(launcher, prefix=(unshare, "--mount", "--", "/bin/sh", "-c", script, "sh", *launcher.prefix))


def _closed_folder(path: Path) -> Path | None:
    """The outermost folder on the way that others may not pass through."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None
