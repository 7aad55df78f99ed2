"""How a sandbox is started, and what works on this machine: bubblewrap, or else the kernel's namespaces alone."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecot.backends.sandbox.command import Limits
from ecot.backends.sandbox.control_groups import ControlGroups, find_control_groups
from ecot.backends.sandbox.namespaces import interpreters, namespace_argv
from ecot.errors import SandboxError

WORK_DIR = "/tmp"
"""Working directory, home and temporary directory inside: the one writable place."""

MINIMUM_VERSION = (0, 8)
"""0.7 brought `--size`, without which a candidate can fill the memory with files; 0.8 `--disable-userns`."""

UNPRIVILEGED_ID = 65534
"""`nobody`: who a sandbox is on the host when the caller is root, so that process counts bind."""

MECHANISMS = ("bubblewrap", "kernel namespaces")
"""Best first."""

STACK_BYTES = 8 << 20
"""Of every command: where a runaway recursion ends must not depend on the caller's shell."""

_SYSTEM_DIRS = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/bin", "/lib", "/lib32", "/lib64")
_DEVICES = ("/dev/null", "/dev/urandom")
"""Some libraries refuse to load where /dev/urandom is missing."""
_INSTALL = "install it with `apt install bubblewrap` (or your distribution's package)"


@dataclass(frozen=True)
class Launcher:
    """A way to start a sandbox that was seen to work here."""

    name: str
    """The mechanism, for reports."""
    prefix: tuple[str, ...]
    """Everything up to the options that depend on the command."""
    prlimit: str
    unprivileged: bool
    """Whether the sandbox runs as an unprivileged user of the host, so that `Limits.processes` binds."""
    groups: ControlGroups | None = None
    """Where control groups can be made; without them memory is capped per process only."""
    interpreter: str = ""
    """A Python that makes the namespaces itself, where bubblewrap does not work."""


def find_launcher(mechanisms: Sequence[str] = MECHANISMS) -> Launcher:
    """Find a way to start a sandbox and try it.

    Args:
        mechanisms: some of `MECHANISMS`; the first that works is taken.

    Raises:
        SandboxError: nothing works here; the message says why and what to do.
    """
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        raise SandboxError("no sandbox: prlimit is not installed; install it with `apt install util-linux`")
    reasons = []
    for mechanism in mechanisms:
        try:
            ways = _WAYS[mechanism](prlimit)
        except SandboxError as error:
            reasons.append(str(error))
            continue
        for way in ways:
            launcher = replace(way, groups=find_control_groups())
            reason = _try(launcher)
            if not reason:
                return launcher
            reasons.append(f"{launcher.name}: {reason}")
    raise SandboxError(
        f"no sandbox works here ({'; '.join(dict.fromkeys(reasons))}). It needs user namespaces: look at the sysctls "
        "user.max_user_namespaces (must not be 0), kernel.unprivileged_userns_clone (must be 1 where it exists) and "
        "kernel.apparmor_restrict_unprivileged_userns (must be 0 where it exists); in a container, allow them by its "
        "security options. Candidate code is never run without a sandbox."
    )


