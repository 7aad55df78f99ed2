"""One rank of a training run: put the parts together, resume if there is something to resume, train, save."""

from __future__ import annotations

import functools
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecot.train.gpu_driver import has_gpu_driver

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DS_BUILD_OPS", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("DS_LOG_LEVEL", "warning")
if not has_gpu_driver():
    # Without one a rank compiles nothing, but DeepSpeed's Muon optimizer, which nobody uses, loads torch's compiler.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import datasets
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig

from ecot.data_mix.batch import Collator, Shard
from ecot.data_mix.loss_weights import LossWeights
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.spans import expands_on_device
from ecot.data_mix.store import DocumentStore
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.train.arguments import quiet_libraries, trainer_arguments
from ecot.train.callbacks import MetricsCallback, PlanCallback
from ecot.train.checkpoint import Progress, list_checkpoints, read_progress, sweep_leftovers
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.course import Course, courses
from ecot.train.distributed import end_process, restart_process, use_gloo_alone
from ecot.train.exit_status import EXIT_PREEMPTED
from ecot.train.feed import RankPacks, pack_loader
from ecot.train.heldout import HeldoutScorer
from ecot.train.layout import RankLayout
from ecot.train.local_copy import nearest, nearest_weights
from ecot.train.metering import Meter, peak_flops
from ecot.train.model import build_model
from ecot.train.preconditions import check_run, check_settings
from ecot.train.preemption import PreemptionCallback, WatchdogCallback
from ecot.train.progress_line import ProgressLine
from ecot.train.rank_environment import RankEnvironment
from ecot.train.saving import Saver
from ecot.train.skipping import SkipCallback
from ecot.train.trainer import EcotTrainer
from ecot.train.ulysses import attend_across, sequence_group
from ecot.train.uploading import Uploader

logger = logging.getLogger(__name__)


