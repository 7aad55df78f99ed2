"""The whole preflight of a run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ecot.data_mix.config import DataConfig
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.prepare import TRAIN
from ecot.data_mix.store import DocumentStore
from ecot.run_paths import RunPaths
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.layout import RankLayout
from ecot.train.preflight import checks
from ecot.train.preflight.findings import Finding, Level
from ecot.train.preflight.gpus import Gpu
from ecot.train.preflight.memory import MemoryEstimate, estimate_memory
from ecot.train.preflight.run_facts import RunFacts, assumed_facts, planned_facts
from ecot.train.preflight.shape import ModelShape
from ecot.train.preflight.speed import DEFAULT_MFU, SpeedEstimate, estimate_speed
from ecot.train.preflight.storage import StorageEstimate, estimate_storage, measure_write


@dataclass(frozen=True)
class Machine:
    """What the run is to run on."""

    gpus: int
    gpu: Gpu | None
    """None for ranks on the CPU."""
    gpus_per_node: int = 8
    memory_bytes: int | None = None
    """Of one GPU, where it differs from the data sheet's."""
    mfu: float = DEFAULT_MFU
    grace_seconds: float = 300.0
    """Between the signal and the end (sbatch --signal=B:USR1@SECONDS)."""
    write_bytes_per_second: float | None = None
    """To the run's folder, all ranks together."""
    measure_write: bool = False
    """Measure one process and take it for all: a lower bound."""


@dataclass(frozen=True)
class Preflight:
    """Everything that was estimated and looked at."""

    machine: Machine
    facts: RunFacts
    prepared: bool
    """Whether store and plan are there."""
    layout: RankLayout | None
    """None where the ranks cannot share the packs."""
    shape: ModelShape | None
    memory: MemoryEstimate | None
    """None without a GPU, or where the model's shape cannot be told."""
    speed: SpeedEstimate | None
    """Likewise, and where there is no layout."""
    storage: StorageEstimate | None
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether something will fail."""
        return any(finding.level is Level.FAILURE for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = asdict(self)
        values["failed"] = self.failed
        if self.layout is not None:
            values["layout"] |= {"data_ranks": self.layout.data_ranks, "accumulation": self.layout.accumulation}
        if self.shape is not None:
            values["shape"]["parameters"] = self.shape.parameters
        if self.memory is not None:
            values["memory"]["total"] = self.memory.total
        return values


def examine(
    data: DataConfig, model: ModelConfig, train: TrainConfig, paths: RunPaths, seed: int, machine: Machine
) -> Preflight:
    """Look at everything that can be looked at without a GPU."""
    data_finding = checks.check_prepared(data, paths, seed)
    findings = [data_finding]
    prepared = data_finding.level is Level.OK
    facts = _facts(data, paths, prepared)
    vocabulary, finding = checks.check_tokenizer(data, paths)
    findings.append(finding)
    layout, finding = checks.check_ranks(train, facts, machine.gpus, machine.gpus_per_node)
    findings += [finding, *checks.check_settings(data, model, train, facts)]
    if prepared:
        findings += checks.check_branches_of(train, PackPlan.open(paths.plan))
    shape, found = checks.find_shape(model, vocabulary)
    findings += found
    memory = speed = storage = None
    branches = len(data.budgets) - 1 if train.milestones.decay_tokens else 0
    if shape is not None:
        findings += checks.check_model(shape, vocabulary, facts, train.sequence_ranks)
        size = 2 if model.dtype == "bfloat16" else 4
        if machine.gpu is not None:
            memory = estimate_memory(shape, train, size, facts.pack_tokens, machine.gpus)
            limit = machine.memory_bytes or machine.gpu.memory_bytes
            findings.append(checks.check_memory(memory, machine.gpu, limit, train))
        if machine.gpu is not None and layout is not None:
            branch_steps = branches * _branch_steps(train, facts)
            speed = _speed(shape, facts, machine, machine.gpu, layout, train, size, branch_steps)
            findings.append(checks.check_speed(speed))
        storage = _storage(shape, size, train, facts, len(data.budgets) + branches, paths, machine)
        findings += checks.check_storage(storage, machine.grace_seconds)
    return Preflight(machine, facts, prepared, layout, shape, memory, speed, storage, tuple(findings))


def _facts(data: DataConfig, paths: RunPaths, prepared: bool) -> RunFacts:
    if not prepared:
        return assumed_facts(data)
    return planned_facts(PackPlan.open(paths.plan), DocumentStore.open(paths.store / TRAIN))


def _branch_steps(train: TrainConfig, facts: RunFacts) -> int:
    return math.ceil(train.milestones.decay_tokens / (facts.packs_per_step * facts.pack_tokens))


def _speed(
    shape: ModelShape,
    facts: RunFacts,
    machine: Machine,
    gpu: Gpu,
    layout: RankLayout,
    train: TrainConfig,
    size: int,
    branch_steps: int,
) -> SpeedEstimate:
    return estimate_speed(
        shape,
        gpu,
        layout=layout,
        gpus_per_node=machine.gpus_per_node,
        mfu=machine.mfu,
        tokens=facts.tokens,
        steps=facts.steps,
        branch_steps=branch_steps,
        pack_tokens=facts.pack_tokens,
        document_tokens=facts.document_tokens,
        dtype_bytes=size,
        recomputed=train.activation_checkpointing,
    )


def _storage(
    shape: ModelShape,
    size: int,
    train: TrainConfig,
    facts: RunFacts,
    milestones: int,
    paths: RunPaths,
    machine: Machine,
) -> StorageEstimate:
    measured = measure_write(paths.root) if machine.measure_write else None
    return estimate_storage(
        shape,
        size,
        keep=train.checkpoint.keep,
        milestones=milestones,
        num_saves=milestones + (facts.steps - 1) // train.checkpoint.every_steps,
        ranks=machine.gpus,
        folder=paths.root,
        grace_seconds=machine.grace_seconds,
        write_bytes_per_second=machine.write_bytes_per_second or measured,
    )
