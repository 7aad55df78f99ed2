"""What can be wrong with a run before it starts, looked at one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ecot.data_mix.config import DataConfig, TemplateChoice
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.readiness import what_is_not_prepared
from ecot.data_mix.tokenizer import load_tokenizer
from ecot.errors import ConfigError, EcotError
from ecot.run_paths import RunPaths
from ecot.train.branches import check_branches
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.layout import RankLayout, check_heads, find_layout
from ecot.train.preflight.findings import Finding, failure, ok, warning
from ecot.train.preflight.gpus import GIB, Gpu
from ecot.train.preflight.memory import MemoryEstimate
from ecot.train.preflight.run_facts import RunFacts
from ecot.train.preflight.shape import ModelShape, shape_from_config, shape_from_weights
from ecot.train.preflight.speed import SpeedEstimate
from ecot.train.preflight.storage import StorageEstimate

ATTENTION = "ecot_varlen"
FULL = 0.92
"""Share of the memory above which fragmentation may well end a run that fits by the sum."""
ROWS_MULTIPLE = 64


def check_prepared(data: DataConfig, paths: RunPaths, seed: int) -> Finding:
    """Whether store and plan are there."""
    try:
        missing = what_is_not_prepared(data, paths, seed)
    except EcotError as error:
        return failure("data", str(error))
    if missing:
        return warning("data", f"not made yet: {missing}; `ecot plan CONFIG` makes it, on CPUs")
    return ok("data", f"store and plan in {paths.root} are those of this configuration")


def find_shape(model: ModelConfig, vocabulary: int | None) -> tuple[ModelShape | None, list[Finding]]:
    """The shape to estimate with, and what is wrong with the weights.

    Args:
        model: the section.
        vocabulary: tokens of the tokenizer, for a fresh model; None where they cannot be told.
    """
    if model.shape is not None:
        if vocabulary is None:
            return None, []
        rows = -(-vocabulary // model.pad_vocabulary_to) * model.pad_vocabulary_to
        return shape_from_config(model.shape, rows), [ok("weights", f"random, {rows:,} rows")]
    assert model.path is not None
    expected = shape_from_config(model.expect, model.expect.vocab_size) if model.expect else None
    try:
        shape = shape_from_weights(Path(model.path))
    except ConfigError as error:
        return expected, [failure("weights", str(error))]
    if expected is None:
        return shape, [ok("weights", f"{model.path}: {shape.parameters / 1e9:.2f} B parameters")]
    found, wanted = asdict(shape), asdict(expected)
    different = [f"{name} {found[name]} instead of {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    if different:
        text = f"{model.path} is not what model.expect says: {', '.join(different)}; mend one of them"
        return shape, [failure("weights", text)]
    return shape, [ok("weights", f"{model.path}: {shape.parameters / 1e9:.2f} B parameters, as expected")]


def check_tokenizer(data: DataConfig, paths: RunPaths) -> tuple[int | None, Finding]:
    """The number of tokens, where it can be told, and whether the tokenizer will do."""
    source = data.tokenizer.path
    if source is None:
        assert data.tokenizer.train is not None
        if not paths.tokenizer.is_dir():
            wanted = data.tokenizer.train.vocab_size
            return wanted, ok("tokenizer", f"will be trained by the run, {wanted:,} tokens at most")
        source = paths.tokenizer
    try:
        tokenizer = load_tokenizer(source)
    except EcotError as error:
        return None, failure("tokenizer", str(error))
    if data.template is TemplateChoice.BASE and not tokenizer.chat_template:
        text = f"{source} has no chat template, and data.template is base; set data.template: shipped"
        return len(tokenizer), failure("tokenizer", text)
    return len(tokenizer), ok("tokenizer", f"{source}: {len(tokenizer):,} tokens")


def check_ranks(
    train: TrainConfig, facts: RunFacts, gpus: int, gpus_per_node: int
) -> tuple[RankLayout | None, Finding]:
    """How the ranks share the packs, where they can."""
    try:
        layout = find_layout(gpus, train.sequence_ranks, facts.packs_per_step, facts.pack_tokens)
    except ConfigError as error:
        return None, failure("ranks", str(error))
    if layout.crosses_nodes(gpus_per_node):
        text = f"{layout}, and some of these share heads between nodes of {gpus_per_node} GPUs, in every layer"
        return layout, warning("ranks", f"{text}; train.sequence_ranks that divide {gpus_per_node} stay inside a node")
    return layout, ok("ranks", str(layout))


def check_settings(data: DataConfig, model: ModelConfig, train: TrainConfig, facts: RunFacts) -> Iterator[Finding]:
    """Contradictions that need no model."""
    schedule = train.schedule
    if schedule.warmup_tokens + schedule.decay_tokens > facts.capacity:
        yield failure(
            "schedule",
            f"warm-up and decay take {schedule.warmup_tokens + schedule.decay_tokens:,} tokens and the run has "
            f"{facts.capacity:,}; shorten train.schedule.warmup_tokens or decay_tokens",
        )
    else:
        yield ok("schedule", f"{schedule.type}, warm-up over {schedule.warmup_tokens / facts.capacity:.1%} of the run")
    if model.attention != ATTENTION and train.layout == "packed":
        yield warning(
            "attention", f"{model.attention!r} may attend across packed documents; {ATTENTION} keeps them apart"
        )
    if data.budgets[-1].tokens < data.packing.global_batch_tokens:
        yield warning("budgets", "the largest budget is less than one step; lower data.packing.global_batch_tokens")


def check_branches_of(train: TrainConfig, plan: PackPlan) -> Iterator[Finding]:
    """Whether the decays that branch off at milestones have the steps and the rate that they need."""
    if not train.milestones.decay_tokens:
        return
    try:
        check_branches(train, plan)
    except ConfigError as error:
        yield failure("branches", str(error))


def check_model(shape: ModelShape, vocabulary: int | None, facts: RunFacts, sequence_ranks: int) -> Iterator[Finding]:
    """Contradictions between the model and the data, or the ranks."""
    try:
        check_heads(shape.heads, shape.kv_heads, sequence_ranks)
    except ConfigError as error:
        yield failure("heads", str(error))
    if facts.longest_document > shape.max_positions:
        yield failure(
            "positions",
            f"documents of up to {facts.longest_document:,} tokens and a model of {shape.max_positions:,} positions; "
            "lower data.packing.pack_tokens or data.filters.max_tokens",
        )
    if vocabulary is not None and vocabulary > shape.vocabulary:
        yield failure(
            "vocabulary",
            f"the tokenizer has {vocabulary:,} tokens and the model {shape.vocabulary:,} rows; use the model's own "
            "tokenizer",
        )
    if shape.vocabulary % ROWS_MULTIPLE:
        yield warning(
            "vocabulary", f"{shape.vocabulary:,} rows are no multiple of {ROWS_MULTIPLE}: the head runs slower"
        )


def check_memory(memory: MemoryEstimate, gpu: Gpu, limit: int, train: TrainConfig) -> Finding:
    """Whether a rank's parts fit its GPU."""
    text = f"{memory.total / GIB:.1f} of {limit / GIB:.0f} GiB on a {gpu.name}"
    if memory.total > limit:
        remedies = [
            "train.activation_checkpointing: true" if not train.activation_checkpointing else "",
            "more GPUs (states shrink with their number)",
            "a smaller data.packing.pack_tokens, or a larger train.sequence_ranks (activations shrink with them)",
            "train.zero.offload_optimizer: true" if not train.zero.offload_optimizer else "",
        ]
        return failure("memory", f"{text}: out of memory; try {', or '.join(r for r in remedies if r)}")
    if memory.total > FULL * limit:
        return warning("memory", f"{text}: tight, fragmentation may end it; more GPUs or smaller packs give room")
    return ok("memory", text)


