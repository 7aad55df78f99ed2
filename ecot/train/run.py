"""One rank of a training run: put the parts together, resume if there is something to resume, train, save."""

from __future__ import annotations

import functools
import logging
import os
import sys
import uuid
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DS_BUILD_OPS", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("DS_LOG_LEVEL", "warning")

import datasets
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig

from ecot.data_mix.batch import Collator
from ecot.data_mix.loss_weights import LossWeights
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.spans import expands_on_device
from ecot.data_mix.store import DocumentStore
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.train.callbacks import MetricsCallback, PlanCallback, ProgressLine
from ecot.train.checkpoint import Progress, find_checkpoint, read_progress, sweep_leftovers
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.deepspeed_config import deepspeed_config
from ecot.train.distributed import RankEnvironment, use_gloo_alone
from ecot.train.exit_status import EXIT_PREEMPTED
from ecot.train.feed import RankPacks, pack_loader
from ecot.train.local_copy import nearest, nearest_weights
from ecot.train.milestones import milestone_steps
from ecot.train.model import build_model, hidden_size_of
from ecot.train.preconditions import check_run, check_settings
from ecot.train.preemption import PreemptionCallback, WatchdogCallback
from ecot.train.saving import Saver
from ecot.train.schedule import learning_rate_factor
from ecot.train.skipping import SkipCallback
from ecot.train.trainer import EcotTrainer

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
    preemption = PreemptionCallback()
    preemption.install()
    rank.export()
    _quiet_libraries(rank.rank)
    if not torch.cuda.is_available():
        use_gloo_alone()
    local = config.local_copy
    plan, store = PackPlan.open(nearest(local, paths.plan)), DocumentStore.open(nearest(local, paths.store) / "train")
    check_run(model_config, config, plan, store, rank.world_size)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    on_device = expands_on_device(config.expand, config.layout, torch.cuda.is_available())
    packs = RankPacks(plan, _collator(config, store, tokenizer), rank.rank, rank.world_size, on_device=on_device)
    # A fresh model is built before the trainer's arguments switch transformers to sharded construction.
    source = nearest_weights(local, model_config)
    model = build_model(source, tokenizer, seed) if model_config.shape else None
    arguments = _arguments(config, model_config, paths, plan, seed, packs.accumulation)
    model = model or build_model(source, tokenizer, seed)

    checkpoint = find_checkpoint(paths, plan.hash)
    start = read_progress(checkpoint) if checkpoint else Progress(0, plan.hash, rank.world_size)
    if start.plan_step == plan.num_steps:
        logger.info("the plan's %d steps are done; nothing to train", plan.num_steps)
        return
    sections = {"model": model_config.model_dump(mode="json"), "train": config.model_dump(mode="json")}
    if checkpoint:
        check_settings(start.settings, sections, checkpoint)
        if start.num_ranks != rank.world_size:
            logger.info("%s was saved by %d ranks and goes on with %d", checkpoint, start.num_ranks, rank.world_size)
    elif rank.rank == 0:
        sweep_leftovers(paths)
    trainer = _build_trainer(
        model, arguments, tokenizer, config, paths, packs, start, {"sections": sections, "run": settings}, preemption
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if preemption.stopped:
        step = trainer.state.global_step
        logger.warning("saved and stopped at step %d on a signal; the same command continues", step)
        sys.exit(EXIT_PREEMPTED)


def _build_trainer(
    model: PreTrainedModel,
    arguments: SFTConfig,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainConfig,
    paths: RunPaths,
    packs: RankPacks,
    start: Progress,
    settings: dict[str, Any],
    preemption: PreemptionCallback,
) -> EcotTrainer:
    plan = packs.plan
    # Two runs may share a name and a plan, so the id is drawn once and kept in the checkpoints. A job that may be
    # preempted before the first of them sets the variable.
    run_id = start.wandb_run_id or os.environ.get("WANDB_RUN_ID") or f"{paths.root.name}-{uuid.uuid4().hex[:8]}"
    plan_callback = PlanCallback(config, plan.num_steps, milestone_steps(plan))
    skips = SkipCallback(paths, plan, config.max_skipped)
    tokens_per_step = plan.packs_per_step * plan.pack_tokens
    trainer = EcotTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_dict({"pack": [0]}),  # the loader below gives the packs
        data_collator=list,
        loader=pack_loader(packs, start.plan_step, config.loader_workers, torch.cuda.is_available()),
        factor=functools.partial(
            learning_rate_factor, config.schedule, num_steps=plan.num_steps, tokens_per_step=tokens_per_step
        ),
        save=Saver(paths, plan, tokenizer, skips, config.checkpoint.keep, run_id, settings["sections"]),
        on_skip=functools.partial(skips.record, first_rank=packs.rank == 0),
        start=start,
        loss=config.loss,
        callbacks=[
            plan_callback,
            skips,
            MetricsCallback(paths.metrics, plan, config, run_id, settings["run"]),
            ProgressLine(plan.num_steps),
            preemption,
            WatchdogCallback(config.watchdog_seconds),
        ],
    )
    plan_callback.trainer = trainer
    for noisy in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(noisy)
    return trainer


def _collator(config: TrainConfig, store: DocumentStore, tokenizer: PreTrainedTokenizerBase) -> Collator:
    monitor = {Kind.OBSERVATION} if config.loss.monitor_observations else set()
    weights = LossWeights(config.loss.by_kind, config.loss.rules)
    return Collator(store, weights, monitor=monitor, pad_id=tokenizer.pad_token_id or 0, layout=config.layout)


def _arguments(
    config: TrainConfig, model: ModelConfig, paths: RunPaths, plan: PackPlan, seed: int, accumulation: int
) -> SFTConfig:
    cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(paths.checkpoints),
        max_steps=plan.num_steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=accumulation,
        learning_rate=config.learning_rate,
        adam_beta1=config.betas[0],
        adam_beta2=config.betas[1],
        adam_epsilon=config.epsilon,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused" if cuda else "adamw_torch",
        bf16=model.dtype == "bfloat16",
        use_cpu=not cuda,
        ddp_backend=None if cuda else "gloo",
        deepspeed=deepspeed_config(config, model, hidden_size_of(model), accumulation),
        gradient_checkpointing=config.activation_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if config.activation_checkpointing else None,
        seed=seed,
        # Saving, logging and the position in the data are the plan's business (PlanCallback, pack_loader).
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        ignore_data_skip=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        report_to=[],
        disable_tqdm=True,
    )


def _quiet_libraries(rank: int) -> None:
    """Leave the terminal to the progress bar and to what rank 0 has to say: our own notes, others' warnings."""
    level = logging.WARNING if rank == 0 else logging.ERROR
    if rank == 0:
        logging.getLogger("ecot").setLevel(logging.INFO)
    for name in ("transformers", "trl", "datasets", "DeepSpeed", "deepspeed", "torch.distributed"):
        logging.getLogger(name).setLevel(level)
    # It warns that the accumulation comes from DeepSpeed's configuration, where we set it.
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    # DeepSpeed 0.19 calls collectives by names that torch 2.13 has deprecated, at every layer of every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    # The newer name of the argument is unknown to transformers 5.17, which is supported too.
    warnings.filterwarnings("ignore", message="`gradient_checkpointing", category=FutureWarning)
