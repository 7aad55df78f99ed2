"""The program that runs inside a fork server's sandbox: import once, then one forked child per request.

Besides what it serves it imports the standard library alone; the caller's end is `fork_server.py`. Everything here is
trusted; what a child runs may be a candidate. A child has the server's user, so it can kill the server (which is then
lost and replaced), but neither trace it nor read its memory, and it holds none of its descriptors.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import mmap
import os
import random
import resource
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecot.backends.sandbox import fork_files, fork_pages, fork_wire

_SET_DUMPABLE = 4
_CHUNK = 1 << 16
_MEBIBYTE = 1 << 20
_SPARE_PROCESSES = 2
"""The server and the first process of its namespace count as processes of the child's user."""
_UNCAUGHT = 70
"""Exit code of a child whose function raised."""


def main(modules: Sequence[str], work: str) -> None:
    """Import the modules, say so, then serve on descriptor 0 until the caller hangs up; each request in `work`."""
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    # A process of the same user may otherwise trace the server or open its memory.
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    loaded = {name: importlib.import_module(name) for name in modules}
    mapped = _mapped_bytes()
    sys.path.pop(0)
    fork_files.wipe()  # The modules' own files too: a child has no use for them.
    gc.collect()
    fork_pages.collapse()
    gc.freeze()  # A child's collector then leaves the server's pages unwritten, and so shared.
    fork_wire.send(control, {"ready": True}, {})
    while (request := fork_wire.receive(control)) is not None:
        header, files = request
        fork_files.lay_out(Path(work), files)
        fork_wire.erase(files)
        fork_wire.send(control, {"accepted": True}, {})
        function = vars(loaded[header["module"]])[header["function"]]
        reply, outputs = _serve(control, function, header, mapped, Path(work))
        clean = fork_files.wipe()
        fork_wire.send(control, {**reply, "retired": not clean}, outputs)
        fork_wire.erase(outputs)
        if not clean:
            return


def _serve(
    control: socket.socket, function: Callable[[Any], Any], header: Mapping[str, Any], mapped: int, work: Path
) -> tuple[dict[str, Any], dict[str, bytearray]]:
    """Fork, watch, kill what is left, collect."""
    limits = header["limits"]
    cap, discard = limits["output_bytes"], not header["stop_on_flood"]
    stdout, stdout_writer = os.pipe()
    stderr, stderr_writer = os.pipe()
    deadline = time.monotonic() + limits["wall_seconds"]
    child = os.fork()
    if child == 0:
        control.close()
        _run_child(function, header, mapped, work, (stdout_writer, stderr_writer))
    os.close(stdout_writer)
    os.close(stderr_writer)
    pipes = {stdout: bytearray(), stderr: bytearray()}
    ended, late_share = _watch(child, pipes, cap, deadline, discard)
    code, cpu_seconds = _end(child)
    for reader, data in pipes.items():
        _drain(reader, data, cap, discard)
        os.close(reader)
    flooded = _flooded(pipes, cap)
    outputs, complete = fork_files.collect(work, header["outputs"], limits["scratch_bytes"]) if ended else ({}, True)
    reply = {
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "cpu_seconds": cpu_seconds,
        "deadline_passed": not ended and (discard or not flooded),
        "late_share": late_share,
        "output_truncated": flooded or not complete,
    }
    for data in pipes.values():
        del data[cap:]
    return reply, {**outputs, "/stdout": pipes[stdout], "/stderr": pipes[stderr]}


def _run_child(
    function: Callable[[Any], Any],
    header: Mapping[str, Any],
    mapped: int,
    work: Path,
    pipes: tuple[int, int],
) -> None:
    """Become the process of one request; never returns."""
    code = _UNCAUGHT
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (pipes[0], 1), (pipes[1], 2)):
            os.dup2(source, target)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        os.chdir(work)
        random.seed(0)  # Python seeds it anew after each fork.
        _set_limits(header["limits"], mapped)
        returned = function(header["arguments"])
        code = 0 if returned is None else int(returned)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        # Not even an exception may lead back into the server's loop.
        with contextlib.suppress(BaseException):
            if (failure := sys.exception()) is not None:
                traceback.print_exception(failure)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code & 0xFF)


