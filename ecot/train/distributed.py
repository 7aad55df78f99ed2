"""Who this process is among the ranks, and the few collectives used outside DeepSpeed."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.distributed as dist

from ecot.errors import ConfigError


@dataclass(frozen=True)
class RankEnvironment:
    """The variables that every launcher sets in its own way."""

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int

    def export(self) -> None:
        """Set torch's variables, which DeepSpeed and accelerate read."""
        os.environ.update(
            RANK=str(self.rank),
            WORLD_SIZE=str(self.world_size),
            LOCAL_RANK=str(self.local_rank),
            MASTER_ADDR=self.address,
            MASTER_PORT=str(self.port),
        )


def rank_environment(environ: Mapping[str, str]) -> RankEnvironment | None:
    """Read the rank from torchrun's or srun's variables; None when no launcher started this process.

    Raises:
        ConfigError: a launcher's variables are there but incomplete.
    """
    if "RANK" in environ:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    elif "SLURM_PROCID" in environ and int(environ.get("SLURM_NTASKS", "1")) > 1:
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "MASTER_ADDR", "MASTER_PORT")
    else:
        return None
    missing = [name for name in names if name not in environ]
    if missing:
        raise ConfigError(
            f"{names[0]} is set but {', '.join(missing)} is not; start ranks with `srun`, `torchrun` or plain "
            "`ecot train`, and under srun export MASTER_ADDR and MASTER_PORT"
        )
    rank, world_size, local_rank, address, port = (environ[name] for name in names)
    return RankEnvironment(int(rank), int(world_size), int(local_rank), address, int(port))


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
