"""Runs inside `python -I -S -c`: a sandbox from the kernel's namespaces alone, for machines without bubblewrap.

The text of this file is the program: it uses the standard library only and imports nothing of ours. It makes what
bubblewrap makes (see `bubblewrap.py`): namespaces for users, mounts, processes, network, IPC and host name; a root in
memory with the system's directories read-only; one writable file system with a cap; no capabilities. It reports on the
status descriptor in bubblewrap's form, `{"exit-code": n}`, and explains a failure on standard error.

Argument: a JSON object with the fields of `Specification`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from typing import Any, NoReturn, TypedDict


class Specification(TypedDict):
    """What is to be run, and what it sees."""

    binds: list[str]
    """Paths of the host to show read-only at the same place; symbolic links are made anew."""
    scratch: str
    """The one writable place."""
    scratch_bytes: int
    inputs: dict[str, int]
    """File name in the writable place to a descriptor that holds its content."""
    environment: dict[str, str]
    process_files: bool
    """Whether to show a `/proc` of the new process namespace."""
    status_fd: int
    command: list[str]


_CLONE_FLAGS = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_SAME_IN_STATVFS = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | 8 | 1024 | 2048  # the last: noexec, noatime, nodiratime
_ST_RELATIME, _MS_RELATIME = 4096, 1 << 21
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_PR_SET_SECUREBITS, _SECURE_ALL = 28, 0x2F
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_USER_ID = 1000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = [None if text is None else text.encode() for text in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {source} at {target}")


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def _pivot_root(new: str, old: str) -> None:
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(number, new.encode(), old.encode()), f"pivot_root to {new}")


def _enter_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_CLONE_FLAGS), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_USER_ID} {user} 1"),
        ("gid_map", f"{_USER_ID} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    # New credentials clear it.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _flags_of(path: str) -> int:
    """The mount flags that a remount has to repeat: a user namespace may not drop them."""
    flags = os.statvfs(path).f_flag
    return flags & _SAME_IN_STATVFS | (_MS_RELATIME if flags & _ST_RELATIME else 0)


def _make_root(spec: Specification) -> None:
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    os.mkdir("/tmp/old")
    os.mkdir("/tmp/new")
    _pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    _mount("tmpfs", "/new", "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    scratch = "/new" + spec["scratch"]
    os.makedirs(scratch, exist_ok=True)
    _mount("tmpfs", scratch, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={spec['scratch_bytes']},mode=0755")
    for path in spec["binds"]:
        _show(path)
    if spec["process_files"]:
        os.mkdir("/new/proc")
        _mount("proc", "/new/proc", "proc", _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    _make_read_only(besides=scratch)
    for name, descriptor in spec["inputs"].items():
        _copy_in(descriptor, f"{scratch}/{name}")
    _mount("tmpfs", "/new", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    with open("/old/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    os.chdir("/new")
    _pivot_root(".", ".")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chdir(spec["scratch"])


def _show(path: str) -> None:
    source, target = "/old" + path, "/new" + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        open(target, "w").close()
    _mount(source, target, None, _MS_BIND | _MS_REC)


def _make_read_only(besides: str) -> None:
    """Every mount below the new root but one, those that came along with a bind too."""
    with open("/old/proc/self/mountinfo") as file:
        points = [_unescaped(line.split()[4]) for line in file]
    for point in points:
        if point.startswith("/new/") and point != besides:
            # A device stays usable: what a read-only mount forbids is writing to files, not to devices.
            extra = 0 if point.startswith("/new/dev/") else _MS_NODEV
            _mount("none", point, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | extra | _flags_of(point))


def _unescaped(text: str) -> str:
    """A path as the kernel writes it in mountinfo, with blanks and backslashes in octal."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, character)
    return text


def _copy_in(descriptor: int, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(descriptor, "rb", closefd=False) as source, open(path, "wb") as target:
        target.write(source.read())
    os.chmod(path, 0o755)


def _drop_privileges() -> None:
    _prctl(_PR_SET_SECUREBITS, _SECURE_ALL)
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) == 0:
        capability += 1
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    _check(_libc.capset(ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()), "capset")


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _run_command(spec: Specification) -> NoReturn:
    os.setsid()
    _drop_privileges()
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    os.closerange(3, 1 << 16)
    try:
        os.execve(spec["command"][0], spec["command"], spec["environment"])
    except OSError as error:
        print(f"{spec['command'][0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)


def _be_first_process(spec: Specification, ready: int) -> NoReturn:
    """Build the root, start the command, reap what is orphaned, and end with the command: all others end with us."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _make_root(spec)
        socket.sethostname("sandbox")
    except OSError as error:
        print(f"sandbox from namespaces: {error}", file=sys.stderr)
        os._exit(1)
    command = os.fork()
    if command == 0:
        _run_command(spec)
    _prctl(_PR_SET_DUMPABLE, 0)
    os.write(ready, b"1")
    # The supervisor sees the end of the outputs when the command's own processes are gone.
    os.closerange(0, 1 << 16)
    while True:
        pid, status = os.wait()
        if pid == command:
            os._exit(_exit_code(status))


def main(spec: Any) -> NoReturn:
    """Run the command of the specification; ends with its exit code."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _enter_namespaces()
    except OSError as error:
        print(f"sandbox from namespaces: {error}", file=sys.stderr)
        os._exit(1)
    is_ready, ready = os.pipe()
    first = os.fork()
    if first == 0:
        _be_first_process(spec, ready)
    os.close(ready)
    started = os.read(is_ready, 1)
    _, status = os.waitpid(first, 0)
    if started:
        os.write(spec["status_fd"], json.dumps({"exit-code": _exit_code(status)}).encode() + b"\n")
    os._exit(_exit_code(status))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
