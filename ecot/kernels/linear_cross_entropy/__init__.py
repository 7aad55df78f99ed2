"""The loss at the head: weighted cross-entropy of scored rows, gradients in three GEMMs, never the `[T, V]` logits."""

from ecot.kernels.linear_cross_entropy.chunks import DEFAULT_WORKSPACE_BYTES
from ecot.kernels.linear_cross_entropy.loss import linear_cross_entropy
from ecot.kernels.linear_cross_entropy.rows import STAT_NAMES, LossOutput, ScoredRows

__all__ = ["DEFAULT_WORKSPACE_BYTES", "STAT_NAMES", "LossOutput", "ScoredRows", "linear_cross_entropy"]
