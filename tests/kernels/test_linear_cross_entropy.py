"""The loss against full-logits cross-entropy in float64, on the torch path."""

import pytest
import torch
from torch.nn import functional

from ecot.kernels.linear_cross_entropy import STAT_NAMES, ScoredRows, linear_cross_entropy
from ecot.kernels.linear_cross_entropy.op import linear_cross_entropy_op

NUM_GROUPS = 6


def make_rows(num_rows, positions, vocab, seed=0, monitored_every=4):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(num_rows, generator=generator) + 0.1
    weights[::monitored_every] = 0
    return ScoredRows(
        row_index=torch.randperm(positions, generator=generator)[:num_rows].sort().values,
        labels=torch.randint(0, vocab, (num_rows,), generator=generator),
        weights=weights,
        groups=torch.randint(0, NUM_GROUPS - 1, (num_rows,), generator=generator),
        num_groups=NUM_GROUPS,
    )


def make_inputs(positions, width, vocab, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocab, width, generator=generator, dtype=torch.float64) / width**0.5
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


def full_logits(hidden, weight, rows, scale=1.0, z_loss=0.0, softcap=0.0):
    """Loss and statistics from the whole logits, by the definition."""
    logits = hidden[rows.row_index] @ weight.t()
    if softcap:
        logits = softcap * (logits / softcap).tanh()
    nll = functional.cross_entropy(logits, rows.labels, reduction="none")
    weights = rows.weights.to(nll.dtype)
    loss = scale * (weights * (nll + z_loss * logits.logsumexp(-1) ** 2)).sum()
    hits = (logits.argmax(-1) == rows.labels).to(nll.dtype)
    stats = torch.zeros(rows.num_groups, 5, dtype=nll.dtype)
    for i, group in enumerate(rows.groups.tolist()):
        stats[group] += torch.stack(
            [weights[i] * nll[i], nll[i], weights[i], torch.ones_like(nll[i]), hits[i]]
        ).detach()
    return loss, stats


@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("rows_in_workspace", [1000, 7, 1])
def test_loss_statistics_and_gradients_equal_those_of_the_full_logits(rows_in_workspace, z_loss, softcap):
    hidden, weight = make_inputs(64, 16, 101)
    rows = make_rows(41, 64, 101)
    options = {"z_loss": z_loss, "softcap": softcap}
    expected, expected_stats = full_logits(hidden, weight, rows, 0.3, **options)
    expected_grads = torch.autograd.grad(1.7 * expected, (hidden, weight))
    output = linear_cross_entropy(
        hidden, weight, rows, scale=0.3, workspace_bytes=rows_in_workspace * 101 * 8, **options
    )
    grads = torch.autograd.grad(1.7 * output.loss, (hidden, weight))
    torch.testing.assert_close(output.loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(output.stats_G5.double(), expected_stats, rtol=1e-6, atol=0)
    assert not output.stats_G5.requires_grad
    for grad, reference in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, reference, rtol=1e-11, atol=1e-13)


def test_no_scored_rows_give_a_zero_loss_with_zero_gradients():
    hidden, weight = make_inputs(8, 4, 10, torch.float32)
    empty = torch.empty(0, dtype=torch.int64)
    rows = ScoredRows(empty, empty, torch.empty(0), empty, NUM_GROUPS)
    for workspace_bytes in (1 << 20, 1):
        output = linear_cross_entropy(hidden, weight, rows, workspace_bytes=workspace_bytes)
        d_hidden, d_weight = torch.autograd.grad(output.loss, (hidden, weight))
        assert output.loss == 0 and d_hidden.shape == hidden.shape and d_weight.shape == weight.shape
        assert not d_hidden.any() and not d_weight.any() and not output.stats_G5.any()


def test_statistics_have_a_name_per_column():
    assert STAT_NAMES == ("weighted_nll", "nll", "weight", "count", "top1_hits")
    hidden, weight = make_inputs(8, 4, 10, torch.float32)
    stats = linear_cross_entropy(hidden, weight, make_rows(6, 8, 10)).stats_G5
    assert stats[:, STAT_NAMES.index("count")].sum() == 6


@pytest.mark.parametrize("chunk_rows", [64, 16])
def test_the_operator_passes_opcheck(chunk_rows):
    hidden, weight = make_inputs(64, 16, 101, torch.float32)
    rows = make_rows(41, 64, 101).trained_first()
    tensors = (rows.row_index, rows.labels, rows.weights, rows.groups, torch.tensor(0.3))
    numbers = (NUM_GROUPS, rows.num_trained, chunk_rows, 7, torch.float32, 0.0, 0.0, True, True, "torch")
    torch.library.opcheck(linear_cross_entropy_op, (hidden, weight, *tensors, *numbers))
