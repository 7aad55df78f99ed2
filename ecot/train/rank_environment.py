"""Who this process is among the ranks, as its launcher says. What launches ranks asks too, and needs no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

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
