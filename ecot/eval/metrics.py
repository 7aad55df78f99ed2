"""What completions come to: pass@k, label mixes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ecot.outcomes import Label


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples passes (Chen et al. 2021, arXiv 2107.03374, equation 1).

    Args:
        samples: drawn for a task.
        passed: how many of them passed.
        k: at most `samples`.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} cannot be told from {passed} of {samples} samples; k must be at most samples")
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> float:
    """Mean of pass@k over tasks, each (samples, passed)."""
    return sum(pass_at_k(samples, passed, k) for samples, passed in counts) / len(counts)


def label_mix(labels: Iterable[Label]) -> dict[str, int]:
    """Label to count, in the order of the taxonomy; labels that do not occur are left out."""
    counts = Counter(labels)
    return {str(label): counts[label] for label in Label if counts[label]}
