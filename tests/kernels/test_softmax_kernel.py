"""The Triton softmax step and its torch twin against float64, in float32 and 16 bits.

Tolerance: the error of each may be three times that of torch's own cross-entropy in the same dtype, both measured
against float64 on the same rounded logits, plus one unit in the last place of the output dtype.
"""

import pytest
import torch
from torch.nn import functional

from ecot.kernels.linear_cross_entropy import linear_cross_entropy, reference

IMPLEMENTATIONS = ["torch", "triton"]
BLOCK_EDGES = [1, 2, 33, 1000, 8192, 8193, 9999]


def steps(implementation):
    if implementation == "torch":
        return reference
    from ecot.kernels.linear_cross_entropy import triton

    return triton


def score(logits, labels, factors, softcap, z_loss):
    """By the definition, in the dtype of the logits: nll, logsumexp and the gradient of the weighted sum."""
    logits = logits.clone().requires_grad_()
    capped = softcap * (logits / softcap).tanh() if softcap else logits
    nll = functional.cross_entropy(capped, labels, reduction="none")
    lse = capped.logsumexp(-1)
    (factors.to(logits.dtype) * (nll + z_loss * lse**2)).sum().backward()
    return nll.detach(), lse.detach(), logits.grad


def errors(results, exact):
    return [(result.double() - truth).abs().max().item() for result, truth in zip(results, exact, strict=True)]


def run(implementation, logits, labels, factors, softcap=0.0, z_loss=0.0, with_grad=True):
    grad = logits.clone()
    nll, lse, hits = torch.empty(3, len(labels), device=logits.device)
    steps(implementation).softmax_grad_(
        grad, labels, factors, nll, lse, hits, softcap=softcap, z_loss=z_loss, with_grad=with_grad
    )
    return nll, lse, grad, hits


@pytest.mark.parametrize("softcap", [0.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("vocab", BLOCK_EDGES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_errors_are_those_of_torch_in_the_same_dtype(implementation, vocab, dtype, softcap, triton_device):
    generator = torch.Generator().manual_seed(vocab)
    logits = (4 * torch.randn(6, vocab, generator=generator)).to(dtype).to(triton_device)
    labels = torch.randint(0, vocab, (6,), generator=generator).to(triton_device)
    labels[0] = vocab - 1
    factors = torch.rand(6, generator=generator).to(triton_device)
    factors[1] = 0
    exact = score(logits.double(), labels, factors, softcap, z_loss=1e-2)
    allowed = errors(score(logits, labels, factors, softcap, z_loss=1e-2), exact)
    *results, hits = run(implementation, logits, labels, factors, softcap, z_loss=1e-2)
    assert results[2].dtype == dtype and not results[2][1].any()
    for error, of_torch, truth in zip(errors(results, exact), allowed, exact, strict=True):
        assert error <= 3 * of_torch + torch.finfo(dtype).eps * truth.abs().max()
    assert torch.equal(hits.bool(), logits.argmax(-1) == labels)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gradients_keep_their_accuracy_as_the_label_becomes_certain(implementation, triton_device):
    """1 - p from 1e-1 to 1e-9: a difference of rounded numbers would be 0 from 1e-8 on."""
    margins = torch.tensor([2.0, 7.0, 14.0, 18.0, 20.7], device=triton_device)
    logits = torch.zeros(5, 3, device=triton_device)
    logits[:, 1] = margins
    labels, factors = torch.ones(5, dtype=torch.int64, device=triton_device), torch.ones(5, device=triton_device)
    exact = score(logits.double(), labels, factors, 0.0, 0.0)
    for result, truth in zip(run(implementation, logits, labels, factors), exact, strict=False):
        torch.testing.assert_close(result.double(), truth, rtol=2e-6, atol=0)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_extreme_logits(implementation, triton_device):
    """Far apart, equal, and impossible (-inf) logits, with gradients and without."""
    inf = float("inf")
    rows = [[1e4, -1e4, 0, 3], [-1e4, 1e4, 0, 3], [7, 7, 7, 7], [-inf, 2, -inf, 1], [3e4, 3e4, -inf, -inf]]
    logits = torch.tensor(rows, device=triton_device)
    labels = torch.tensor([0, 0, 3, 1, 1], device=triton_device)
    factors = torch.ones(5, device=triton_device)
    nll, lse, grad, hits = run(implementation, logits, labels, factors)
    exact = score(logits.double(), labels, factors, 0.0, 0.0)
    for result, truth in zip((nll, lse, grad), exact, strict=True):
        torch.testing.assert_close(result.double(), truth, rtol=1e-6, atol=1e-7)
    assert hits.tolist() == [1, 0, 0, 1, 0]
    forward_only = run(implementation, logits, labels, factors, with_grad=False)
    assert torch.equal(forward_only[0], nll) and torch.equal(forward_only[1], lse)


def test_group_sums_of_both_are_equal(triton_device):
    generator = torch.Generator().manual_seed(0)
    for num_rows in (0, 1, 1024, 1500):
        values = torch.rand(3, num_rows, generator=generator).to(triton_device)
        groups = torch.randint(0, 4, (num_rows,), generator=generator).to(triton_device)
        ours, expected = (steps(name).group_sums(*values, groups, 5) for name in ("triton", "torch"))
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
        assert ours[:, 3].tolist() == [(groups == group).sum().item() for group in range(5)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("workspace_rows", [32, 5])
def test_the_whole_loss_on_triton(workspace_rows, dtype, make_inputs, make_rows, full_logits, triton_device):
    """Loss, statistics and gradients against float64; the error may be three times that of the torch path."""
    hidden, weight = make_inputs(40, 16, 201)
    rows = make_rows(23, 40, 201)
    exact_loss, exact_stats = full_logits(hidden, weight, rows, 0.3, z_loss=1e-3)
    exact = [exact_loss.detach(), exact_stats, *torch.autograd.grad(exact_loss, (hidden, weight))]
    found = {}
    for implementation in IMPLEMENTATIONS:
        hidden_low, weight_low = (
            tensor.detach().to(triton_device, dtype).requires_grad_() for tensor in (hidden, weight)
        )
        output = linear_cross_entropy(
            hidden_low,
            weight_low,
            rows.to(triton_device),
            scale=0.3,
            z_loss=1e-3,
            workspace_bytes=workspace_rows * 201 * dtype.itemsize,
            implementation=implementation,
        )
        results = [output.loss.detach(), output.stats_G5, *torch.autograd.grad(output.loss, (hidden_low, weight_low))]
        found[implementation] = errors([result.cpu() for result in results], exact)
    for error, of_torch, truth in zip(found["triton"], found["torch"], exact, strict=True):
        assert error <= 3 * of_torch + torch.finfo(torch.float32).eps * truth.abs().max()


def test_results_of_triton_repeat_to_the_bit(make_inputs, make_rows, triton_device):
    hidden, weight = (tensor.to(triton_device) for tensor in make_inputs(20, 8, 51, torch.float32))
    rows = make_rows(11, 20, 51).to(triton_device)
    results = []
    for _ in range(2):
        output = linear_cross_entropy(hidden, weight, rows, workspace_bytes=4 * 51 * 4, implementation="triton")
        results.append([output.loss, output.stats_G5, *torch.autograd.grad(output.loss, (hidden, weight))])
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def test_float64_is_left_to_torch(make_inputs, make_rows, triton_device):
    hidden, weight = make_inputs(4, 2, 3)
    with pytest.raises(ValueError, match="float64"):
        linear_cross_entropy(hidden, weight, make_rows(2, 4, 3), implementation="triton")
