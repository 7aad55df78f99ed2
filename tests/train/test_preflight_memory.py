"""The preflight's formulas against counted parameters, a measured layer and a measured ZeRO-3 rank."""

from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from ecot.cli.run_config import load_run_config
from ecot.train.config import TrainConfig
from ecot.train.preflight.memory import backward_bytes, estimate_memory, layer_activations, reduction_bytes
from ecot.train.preflight.shape import ModelShape, shape_from_config, shape_from_weights
from ecot.train.preflight.storage import checkpoint_bytes

pytestmark = pytest.mark.xdist_group("training")

CONFIGS = Path(__file__).parents[2] / "configs"
WIDE = dict(vocab_size=151_936, intermediate_size=25_600, num_attention_heads=64)
SIZES = dict(
    hidden_size=5120,
    intermediate_size=27_648,
    num_hidden_layers=64,
    num_attention_heads=40,
    num_key_value_heads=8,
    head_dim=128,
    tie_word_embeddings=False,
)


@pytest.mark.parametrize(
    ("config", "model", "parameters"),
    [
        # 2603.16790, table 6; Qwen2.5-32B; Qwen3-32B; a tied head
        (LlamaConfig(vocab_size=76_800, **SIZES), LlamaForCausalLM, 31.99),
        (Qwen2Config(vocab_size=152_064, **SIZES), Qwen2ForCausalLM, 32.76),
        (Qwen3Config(**{**SIZES, **WIDE}), Qwen3ForCausalLM, 32.76),
        (LlamaConfig(**{**SIZES, "num_hidden_layers": 2, "tie_word_embeddings": True}), LlamaForCausalLM, 1.14),
    ],
)
def test_parameters_are_those_of_the_real_model(config, model, parameters, tmp_path):
    with torch.device("meta"):
        real = model(config)
    config.save_pretrained(tmp_path)
    shape = shape_from_weights(tmp_path)
    assert shape.parameters == sum(parameter.numel() for parameter in real.parameters())
    multiplied = sum(p.numel() for p in real.parameters() if p.ndim == 2)
    assert shape.multiplied_parameters == multiplied - (0 if shape.tied else shape.head_parameters)
    assert round(shape.parameters / 1e9, 2) == parameters


def test_the_shipped_shapes_are_the_32b_models():
    sizes = {}
    for name in ("sft_32b", "sft_qwen32b"):
        expected = load_run_config(CONFIGS / f"{name}.yaml", []).model.expect
        sizes[name] = round(shape_from_config(expected, expected.vocab_size).parameters / 1e9, 2)
    assert sizes == {"sft_32b": 31.99, "sft_qwen32b": 32.76}


SMALL = ModelShape(64, 256, 1024, 2, 8, 2, 32, 2048, False)


def small_model(layers):
    config = LlamaConfig(
        vocab_size=SMALL.vocabulary,
        hidden_size=SMALL.hidden,
        intermediate_size=SMALL.intermediate,
        num_hidden_layers=layers,
        num_attention_heads=SMALL.heads,
        num_key_value_heads=SMALL.kv_heads,
        head_dim=SMALL.head_dim,
        attn_implementation="sdpa",
        dtype=torch.bfloat16,
    )
    return LlamaModel._from_config(config).train()


def forward(model, tokens):
    inputs = {"input_ids": torch.zeros(1, tokens, dtype=torch.long), "position_ids": torch.arange(tokens)[None]}
    return model(**inputs, use_cache=False).last_hidden_state


def saved_bytes(layers, tokens):
    """Bytes that autograd really keeps, each storage once, weights aside."""
    model = small_model(layers)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = forward(model, tokens)
    assert hidden.requires_grad
    return sum(size for size, _ in kept.values())


def test_what_a_layer_saves_is_what_autograd_keeps():
    tokens = 1024
    measured = saved_bytes(2, tokens) - saved_bytes(1, tokens)
    # The rest are one fp32 number per token and norm.
    assert measured - layer_activations(SMALL, 2, tokens) == 2 * 4 * tokens


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("layers", [1, 4])
def test_the_peak_of_a_step_is_below_the_estimate_and_close_to_it(checkpointing, layers):
    tokens = 2048
    model = small_model(layers)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        forward(model, tokens).backward(torch.ones(1, tokens, SMALL.hidden, dtype=torch.bfloat16))
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    present = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        present += event.nbytes()
        peak = max(peak, present)
    shape = ModelShape(**{**vars(SMALL), "layers": layers})
    train = TrainConfig(activation_checkpointing=checkpointing)
    parts = estimate_memory(shape, train, 2, tokens, ranks=1).parts
    names = ("kept activations", "one layer's activations", "backward of one layer")
    estimate = sum(parts[name] for name in names)
    assert backward_bytes(shape, 2, tokens) < estimate
    assert 1.0 < estimate / peak < 1.15


def test_a_rank_holds_the_states_that_are_estimated(hopeless):
    run = hopeless.run
    shape = shape_from_weights(run.paths.milestones / "a")
    train = TrainConfig(zero={"bucket_elements": 100_000})
    parts = estimate_memory(shape, train, 2, 512, ranks=2).parts
    # Between steps there is neither the gradients' second copy nor an activation.
    copy = 4 * (shape.parameters // 2)
    states = parts["weights"] + parts["optimizer states"] + parts["gradients"] - copy
    # What else lives: the bucket, weights too small to be sharded, positions, statistics.
    assert states < hopeless.held < 1.1 * states + reduction_bytes(shape, train, 2, 2)


def test_a_checkpoint_has_the_bytes_that_are_estimated(hopeless):
    folder = hopeless.run.paths.milestones / "a"
    shape = shape_from_weights(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*.pt"))
    assert size == pytest.approx(checkpoint_bytes(shape), rel=0.05)