def check_speed(speed: SpeedEstimate) -> Finding:
    """Whether ranks compute or wait for the network."""
    text = (
        f"a pack computes for {speed.compute_seconds_per_pack:.1f} s and moves weights and gradients for "
        f"{speed.communication_seconds_per_pack:.1f} s"
    )
    exchange = ""
    if speed.exchange_seconds_per_pack:
        exchange = f"; besides, its sequence ranks exchange heads for {speed.exchange_seconds_per_pack:.2f} s"
    if speed.communication_seconds_per_pack > speed.compute_seconds_per_pack:
        return warning("network", f"{text}: the network decides; larger packs or fewer, fuller nodes{exchange}")
    return ok("network", f"{text}, hidden behind it{exchange}")


def check_storage(storage: StorageEstimate, grace_seconds: float) -> Iterator[Finding]:
    """Whether checkpoints fit on the disk and in the grace time."""
    gb = 1e9
    kept = f"up to {storage.kept_bytes / gb:,.1f} GB are kept, {storage.free_bytes / gb:,.0f} GB are free"
    if storage.kept_bytes > storage.free_bytes:
        yield failure("disk", f"{kept}; lower train.checkpoint.keep, or put run_dir on a larger disk")
    else:
        yield ok("disk", kept)
    size = f"a checkpoint has {storage.checkpoint_bytes / gb:,.1f} GB"
    bound = storage.needed_bytes_per_second
    if bound is None:
        text = f"{size}, and hashing it alone does not fit {grace_seconds:.0f} s; more ranks, or a longer --signal time"
        yield failure("grace", text)
        return
    needed = f"it needs {bound / gb:.2f} GB/s over all ranks to fit {grace_seconds:.0f} s"
    if storage.save_seconds is None:
        yield warning("grace", f"{size}; {needed}. State --write-gb-per-second or --measure-write to have it checked")
    elif storage.write_bytes_per_second is not None and storage.write_bytes_per_second < bound:
        yield failure(
            "grace",
            f"{size} and takes {storage.save_seconds:.0f} s; {needed}. Give more time (sbatch --signal=B:USR1@SECONDS) "
            "or a faster disk",
        )
    else:
        yield ok("grace", f"{size} and takes {storage.save_seconds:.0f} s of {grace_seconds:.0f} s")
