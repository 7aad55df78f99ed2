"""The few collectives used outside DeepSpeed, and how a rank begins anew or ends."""

from __future__ import annotations

import atexit
import os
import socket
import sys
from typing import NoReturn

import torch
import torch.distributed as dist


def use_gloo_alone() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives on CPU ranks: no compiler is needed to train then."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # it would warn that it found no GPU
    import deepspeed.ops  # takes seconds to import, which a mere look at the environment should not

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def restart_process() -> NoReturn:
    """Replace this process by a fresh one of the same command: a collective call of all ranks, which do it together.

    The next process group meets at a free port that the first rank names; torchrun's ranks meet in its own store, under
    another attempt's number.
    """
    place = [_free_port() if rank() == 0 else 0]
    if dist.is_initialized():
        dist.broadcast_object_list(place, src=0)
        barrier()
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(int(os.environ["TORCHELASTIC_RESTART_COUNT"]) + 1)
    else:
        os.environ["MASTER_PORT"] = str(place[0])
    sys.stdout.flush()
    sys.stderr.flush()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # devices and sockets too, so that nothing of theirs stays taken
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def end_process(status: int = 0) -> NoReturn:
    """End a rank that is done or is to stop, as multiprocessing ends its workers: Python would go on to take apart all
    that torch, transformers and TRL left in memory, which takes 2 s.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def sum_over_ranks(tensor: torch.Tensor) -> torch.Tensor:
    """All-reduce in place (sum) and return the tensor; the tensor itself when there is one rank."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def rank() -> int:
    """This process's rank; 0 where there is no process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def barrier() -> None:
    """Wait for all ranks; nothing to do when there is one."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()