def _bubblewraps(prlimit: str) -> list[Launcher]:
    """Ways to call bubblewrap, best first.

    Raises:
        SandboxError: it is missing or too old.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError(f"bubblewrap (bwrap) is not installed; {_INSTALL}")
    name = f"bubblewrap {_version(bwrap)}"
    return [
        Launcher(name, (*user_switch, bwrap, *_namespace_options()), prlimit, unprivileged)
        for user_switch, unprivileged in _user_switches()
    ]


def _namespaces(prlimit: str) -> list[Launcher]:
    return [
        Launcher("kernel namespaces", user_switch, prlimit, unprivileged, interpreter=interpreter)
        for user_switch, unprivileged in _user_switches()
        for interpreter in interpreters()
    ]


_WAYS = {"bubblewrap": _bubblewraps, "kernel namespaces": _namespaces}


def sandbox_argv(
    launcher: Launcher,
    command: Sequence[str],
    limits: Limits,
    inputs: Mapping[str, int],
    read_only: Sequence[Path],
    status_fd: int,
    environment: Mapping[str, str],
    process_files: bool = False,
) -> list[str]:
    """The whole command line.

    Args:
        launcher: how to start bubblewrap here.
        command: what runs inside.
        limits: turned into resource limits, set inside so that they bind the command alone.
        inputs: file name in the working directory to a descriptor that holds its content.
        read_only: further host paths to show.
        status_fd: where bubblewrap reports whether the command was started.
        environment: added to the otherwise empty environment.
        process_files: whether to show a `/proc` of the sandbox's own process namespace.
    """
    limited = [launcher.prlimit, *_resource_limits(limits), *command]
    if launcher.interpreter:
        made = namespace_argv(
            launcher.interpreter,
            limited,
            [*_existing(_SYSTEM_DIRS), *_DEVICES, *map(str, read_only)],
            WORK_DIR,
            limits.scratch_bytes,
            inputs,
            status_fd,
            {**base_environment(), **environment},
            process_files,
        )
        return [*launcher.prefix, *made]
    argv = [*launcher.prefix, "--size", str(limits.scratch_bytes), "--tmpfs", WORK_DIR]
    for path in read_only:
        argv += ["--ro-bind", str(path), str(path)]
    if process_files:
        # Writable, it would let a caller who is root, and has no other user to switch to, set the host's parameters.
        argv += ["--proc", "/proc", "--remount-ro", "/proc"]
    # The root is a file system in memory too: without the remount it could be filled past any cap.
    argv += ["--remount-ro", "/", "--chdir", WORK_DIR]
    for name, descriptor in inputs.items():
        argv += ["--perms", "0755", "--file", str(descriptor), f"{WORK_DIR}/{name}"]
    for key, value in environment.items():
        argv += ["--setenv", key, value]
    return [*argv, "--json-status-fd", str(status_fd), "--", *limited]


def _existing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if os.path.lexists(path)]


def base_environment() -> dict[str, str]:
    """The whole environment of the launcher; nothing of the caller's is passed on."""
    return {"PATH": "/usr/bin:/bin", "HOME": WORK_DIR, "TMPDIR": WORK_DIR, "LANG": "C.UTF-8", "TZ": "UTC"}


def _namespace_options() -> list[str]:
    # --unshare-all alone does not count as --unshare-user, which --disable-userns demands.
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    options += ["--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--cap-drop", "ALL"]
    for text in _SYSTEM_DIRS:
        path = Path(text)
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), text]
        elif path.is_dir():
            options += ["--ro-bind", text, text]
    # No /proc and no full /dev: the latter's shared memory would be one more place to fill.
    return [*options, *(word for path in _DEVICES for word in ("--dev-bind", path, path))]


def _user_switches() -> list[tuple[tuple[str, ...], bool]]:
    """Command prefixes that choose the user on the host, best first, and whether that user is unprivileged."""
    if os.geteuid() != 0:
        return [((), True)]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return [((), False)]
    switch = (setpriv, f"--reuid={UNPRIVILEGED_ID}", f"--regid={UNPRIVILEGED_ID}", "--clear-groups")
    return [(switch, True), ((), False)]


def _resource_limits(limits: Limits) -> list[str]:
    wanted = {
        "as": (limits.memory_bytes, limits.memory_bytes),
        # The soft limit sends SIGXCPU, which tells a timeout from other kills; the hard one cannot be caught.
        "cpu": (limits.cpu_seconds, limits.cpu_seconds + 1),
        "fsize": (limits.scratch_bytes, limits.scratch_bytes),
        "nofile": (limits.open_files, limits.open_files),
        "nproc": (limits.processes, limits.processes),
        "stack": (STACK_BYTES, STACK_BYTES),
        "core": (0, 0),
    }
    options = []
    for name, (soft, hard) in wanted.items():
        ceiling = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        options.append(f"--{name}={soft}:{hard}")
    return options


def _version(bwrap: str) -> str:
    text = subprocess.run([bwrap, "--version"], capture_output=True, text=True, timeout=30).stdout
    match = re.search(r"(\d+)\.(\d+)\S*", text)
    if match is None:
        raise SandboxError(f"`{bwrap} --version` printed {text.strip()!r}, which names no version")
    if (int(match[1]), int(match[2])) < MINIMUM_VERSION:
        raise SandboxError(
            f"bubblewrap {match[0]} is too old, {'.'.join(map(str, MINIMUM_VERSION))} or newer is needed "
            "(it caps the size of file systems in memory and forbids nested user namespaces); "
            "take it from your distribution's backports or from https://github.com/containers/bubblewrap"
        )
    return match[0]


def _try(launcher: Launcher) -> str:
    """Run `true` in a sandbox; the reason why that failed, or the empty string."""
    argv = sandbox_argv(launcher, ["/bin/sh", "-c", "exit 0"], Limits(), {}, (), 2, {})
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=base_environment(), cwd="/")
    except subprocess.TimeoutExpired:
        return "it did not end within 60 s"
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return lines[-1] if lines else f"exit code {done.returncode}"
