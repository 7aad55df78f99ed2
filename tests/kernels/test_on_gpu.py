"""What only a GPU can show: bf16, more than 2^31 logits, no waiting for the device, torch's varlen attention."""

import numpy as np
import pytest
import torch

from ecot.data_mix.batch import Collator, Shard
from ecot.data_mix.plan import Pack
from ecot.data_mix.spans import SpanCollator, expand_inputs
from ecot.data_mix.store import Details, Document, RunTable
from ecot.kernels.attention import ragged
from ecot.kernels.linear_cross_entropy import linear_cross_entropy
from ecot.outcomes import Domain
from ecot.segments import Kind

pytestmark = pytest.mark.gpu


def gradients(hidden, weight, rows, **options):
    output = linear_cross_entropy(hidden, weight, rows, **options)
    return [output.loss.detach(), output.stats_G5, *torch.autograd.grad(output.loss, (hidden, weight))]


@pytest.mark.parametrize("rows_in_workspace", [4096, 512])
def test_bf16_against_float64(rows_in_workspace, make_inputs, make_rows, full_logits):
    """dW as exact as that of one bf16 product of the exact logit gradient, within a tenth (kernels.md, section 7)."""
    positions, width, vocab = 2048, 256, 2048
    hidden, weight = (tensor.detach().cuda().requires_grad_() for tensor in make_inputs(positions, width, vocab))
    low = [tensor.detach().bfloat16().requires_grad_() for tensor in (hidden, weight)]
    hidden, weight = (tensor.detach().double().requires_grad_() for tensor in low)
    rows = make_rows(1500, positions, vocab, monitored_every=0).to("cuda")
    scale = 1 / rows.num_rows
    expected_loss, expected_stats = full_logits(hidden, weight, rows, scale)
    d_hidden, d_weight = torch.autograd.grad(expected_loss, (hidden, weight))
    loss, stats, *grads = gradients(*low, rows, scale=scale, workspace_bytes=rows_in_workspace * vocab * 2)
    torch.testing.assert_close(loss.double(), expected_loss.detach(), rtol=2e-3, atol=0)
    torch.testing.assert_close(stats.double()[:, 2:4], expected_stats[:, 2:4].cuda(), rtol=1e-6, atol=0)
    one_product = d_weight.bfloat16().double()  # rounding of the result alone
    logits = (low[0].detach()[rows.row_index] @ low[1].detach().t()).double()  # bf16, as any 16-bit head has them
    probabilities = logits.softmax(-1)
    probabilities[torch.arange(rows.num_rows), rows.labels] -= 1
    through_bf16 = (probabilities * rows.weights[:, None] * scale).bfloat16().t() @ low[0].detach()[rows.row_index]
    allowed = (through_bf16.double() - d_weight).norm()
    assert (one_product - d_weight).norm() <= allowed
    assert (grads[1].double() - d_weight).norm() <= 1.1 * allowed
    assert (grads[0].double() - d_hidden).norm() <= 1e-2 * d_hidden.norm()


def test_results_repeat_to_the_bit_in_bf16(make_inputs, make_rows):
    hidden, weight = (
        tensor.detach().cuda().requires_grad_() for tensor in make_inputs(2048, 256, 2048, torch.bfloat16)
    )
    rows = make_rows(1500, 2048, 2048).to("cuda")
    first, second = (gradients(hidden, weight, rows, workspace_bytes=1 << 20) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_nothing_waits_for_the_device(make_inputs, make_rows):
    hidden, weight = (tensor.detach().cuda().requires_grad_() for tensor in make_inputs(512, 64, 1024, torch.bfloat16))
    rows = make_rows(400, 512, 1024).to("cuda")
    gradients(hidden, weight, rows)  # compiles the kernels
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for workspace_bytes in (1 << 30, 1 << 18):
            gradients(hidden, weight, rows, workspace_bytes=workspace_bytes)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_pack_is_expanded_without_waiting_for_the_device():
    lengths = np.array([3, 4000, 20_000, 5000, 1, 6000], np.int32)
    runs = RunTable(lengths, np.array([0, 1, 2, 3, 0, 1], np.int32), np.array([0, 1, 1, 1, 0, 9], np.int32))
    ids = np.arange(lengths.sum(), dtype=np.int32)
    documents = [Document(ids, runs, Domain.EMBEDDED, lambda: Details("", "", None, (), ""))] * 2
    weights = {Kind.THINKING: 1.0, Kind.ANSWER: 0.3}
    collator = Collator(documents, weights, monitor={Kind.OBSERVATION}, pad_id=0, shard=Shard(1, 2))
    sent = SpanCollator(collator)(Pack(0, 0, (0, 1), 0)).to_inputs()
    moved = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in sent.items()}
    expand_inputs(moved)  # compiles the kernels
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = expand_inputs(moved)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = expand_inputs(sent)
    for name, value in expected.items():
        assert torch.equal(found[name].cpu(), value) if isinstance(value, torch.Tensor) else found[name] == value


def test_more_than_two_to_the_31_logits(make_rows):
    """14,500 rows of 152,064 logits: 2.2e9 elements, 4.4 GB. The last rows are those past 2^31."""
    num_rows, vocab, width = 14_500, 152_064, 64
    hidden = torch.randn(num_rows, width, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(vocab, width, device="cuda", dtype=torch.bfloat16) / 8
    rows = make_rows(num_rows, num_rows, vocab, monitored_every=0).to("cuda")
    hidden.requires_grad_()
    whole = linear_cross_entropy(hidden, weight, rows, workspace_bytes=1 << 33)
    in_chunks = linear_cross_entropy(hidden, weight, rows, workspace_bytes=1 << 29)
    torch.testing.assert_close(whole.stats_G5, in_chunks.stats_G5, rtol=1e-4, atol=1e-4)
    d_whole, d_chunks = (torch.autograd.grad(output.loss, hidden)[0].float() for output in (whole, in_chunks))
    assert (d_whole - d_chunks)[-1000:].norm() <= 1e-2 * d_chunks[-1000:].norm()


@pytest.mark.parametrize("name", sorted(set(ragged.implementations()) - {"_sdpa"}))
@pytest.mark.parametrize("window", [None, 16])
def test_varlen_kernels_equal_one_sdpa_per_document(name, window):
    lengths = torch.tensor([37, 1, 200, 64])
    boundaries = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).to("cuda", torch.int32)
    states = [
        torch.randn(302, heads, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for heads in (8, 2, 2)
    ]
    exact = [tensor.detach().float().requires_grad_() for tensor in states]
    results = []
    for attend, inputs in ((ragged.implementations()[name], states), (ragged.per_document_sdpa, exact)):
        output = attend(*inputs, boundaries, 200, 0.125, window)
        results.append([output, *torch.autograd.grad(output.float().square().sum(), inputs)])
    for low, high in zip(*results, strict=True):
        assert (low.float() - high).norm() <= 2e-2 * high.norm()
