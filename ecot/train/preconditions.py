"""What is checked before a model is built: a mistake is answered once, before ranks start, and again on each rank.

The launcher needs neither torch (3 s to import) nor the models of transformers (8 s) where these checks do not, so they
are imported by the checks that do.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore
from ecot.errors import CheckpointError, ConfigError, PlanError
from ecot.train.branches import check_branches
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.gpu_driver import has_gpu_driver
from ecot.train.layout import RankLayout, check_heads, check_model, find_layout
from ecot.train.uploading import upload_command

logger = logging.getLogger(__name__)


def count_local_ranks(wanted: int) -> int:
    """Ranks to start on this machine.

    Args:
        wanted: `train.local_ranks`; 0 for one per GPU, or 1 without a GPU.

    Raises:
        ConfigError: more ranks than GPUs.
    """
    gpus = _count_gpus()
    if gpus and wanted > gpus:
        raise ConfigError(f"train.local_ranks is {wanted} but this machine has {gpus} GPUs; lower it")
    return wanted or gpus or 1


def _count_gpus() -> int:
    """GPUs that torch may use here."""
    if not has_gpu_driver():
        return 0
    import torch

    return torch.cuda.device_count()


def check_run(
    model: ModelConfig, config: TrainConfig, plan: PackPlan, store: DocumentStore, num_ranks: int
) -> RankLayout:
    """Refuse what cannot train, and say how the ranks share the packs.

    Raises:
        PlanError: the plan belongs to another store.
        ConfigError: ranks that do not divide the packs or the heads, weights that are not there, a schedule longer than
            the run, a loss that cannot run here.
    """
    if plan.store_key != store.key:
        raise PlanError(
            f"the plan was made for another store ({plan.store_key[:12]}, not {store.key[:12]}): `ecot plan`"
        )
    layout = find_layout(num_ranks, config.sequence_ranks, plan.packs_per_step, plan.pack_tokens)
    if (
        model.path is not None
        and model.path.startswith(("/", "."))
        and not (Path(model.path) / "config.json").is_file()
    ):
        raise ConfigError(f"model.path: {model.path} holds no config.json; name a folder of Hugging Face weights")
    check_model(model, config.sequence_ranks)
    if model.path is not None and config.sequence_ranks > 1:
        from ecot.train.model_families import read_model_config

        stored = read_model_config(model.path)
        check_heads(stored.num_attention_heads, stored.num_key_value_heads, config.sequence_ranks)
    schedule = config.schedule
    total = plan.num_steps * plan.packs_per_step * plan.pack_tokens
    if schedule.warmup_tokens + schedule.decay_tokens > total:
        raise ConfigError(
            f"train.schedule: warmup_tokens + decay_tokens is {schedule.warmup_tokens + schedule.decay_tokens:,}, "
            f"longer than the run of {total:,} tokens (steps x global_batch_tokens); shorten them"
        )
    check_branches(config, plan)
    if config.checkpoint.upload is not None:
        upload_command(config.checkpoint.upload, Path("checkpoint"))
    if config.heldout.every_steps and not (store.folder.parent / "heldout" / "store.json").is_file():
        raise ConfigError(
            "train.heldout.every_steps is set but the run has no held-out documents; name them in data.heldout, or "
            "set it to 0"
        )
    if config.loss.impl == "liger" and _count_gpus() == 0:
        raise ConfigError("train.loss.impl: liger needs a GPU; choose ecot, torch or trl here")
    return layout


def check_settings(saved: dict[str, Any], present: dict[str, Any], checkpoint: Path) -> None:
    """Compare the configuration with that of the checkpoint to resume from.

    Raises:
        CheckpointError: the model or the optimizer is another one.
    """
    before, now = _flatten(saved), _flatten(present)
    # An option that is newer than the checkpoint was not set otherwise.
    changed = [key for key in now if key in before and before[key] != now[key]]
    fatal = [key for key in changed if key.startswith(("model.", "train.betas", "train.epsilon", "train.weight_decay"))]
    if fatal and saved:
        raise CheckpointError(
            f"{checkpoint} was trained with other {', '.join(sorted(fatal))}; change them back, or use another run_dir"
        )
    if changed and saved:
        logger.warning("resuming with changed settings: %s", ", ".join(sorted(changed)))


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else key)
    return flat
