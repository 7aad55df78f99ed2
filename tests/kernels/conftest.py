"""Inputs of the loss, and the interpreter: Triton kernels run in it where there is no CUDA device."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ecot.kernels.linear_cross_entropy import ScoredRows

NUM_GROUPS = 6


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "triton: runs Triton kernels (added by the fixture triton_device)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "triton_device" in getattr(item, "fixturenames", ()):
            item.add_marker("triton")
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def triton_device() -> str:
    """Where Triton kernels run here: compiled on a CUDA device, otherwise in the interpreter on the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("the interpreter is chosen before triton is imported: test_interpreter.py runs this with it")
    return "cpu"


@pytest.fixture
def make_rows() -> Callable[..., ScoredRows]:
    def make(num_rows: int, positions: int, vocab: int, seed: int = 0, monitored_every: int = 4) -> ScoredRows:
        """Random scored rows; every so many are monitored (weight 0), and the last group stays empty."""
        generator = torch.Generator().manual_seed(seed)
        weights = torch.rand(num_rows, generator=generator) + 0.1
        if monitored_every:
            weights[::monitored_every] = 0
        return ScoredRows(
            row_index=torch.randperm(positions, generator=generator)[:num_rows].sort().values,
            labels=torch.randint(0, vocab, (num_rows,), generator=generator),
            weights=weights,
            groups=torch.randint(0, NUM_GROUPS - 1, (num_rows,), generator=generator),
            num_groups=NUM_GROUPS,
        )

    return make


@pytest.fixture
def make_inputs() -> Callable[..., tuple[Tensor, Tensor]]:
    def make(positions: int, width: int, vocab: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Hidden states [T, D] of unit variance and a head [V, D] that gives logits of unit variance."""
        generator = torch.Generator().manual_seed(1)
        hidden = torch.randn(positions, width, generator=generator, dtype=torch.float64)
        weight = torch.randn(vocab, width, generator=generator, dtype=torch.float64) / width**0.5
        return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()

    return make


@pytest.fixture
def full_logits() -> Callable[..., tuple[Tensor, Tensor]]:
    def score(
        hidden: Tensor, weight: Tensor, rows: ScoredRows, scale: float = 1.0, z_loss: float = 0.0, softcap: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Loss and statistics from the whole logits, by the definition."""
        logits = hidden[rows.row_index] @ weight.t()
        if softcap:
            logits = softcap * (logits / softcap).tanh()
        nll = torch.nn.functional.cross_entropy(logits, rows.labels, reduction="none")
        weights = rows.weights.to(nll.dtype)
        loss = scale * (weights * (nll + z_loss * logits.logsumexp(-1) ** 2)).sum()
        hits = (logits.argmax(-1) == rows.labels).to(nll.dtype)
        columns = torch.stack([weights * nll, nll, weights, torch.ones_like(nll), hits], dim=1).detach()
        member = torch.arange(rows.num_groups)[:, None] == rows.groups.cpu()
        return loss, member.to(nll) @ columns

    return score