def train_rank(
    model_config: ModelConfig,
    config: TrainConfig,
    paths: RunPaths,
    tokenizer_path: Path,
    seed: int,
    rank: RankEnvironment,
    settings: dict[str, Any],
) -> None:
    """Train as one of `rank.world_size` ranks, from the last good checkpoint if there is one.

    Args:
        model_config: what is trained.
        config: how.
        paths: the run's folder, which holds the store and the plan.
        tokenizer_path: folder of the tokenizer.
        seed: for weights that are random.
        rank: who this process is.
        settings: the resolved configuration, recorded in wandb.

    Raises:
        EcotError: a plan that does not fit the ranks, a damaged or foreign checkpoint, too many skipped steps.
    """
    preemption = PreemptionCallback().install()
    rank.export()
    quiet_libraries(rank.rank)
    if not torch.cuda.is_available():
        use_gloo_alone()
    local = config.local_copy
    plan, store = PackPlan.open(nearest(local, paths.plan)), DocumentStore.open(nearest(local, paths.store) / "train")
    layout = check_run(model_config, config, plan, store, rank.world_size)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    packs = _rank_packs(config, plan, store, tokenizer, layout, rank.rank)
    # A fresh model is built before the trainer's arguments switch transformers to sharded construction.
    source = nearest_weights(local, model_config)
    model = build_model(source, tokenizer, seed) if model_config.shape else None
    arguments = trainer_arguments(config, model_config, paths, seed, packs.accumulation)
    model = model or build_model(source, tokenizer, seed)
    if layout.sequence_ranks > 1:
        attend_across(model, sequence_group(layout.sequence_ranks))
    ahead = courses(config, plan, paths)
    uploader = Uploader(config.checkpoint.upload if rank.rank == 0 else None, paths.root)
    uploader.add_missed([path for course in ahead for path in list_checkpoints(course.paths)])
    found = _next_course(ahead, plan.hash, rank.world_size)
    if found is None:
        logger.info("the plan's %d steps are done; nothing to train", plan.num_steps)
        uploader.finish()
        return
    course, checkpoint, start = found
    sections = {"model": model_config.model_dump(mode="json"), "train": config.model_dump(mode="json")}
    _tell_start(course, start, checkpoint, rank, sections)
    arguments.max_steps = course.last_step
    trainer = _build_trainer(
        *(model, arguments, tokenizer, config, course, packs, start),
        {"sections": sections, "run": settings},
        preemption,
        uploader,
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _leave(ahead, trainer, preemption, uploader)


def _rank_packs(
    config: TrainConfig,
    plan: PackPlan,
    store: DocumentStore,
    tokenizer: PreTrainedTokenizerBase,
    layout: RankLayout,
    rank: int,
) -> RankPacks:
    """What this rank trains on; the first one says how all share the packs."""
    logger.info("%s", layout)
    on_device = expands_on_device(config.expand, config.layout, torch.cuda.is_available())
    shard = Shard(layout.sequence_rank(rank), layout.sequence_ranks)
    return RankPacks(plan, _collator(config, store, tokenizer, shard), layout, rank, on_device=on_device)


def _leave(ahead: list[Course], trainer: EcotTrainer, preemption: PreemptionCallback, uploader: Uploader) -> None:
    """End as preempted, go on with the next course in a fresh process, or wait for the last uploads."""
    if preemption.stopped or (ahead and preemption.poll(trainer.args.device)):
        uploader.abandon()
        step = trainer.state.global_step
        logger.warning("saved and stopped at step %d on a signal; the same command continues", step)
        end_process(EXIT_PREEMPTED)
    if ahead:
        logger.info("a branch off milestone %s begins", ahead[0].branch)
        uploader.abandon()  # the next process takes them up again, and no rank waits meanwhile
        restart_process()
    uploader.finish()


def _next_course(ahead: list[Course], plan_hash: str, num_ranks: int) -> tuple[Course, Path | None, Progress] | None:
    """The first course that is not done, taken off `ahead` with those before it: a collective call.

    Returns:
        The course, the checkpoint to go on from and what it holds; None when all are done.
    """
    while ahead:
        course = ahead.pop(0)
        checkpoint = course.find_checkpoint(plan_hash)
        start = read_progress(checkpoint) if checkpoint else Progress(0, plan_hash, num_ranks)
        if start.plan_step < course.last_step:
            return course, checkpoint, start
    return None


def _tell_start(
    course: Course, start: Progress, checkpoint: Path | None, rank: RankEnvironment, sections: dict[str, Any]
) -> None:
    """Tidy up, compare the settings with the checkpoint's, and say where training goes on."""
    if rank.rank == 0:
        course.paths.root.mkdir(parents=True, exist_ok=True)
        sweep_leftovers(course.paths)
    if checkpoint is None:
        return
    check_settings(start.settings, sections, checkpoint)
    if start.num_ranks != rank.world_size:
        logger.info("%s was saved by %d ranks and goes on with %d", checkpoint, start.num_ranks, rank.world_size)


def _build_trainer(
    model: PreTrainedModel,
    arguments: SFTConfig,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainConfig,
    course: Course,
    packs: RankPacks,
    start: Progress,
    settings: dict[str, Any],
    preemption: PreemptionCallback,
    uploader: Uploader,
) -> EcotTrainer:
    plan, paths = packs.plan, course.paths
    # Two runs may share a name and a plan, so the id is drawn once and kept in the checkpoints. A job that may be
    # preempted before the first of them sets the variable.
    run_id = start.wandb_run_id or os.environ.get("WANDB_RUN_ID") or f"{paths.root.name}-{uuid.uuid4().hex[:8]}"
    if course.branch is not None and not run_id.endswith(f"-{course.branch}-decayed"):
        run_id = f"{run_id}-{course.branch}-decayed"
    plan_callback = PlanCallback(config, course.last_step, course.milestones)
    skips = SkipCallback(paths, plan, config.max_skipped)
    trainer = EcotTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_dict({"pack": [0]}),  # the loader below gives the packs
        data_collator=list,
        loader=pack_loader(packs, start.plan_step, config.loader_workers, torch.cuda.is_available()),
        factor=course.factor,
        save=Saver(course, plan, tokenizer, skips, uploader, config.checkpoint.keep, run_id, settings["sections"]),
        on_skip=functools.partial(skips.record, first_rank=packs.rank == 0),
        start=start,
        meter=Meter(plan, packs.collator.store, packs.layout, peak_flops(config.tracking.peak_flops)),
        heldout=_heldout(config, packs, tokenizer, preemption, plan_callback),
        loss=config.loss,
        callbacks=[
            plan_callback,
            skips,
            MetricsCallback(paths.metrics, plan, config, run_id, settings["run"]),
            ProgressLine(
                f"decay of {course.branch}" if course.branch else "train",
                course.last_step,
                plan.tokens_until,
                course.milestones,
            ),
            preemption,
            WatchdogCallback(config.watchdog_seconds),
        ],
    )
    plan_callback.trainer = trainer
    for noisy in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(noisy)
    return trainer


def _heldout(
    config: TrainConfig,
    packs: RankPacks,
    tokenizer: PreTrainedTokenizerBase,
    preemption: PreemptionCallback,
    plan_callback: PlanCallback,
) -> Callable[[torch.nn.Module, int], dict[str, float]]:
    """What `EcotTrainer` asks after a step: losses on held-out documents where the step is one that scores them."""
    if config.heldout.every_steps == 0:
        return lambda engine, step: {}
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    store = DocumentStore.open(packs.collator.store.folder.parent / "heldout")
    scorer = HeldoutScorer(
        _collator(config, store, tokenizer, packs.collator.shard),
        packs.plan.pack_tokens,
        config.heldout.max_documents,
        packs.layout.data_rank(packs.rank),
        packs.layout.data_ranks,
        interrupted=lambda: preemption.poll(device),
    )
    return lambda engine, step: scorer(engine, device) if plan_callback.scores_heldout(step) else {}


def _collator(config: TrainConfig, store: DocumentStore, tokenizer: PreTrainedTokenizerBase, shard: Shard) -> Collator:
    monitor = {Kind.OBSERVATION} if config.loss.monitor_observations else set()
    weights = LossWeights(config.loss.by_kind, config.loss.rules)
    pad_id = tokenizer.pad_token_id or 0
    return Collator(store, weights, monitor=monitor, pad_id=pad_id, layout=config.layout, shard=shard)
