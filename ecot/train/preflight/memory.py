"""Memory of one rank, part by part, in bytes. Every part is checked against a real measurement in the tests.

T tokens of a pack (of a rank's stretch of it, where sequence ranks share it), D width, F feed-forward width, L layers,
P parameters, N ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecot.train.config import TrainConfig
from ecot.train.preflight.shape import ModelShape

SUB_GROUP = 10**9
"""DeepSpeed's `sub_group_size`: elements whose gradients are made contiguous at a time."""
LIVE_PARAMETERS = 10**9
"""DeepSpeed's `stage3_max_live_parameters`: gathered elements that a rank may hold at once."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one rank's GPU."""

    parts: dict[str, int]
    """Name of a part to bytes, in the order in which they are shown."""
    host_bytes: int
    """Bytes of host memory per rank for what is offloaded."""

    @property
    def total(self) -> int:
        """The sum of all parts: an upper bound, since the parts do not peak at the same moment."""
        return sum(self.parts.values())


def estimate_memory(
    shape: ModelShape, train: TrainConfig, dtype_bytes: int, pack_tokens: int, ranks: int
) -> MemoryEstimate:
    """What a rank needs at most in a step.

    Sharded states (Rajbhandari et al. 2020, ZeRO, section 3, stage 3; dtypes as DeepSpeed 0.19 `stage3.py` allocates
    them): weights in the training type, fp32 master weights, two fp32 moments, and fp32 gradients
    (`grad_accum_dtype: fp32`), each P / N; at the step one more fp32 copy of a sub-group's gradients.
    """
    shard = -(-shape.parameters // ranks)
    weights, optimizer = dtype_bytes * shard, 12 * shard
    gradients, copy = 4 * shard, 4 * min(shard, SUB_GROUP)
    offloaded = (optimizer + gradients if train.zero.offload_optimizer else 0) + (
        weights if train.zero.offload_parameters else 0
    )
    tokens, sharing = -(-pack_tokens // train.sequence_ranks), train.sequence_ranks
    saved = layer_activations(shape, dtype_bytes, tokens, sharing)
    if train.activation_checkpointing:
        # A layer's input is kept, and one layer at a time is computed again.
        kept, live = shape.layers * tokens * shape.hidden * dtype_bytes, saved
    else:
        kept, live = shape.layers * saved, 0
    parts = {
        "weights": 0 if train.zero.offload_parameters else weights,
        "optimizer states": 0 if train.zero.offload_optimizer else optimizer,
        "gradients": 0 if train.zero.offload_optimizer else gradients + copy,
        "gathered layers": gathered_bytes(shape, train, dtype_bytes, ranks),
        "reduction buffers": reduction_bytes(shape, train, dtype_bytes, ranks),
        "kept activations": kept,
        "one layer's activations": live,
        "backward of one layer": backward_bytes(shape, dtype_bytes, tokens),
        "head": head_bytes(shape, train, dtype_bytes, tokens),
    }
    if sharing > 1:
        parts["exchange of heads"] = exchange_bytes(shape, dtype_bytes, tokens, sharing)
    return MemoryEstimate(parts, offloaded)


def layer_activations(shape: ModelShape, dtype_bytes: int, tokens: int, sequence_ranks: int = 1) -> int:
    """Bytes that autograd saves of one decoder layer for its backward.

    Counted from transformers' Llama layer op by op (the counterpart of Korthikanti et al. 2022, Reducing Activation
    Recomputation, eq. 2, for SwiGLU, RMSNorm, grouped queries and fused attention, without dropout):
    each of two norms keeps its fp32 input (4 T D), the normalised input (4 T D, or the training type's when that is
    fp32 too) and its output (in the training type); attention keeps q, k, v, its output and 4 bytes per head and
    token of log-sums; the feed-forward layer keeps gate, up, SiLU and their product (4 T F).
    Across sequence ranks attention keeps as many elements of q, k, v and its output (of the whole pack and some heads;
    key and value heads that several ranks share count on each), and the output once more, back on its own rank.
    """
    b, across = dtype_bytes, sequence_ranks > 1
    norms = 2 * tokens * shape.hidden * (4 + b + b)
    queries, keys = shape.heads * shape.head_dim, max(shape.kv_heads, sequence_ranks) * shape.head_dim
    attention = tokens * (b * ((3 if across else 2) * queries + 2 * keys) + 4 * shape.heads)
    return norms + attention + 4 * tokens * shape.intermediate * b


def backward_bytes(shape: ModelShape, dtype_bytes: int, tokens: int) -> int:
    """Gradients alive at once in one layer's backward: of the feed-forward product and its two factors (3 T F), and of
    the residual stream, once in fp32 inside the norm."""
    return tokens * (3 * shape.intermediate * dtype_bytes + shape.hidden * (2 * dtype_bytes + 4))


def exchange_bytes(shape: ModelShape, dtype_bytes: int, tokens: int, sequence_ranks: int) -> int:
    """What a rank sends and what it receives, alive at once, when q, k and v (or their gradients) go over."""
    return 2 * dtype_bytes * tokens * exchanged_width(shape, sequence_ranks)


def exchanged_width(shape: ModelShape, sequence_ranks: int) -> int:
    """Elements per token of q, k and v as they are sent: at least one key and value head for each rank."""
    return shape.head_dim * (shape.heads + 2 * max(shape.kv_heads, sequence_ranks))


def gathered_bytes(shape: ModelShape, train: TrainConfig, dtype_bytes: int, ranks: int) -> int:
    """Weights that are whole on a rank: the layers being computed and prefetched, at most `LIVE_PARAMETERS`, at least
    the largest module (a layer, or the head)."""
    if ranks == 1:
        return 0
    wanted = shape.layer_parameters + train.zero.bucket_elements
    largest = max(shape.layer_parameters, shape.head_parameters)
    return dtype_bytes * min(shape.parameters, max(min(wanted, LIVE_PARAMETERS), largest))


def reduction_bytes(shape: ModelShape, train: TrainConfig, dtype_bytes: int, ranks: int) -> int:
    """The contiguous bucket that gradients are reduced in, its fp32 copy, and one gradient too large for it (head)."""
    bucket = train.zero.bucket_elements * (dtype_bytes + 4)
    large = shape.head_parameters if shape.head_parameters > train.zero.bucket_elements else 0
    return bucket + large * (dtype_bytes + 4)


def head_bytes(shape: ModelShape, train: TrainConfig, dtype_bytes: int, tokens: int) -> int:
    """The loss: its logits workspace, the gradient of the hidden states, and dW accumulated in fp32.

    Without our kernel (`impl: torch`) the logits of all rows are held, in the training type and twice in fp32.
    """
    hidden = 2 * tokens * shape.hidden * dtype_bytes
    if train.loss.impl == "torch":
        return hidden + tokens * shape.vocabulary * (dtype_bytes + 8)
    return hidden + train.loss.workspace_bytes + 4 * shape.head_parameters
