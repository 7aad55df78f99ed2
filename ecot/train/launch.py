"""Start one process per local rank, and end all of them when one fails or the launcher dies."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from ecot.errors import TrainingError
from ecot.train.exit_status import EXIT_PREEMPTED

_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 20.0


def launch_local_ranks(num_ranks: int, arguments: Sequence[str]) -> int:
    """Run `python -m ecot ARGUMENTS` once per rank and wait for all.

    SIGTERM, SIGINT and SIGUSR1 are forwarded. If the launcher is killed, the kernel ends the ranks.

    Returns:
        0, or `EXIT_PREEMPTED` when the ranks saved and stopped on a signal.

    Raises:
        TrainingError: a rank failed; its own message went to the terminal.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // num_ranks)
    port = _free_port()
    ranks = [_start_rank(rank, num_ranks, port, threads, arguments) for rank in range(num_ranks)]

    def forward(number: int, _frame: object) -> None:
        for process in ranks:
            if process.poll() is None:
                process.send_signal(number)

    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    previous = {number: signal.signal(number, forward) for number in handled}
    try:
        failed = _wait(ranks)
        if failed is not None and failed[1] == EXIT_PREEMPTED:
            _await_exit(ranks)  # the others stop at the same step, each by itself
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _end(ranks)
    if failed is not None:
        rank, code = failed
        if code == EXIT_PREEMPTED:
            return code
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        raise TrainingError(f"rank {rank} of {num_ranks} ended with {reason}; start again with the same command")
    return 0


def _start_rank(
    rank: int, num_ranks: int, port: int, threads: int, arguments: Sequence[str]
) -> subprocess.Popen[bytes]:
    environment = dict(
        os.environ,
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(num_ranks),
        LOCAL_WORLD_SIZE=str(num_ranks),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    parent = os.getpid()

    def die_with_launcher() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return subprocess.Popen([sys.executable, "-m", "ecot", *arguments], env=environment, preexec_fn=die_with_launcher)


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int] | None:
    """Wait until all ranks ended well (None) or one failed (its number and exit code).

    One that was killed is told before those that ended because it was gone.
    """
    while True:
        codes = [process.poll() for process in ranks]
        failed = [(rank, code) for rank, code in enumerate(codes) if code]
        if failed:
            return min(failed, key=lambda found: found[1] > 0)
        if all(code == 0 for code in codes):
            return None
        time.sleep(0.1)


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in ranks:
        if process.poll() is None:
            process.terminate()
    _await_exit(ranks)
    for process in ranks:
        if process.poll() is None:
            process.kill()
            process.wait()


def _await_exit(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(process.poll() is None for process in ranks) and time.monotonic() < deadline:
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
