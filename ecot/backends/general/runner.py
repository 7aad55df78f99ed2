"""Runs inside the sandbox: loads a candidate and calls it on given arguments; knows no expected result.

The first process watches, the second is the candidate's. Whatever the candidate does to this module's objects, to
builtins or to its own process, it can only spoil its own results: they are compared elsewhere. Beside it lies
`job.json` (nonce, file, entry, calls), which is gone before the candidate is loaded.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import signal
import struct
import sys
import time
from typing import Any, NoReturn

from ecot.backends.general.values import UnencodableError, decode, encode

IDLE_SECONDS = 3.0
IDLE_LOOKS = 20
"""A candidate hangs if it used no processor time for this long while its watcher was scheduled this often."""
_SIGNALLING = {
    "x86_64": (62, 101, 129, 200, 234, 297, 311, 424),
    "aarch64": (129, 117, 138, 130, 131, 240, 271, 424),
}
"""kill, ptrace, rt_sigqueueinfo, tkill, tgkill, rt_tgsigqueueinfo, process_vm_writev, pidfd_send_signal."""

HANGS, ENDED = 97, 0
"""Exit codes of the watcher."""


def main() -> NoReturn:
    """Fork the candidate's process and watch it."""
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    os.unlink("job.json")
    channel = os.dup(1)
    # What the candidate prints is no result.
    os.dup2(2, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        _confine()
        _run(job, channel)
        os._exit(0)
    os.close(channel)
    _watch(pid, job["cpu_seconds"])


def _watch(pid: int, cpu_seconds: int) -> NoReturn:
    """Wait for the candidate's process and end as it ends."""
    clock = (~pid << 3) | 2  # the processor time of another process, as clock_getcpuclockid(3) makes it
    used, since, looks = 0.0, time.monotonic(), 0
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            _end_alike(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime >= cpu_seconds)
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        try:
            now = time.clock_gettime(clock)
        except OSError:  # it has just ended
            continue
        looks += 1
        if now - used > 0.0005:
            used, since, looks = now, time.monotonic(), 0
        elif looks > IDLE_LOOKS and time.monotonic() - since > IDLE_SECONDS:
            os._exit(HANGS)


def _end_alike(code: int, is_out_of_time: bool) -> NoReturn:
    """Die of the same signal, so that a limit of time shows as what it is."""
    if code < 0:
        # Who catches the first signal of that limit is killed by the second.
        number = signal.SIGXCPU if is_out_of_time else -code
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(ENDED)


def _confine() -> None:
    """One process, one thread, and no signals to others: how many start before a limit differs from run to run.

    A watcher that a candidate could stop would wait until the deadline, which counts as the machine's fault.
    """
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    numbers = _SIGNALLING.get(os.uname().machine)
    if numbers is None:
        return
    # Load the system call's number; deny with EPERM if it is one of these; allow.
    code = struct.pack("<HBBI", 0x20, 0, 0, 0)
    code += struct.pack("<HBBI", 0x35, len(numbers) + 1, 0, 0x40000000)  # the same calls under another number
    for index, number in enumerate(numbers):
        code += struct.pack("<HBBI", 0x15, len(numbers) - index, 0, number)
    code += struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000) + struct.pack("<HBBI", 0x06, 0, 0, 0x00050001)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    program = Program(len(code) // 8, code)
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the candidate's process could not be confined")


class _Channel:
    """Writes records of one line, each with the nonce."""

    def __init__(self, nonce: str, descriptor: int) -> None:
        self._nonce, self._descriptor = nonce, descriptor
        self._write, self._dumps = os.write, json.dumps

    def send(self, kind: str, content: Any) -> None:
        raw = (self._dumps([self._nonce, kind, content]) + "\n").encode()
        while raw:
            raw = raw[self._write(self._descriptor, raw) :]


def _run(job: dict[str, Any], descriptor: int) -> None:
    channel = _Channel(job["nonce"], descriptor)
    random.seed(0)
    function = _load(job["file"], job["entry"], channel)
    if function is None:
        return
    for arguments in job["calls"]:
        if not _call(function, decode(arguments), job["file"], channel):
            return
    channel.send("end", len(job["calls"]))


def _load(file: str, entry: str, channel: _Channel) -> Any:
    with open(file, encoding="utf-8") as source:
        text = source.read()
    try:
        code = compile(text, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 0
        channel.send("syntax", [type(error).__name__, str(getattr(error, "msg", error)), line])
        return None
    except (RecursionError, MemoryError) as error:
        channel.send("syntax", [type(error).__name__, "too deeply nested for the compiler", 0])
        return None
    module = type(sys)("candidate")
    sys.modules["candidate"] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:  # noqa: BLE001 whatever the candidate raises is its outcome
        channel.send("load", _describe(error, file))
        return None
    function = module.__dict__.get(entry)
    if not callable(function):
        channel.send("missing", None)
        return None
    return function


def _call(function: Any, arguments: tuple[Any, ...], file: str, channel: _Channel) -> bool:
    """Call once and report; False if the process is not to go on."""
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 whatever the candidate raises is its outcome
        channel.send("raised", _describe(error, file))
        return isinstance(error, Exception) and not isinstance(error, MemoryError)
    try:
        encoded = encode(result)
    except (UnencodableError, RecursionError) as error:
        channel.send("foreign", str(error))
        return True
    channel.send("result", encoded)
    return True


def _describe(error: BaseException, file: str) -> list[Any]:
    """Name of the exception, its message, and the candidate's line that raised it."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        message = str(error)[:300]
    except BaseException:  # noqa: BLE001 the message is the candidate's own code
        message = ""
    return [type(error).__name__, message, line]


if __name__ == "__main__":
    main()