def _set_limits(limits: Mapping[str, Any], mapped: int) -> None:
    memory = mapped + limits["memory_bytes"]
    processes = limits["processes"] + _SPARE_PROCESSES
    # The soft limit of time sends SIGXCPU; the hard one cannot be caught.
    wanted = (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, limits["cpu_seconds"], limits["cpu_seconds"] + 1),
        (resource.RLIMIT_FSIZE, limits["scratch_bytes"], limits["scratch_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_CORE, 0, 0),
    )
    for kind, soft, hard in wanted:
        lower_limit(kind, soft, hard)


def lower_limit(kind: int, soft: int, hard: int) -> None:
    """Set a resource limit of this process, or leave it as low as it is."""
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def _watch(child: int, pipes: Mapping[int, bytearray], cap: int, deadline: float, discard: bool) -> tuple[bool, float]:
    """Drain the pipes until the child ends, or has to be ended: at the deadline, or for a flood not to be discarded.

    Returns:
        Whether it ended by itself, and its share of a processor in the second half of its time.
    """
    end = os.pidfd_open(child)
    middle = (time.monotonic() + deadline) / 2
    used_before = None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(end, selectors.EVENT_READ)
            for reader in pipes:
                os.set_blocking(reader, False)
                selector.register(reader, selectors.EVENT_READ)
            while (now := time.monotonic()) < deadline:
                if used_before is None and now >= middle:
                    used_before = _processor_seconds(child)
                ready = [key.fd for key, _ in selector.select((middle if now < middle else deadline) - now)]
                if end in ready:
                    return True, 1.0
                for reader in ready:
                    if not _drain(reader, pipes[reader], cap, discard):
                        selector.unregister(reader)
                if not discard and _flooded(pipes, cap):
                    return False, 1.0
        late = _processor_seconds(child) - (used_before or 0.0)
        return False, late / (deadline - middle)
    finally:
        os.close(end)


def _processor_seconds(child: int) -> float:
    """What a child that has not been waited for has used; see clock_getcpuclockid(3)."""
    return time.clock_gettime((~child << 3) | 2)


def _end(child: int) -> tuple[int, float]:
    """Kill every other process of this namespace; the child's exit code and processor time in seconds.

    The kernel does it under the lock that a fork needs, so that none escapes by forking. The namespace's first
    process, which is spared, reaps the orphans.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        time.sleep(0.0005)


def _drain(reader: int, data: bytearray, cap: int, discard: bool) -> bool:
    """Read what is there and keep one byte more than the cap at most.

    Returns:
        False at the end of the stream, and above the cap where the rest is not to be read and discarded.
    """
    while discard or len(data) <= cap:
        try:
            chunk = os.read(reader, _CHUNK)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        data += chunk[: cap + 1 - len(data)]
    return False


def _flooded(pipes: Mapping[int, bytearray], cap: int) -> bool:
    return any(len(data) > cap for data in pipes.values())


def _mapped_bytes() -> int:
    """Address space of this process, found without /proc: the smallest limit under which a page can still be mapped.

    A forked process tries, since while the limit is below what is mapped any other allocation fails too.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        ceiling = resource.getrlimit(resource.RLIMIT_AS)[1]
        low, high = 0, 1 << 47 if ceiling == resource.RLIM_INFINITY else ceiling
        while high - low > _MEBIBYTE:
            middle = (low + high) // 2
            resource.setrlimit(resource.RLIMIT_AS, (middle, ceiling))
            try:
                mmap.mmap(-1, mmap.PAGESIZE).close()
                high = middle
            except OSError:
                low = middle
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
        os.write(writer, str(high).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    text = os.read(reader, 64)
    os.close(reader)
    return int(text)
