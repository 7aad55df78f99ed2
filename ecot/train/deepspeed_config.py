"""The DeepSpeed configuration of a run: ZeRO stage 3, in fp32 or bf16."""

from __future__ import annotations

from typing import Any

from ecot.train.config import ModelConfig, TrainConfig


def deepspeed_config(train: TrainConfig, model: ModelConfig, hidden_size: int, accumulation: int) -> dict[str, Any]:
    """The dictionary that DeepSpeed is initialised with.

    Args:
        train: clipping and sharding options.
        model: its `dtype` chooses fp32 or bf16.
        hidden_size: width of the model; vectors of this size (norms) stay gathered.
        accumulation: micro-batches per rank and step.
    """
    zero: dict[str, Any] = {
        "stage": 3,
        "contiguous_gradients": True,
        "overlap_comm": train.zero.overlap_communication,
        "reduce_bucket_size": train.zero.bucket_elements,
        "stage3_prefetch_bucket_size": train.zero.bucket_elements,
        "stage3_param_persistence_threshold": 10 * hidden_size,
        "stage3_gather_16bit_weights_on_model_save": False,
    }
    if train.zero.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if train.zero.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": model.dtype == "bfloat16"},
        # In bf16 the sum over micro-batches and ranks would depend on how many there are.
        "data_types": {"grad_accum_dtype": "fp32"},
        "gradient_clipping": train.max_grad_norm,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": accumulation,
        # The optimizer is torch's AdamW, not DeepSpeed's compiled one.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }
