"""The trainer's arguments, and what other libraries may say."""

from __future__ import annotations

import logging
import warnings

import torch
from trl import SFTConfig

from ecot.run_paths import RunPaths
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.deepspeed_config import deepspeed_config
from ecot.train.model import hidden_size_of


def trainer_arguments(
    config: TrainConfig, model: ModelConfig, paths: RunPaths, seed: int, accumulation: int
) -> SFTConfig:
    """What `SFTTrainer` is told; making it opens the process group. `max_steps` is set when the course is known."""
    cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(paths.checkpoints),
        max_steps=1,
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


def quiet_libraries(rank: int) -> None:
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
