"""The loss against full-logits cross-entropy in float64, what it costs, and what it refuses (torch path)."""

import dataclasses
import os

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ecot.kernels.linear_cross_entropy import STAT_NAMES, ScoredRows, linear_cross_entropy
from ecot.kernels.linear_cross_entropy.op import linear_cross_entropy_op

VOCAB = 101


@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("rows_in_workspace", [1000, 7, 1])
def test_loss_statistics_and_gradients_equal_those_of_the_full_logits(
    rows_in_workspace, z_loss, softcap, make_inputs, make_rows, full_logits
):
    hidden, weight = make_inputs(64, 16, VOCAB)
    rows = make_rows(41, 64, VOCAB)
    options = {"z_loss": z_loss, "softcap": softcap}
    expected, expected_stats = full_logits(hidden, weight, rows, 0.3, **options)
    expected_grads = torch.autograd.grad(1.7 * expected, (hidden, weight))
    workspace_bytes = rows_in_workspace * VOCAB * 8
    output = linear_cross_entropy(hidden, weight, rows, scale=0.3, workspace_bytes=workspace_bytes, **options)
    grads = torch.autograd.grad(1.7 * output.loss, (hidden, weight))
    torch.testing.assert_close(output.loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(output.stats_G5.double(), expected_stats, rtol=1e-6, atol=0)
    assert not output.stats_G5.requires_grad
    for grad, reference in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, reference, rtol=1e-11, atol=1e-13)


def test_numerical_derivatives_agree(make_inputs, make_rows):
    hidden, weight = make_inputs(5, 3, 7)
    rows = make_rows(4, 5, 7)

    def loss(hidden, weight):
        return linear_cross_entropy(hidden, weight, rows, z_loss=0.1, softcap=2.0, workspace_bytes=2 * 7 * 8).loss

    assert torch.autograd.gradcheck(loss, (hidden, weight))


@pytest.mark.parametrize("num_rows", [0, 1, 29])
def test_any_number_of_rows(num_rows, make_inputs, make_rows, full_logits):
    """Nothing scored gives a loss of zero that is connected to the graph."""
    hidden, weight = make_inputs(29, 4, 10)
    rows = make_rows(num_rows, 29, 10, monitored_every=0)
    for workspace_bytes in (1 << 20, 1):
        output = linear_cross_entropy(hidden, weight, rows, workspace_bytes=workspace_bytes)
        expected, stats = full_logits(hidden, weight, rows)
        grads = torch.autograd.grad(output.loss, (hidden, weight))
        torch.testing.assert_close(output.loss, expected)
        torch.testing.assert_close(output.stats_G5.double(), stats)
        for grad, reference in zip(grads, torch.autograd.grad(expected, (hidden, weight)), strict=True):
            torch.testing.assert_close(grad, reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_rows_give_zero_gradients_in_every_dtype(dtype, make_inputs, make_rows):
    hidden, weight = make_inputs(8, 4, 10, dtype)
    output = linear_cross_entropy(hidden, weight, make_rows(0, 8, 10))
    grads = torch.autograd.grad(output.loss, (hidden, weight))
    assert output.loss == 0 and not output.stats_G5.any()
    assert [(grad.dtype, grad.shape, grad.any().item()) for grad in grads] == [
        (dtype, hidden.shape, False),
        (dtype, weight.shape, False),
    ]


def test_rows_of_weight_zero_are_counted_and_train_nothing(make_inputs, make_rows, full_logits):
    hidden, weight = make_inputs(20, 4, 10)
    rows = make_rows(12, 20, 10, monitored_every=1)
    output = linear_cross_entropy(hidden, weight, rows)
    grads = torch.autograd.grad(output.loss, (hidden, weight))
    assert output.loss == 0 and not any(grad.any() for grad in grads)
    torch.testing.assert_close(output.stats_G5.double(), full_logits(hidden, weight, rows)[1], rtol=1e-6, atol=0)
    assert output.stats_G5[:, STAT_NAMES.index("count")].sum() == 12


def test_a_hit_is_the_argmax_the_first_of_equal_logits(make_rows):
    hidden, weight = torch.ones(4, 2), torch.zeros(3, 2)  # four rows of equal logits
    rows = dataclasses.replace(make_rows(4, 4, 3), labels=torch.tensor([0, 1, 2, 0]), groups=torch.tensor([0, 1, 2, 3]))
    hits = linear_cross_entropy(hidden, weight, rows).stats_G5[:, STAT_NAMES.index("top1_hits")]
    assert hits.tolist() == [1, 0, 0, 1, 0, 0]


def test_strided_inputs(make_inputs, make_rows, full_logits):
    """A transposed weight, hidden states and labels of stride 0, a weight of stride 0."""
    hidden, weight = make_inputs(12, 5, 9)
    rows = make_rows(7, 12, 9)
    same = dataclasses.replace(rows, labels=torch.tensor([3]).expand(7), groups=torch.tensor([2]).expand(7))
    cases = [
        (hidden, weight.detach().t().contiguous().t().requires_grad_(), rows),
        (hidden[:1].detach().expand(12, 5).requires_grad_(), weight, same),
        (hidden, weight[:1].detach().expand(9, 5).requires_grad_(), rows),
    ]
    for hidden, weight, rows in cases:
        output = linear_cross_entropy(hidden, weight, rows, workspace_bytes=3 * 9 * 8)
        expected, _ = full_logits(hidden, weight, rows)
        for grad, reference in zip(
            torch.autograd.grad(output.loss, (hidden, weight)),
            torch.autograd.grad(expected, (hidden, weight)),
            strict=True,
        ):
            torch.testing.assert_close(grad, reference)


def test_a_tied_weight_gets_the_gradients_of_both_uses(make_rows, full_logits):
    table = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    ids, rows = torch.arange(9), make_rows(7, 9, 9)
    (grad,) = torch.autograd.grad(linear_cross_entropy(table[ids] * 2, table, rows).loss, table)
    (expected,) = torch.autograd.grad(full_logits(table[ids] * 2, table, rows)[0], table)
    torch.testing.assert_close(grad, expected)


class Products(TorchDispatchMode):
    """Counts multiply-adds of matrix products, and the largest tensor that any operation made."""

    def __init__(self):
        super().__init__()
        self.multiply_adds, self.largest = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "ecot":  # look into the operator
            with self:
                return linear_cross_entropy_op._init_fn(*args, **kwargs or {})
        result = func(*args, **kwargs or {})
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            left, right = args[-2:]
            self.multiply_adds += left.shape[0] * left.shape[1] * right.shape[1]
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def products_of(hidden, weight, rows, backward=True, **options):
    with Products() as products:
        loss = linear_cross_entropy(hidden, weight, rows, **options).loss
        if backward:
            loss.backward()
    return products


@pytest.mark.parametrize("workspace_rows", [64, 8])
def test_three_products_and_one_for_monitored_rows(workspace_rows, make_inputs, make_rows):
    hidden, weight = make_inputs(64, 16, VOCAB, torch.float32)
    rows = make_rows(40, 64, VOCAB)  # 30 trained, 10 monitored
    options = {"workspace_bytes": workspace_rows * VOCAB * 4}
    row = VOCAB * 16
    assert products_of(hidden, weight, rows, **options).multiply_adds == (3 * 30 + 10) * row
    assert products_of(hidden, weight.detach(), rows, **options).multiply_adds == (2 * 30 + 10) * row
    assert products_of(hidden.detach(), weight, rows, **options).multiply_adds == (2 * 30 + 10) * row
    with torch.no_grad():
        assert products_of(hidden, weight, rows, backward=False, **options).multiply_adds == 40 * row


def test_logits_stay_within_the_workspace(make_inputs, make_rows):
    hidden, weight = make_inputs(64, 8, 1000, torch.float32)
    products = products_of(hidden, weight, make_rows(64, 64, 1000), workspace_bytes=5 * 1000 * 4)
    assert products.largest == max(5 * 1000, weight.numel())


def test_results_repeat_to_the_bit(make_inputs, make_rows):
    hidden, weight = make_inputs(64, 16, VOCAB, torch.float32)
    rows = make_rows(41, 64, VOCAB)
    results = []
    for _ in range(2):
        output = linear_cross_entropy(hidden, weight, rows, workspace_bytes=9 * VOCAB * 4)
        results.append([output.loss, output.stats_G5, *torch.autograd.grad(output.loss, (hidden, weight))])
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


@pytest.mark.parametrize("workspace_rows", [64, 8])
def test_backward_may_run_twice_but_not_through_itself(workspace_rows, make_inputs, make_rows):
    hidden, weight = make_inputs(64, 16, VOCAB, torch.float32)
    loss = linear_cross_entropy(
        hidden, weight, make_rows(41, 64, VOCAB), workspace_bytes=workspace_rows * VOCAB * 4
    ).loss
    first = torch.autograd.grad(loss, (hidden, weight), retain_graph=True)
    second = torch.autograd.grad(loss, (hidden, weight), retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, (hidden, weight), create_graph=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("chunk_rows", [64, 16])
def test_the_operator_passes_opcheck(chunk_rows, dtype, make_inputs, make_rows):
    hidden, weight = make_inputs(64, 16, VOCAB, dtype)
    rows = make_rows(41, 64, VOCAB).trained_first()
    tensors = (rows.row_index, rows.labels, rows.weights, rows.groups, torch.tensor(0.3))
    numbers = (rows.num_groups, rows.num_trained, chunk_rows, 7, dtype, 0.0, 0.0, True, True, "torch")
    torch.library.opcheck(linear_cross_entropy_op, (hidden, weight, *tensors, *numbers))


def test_the_compiler_sees_one_node_and_gives_the_same_bits(make_inputs, make_rows):
    hidden, weight = make_inputs(64, 16, VOCAB, torch.float32)
    rows = make_rows(41, 64, VOCAB).trained_first()
    graphs = []

    def record(graph, inputs):
        graphs.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph

    def loss(hidden, weight):
        return linear_cross_entropy(hidden, weight, rows).loss

    compiled = torch.compile(loss, backend=record, fullgraph=True)
    torch.testing.assert_close(compiled(hidden, weight), loss(hidden, weight), rtol=0, atol=0)
    assert sum("linear_cross_entropy" in target for target in graphs[0]) == 1
    assert not any("mm" in target for target in graphs[0])
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for grad, reference in zip(
        torch.autograd.grad(compiled(hidden, weight), (hidden, weight)),
        torch.autograd.grad(loss(hidden, weight), (hidden, weight)),
        strict=True,
    ):
        assert torch.equal(grad, reference)


def test_autocast_computes_in_its_dtype_and_keeps_gradients_in_the_parameters(make_inputs, make_rows, full_logits):
    hidden, weight = make_inputs(64, 16, VOCAB, torch.float32)
    rows = make_rows(41, 64, VOCAB)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, rows).loss
    grads = torch.autograd.grad(loss, (hidden, weight))
    assert loss.dtype == torch.float32 and [grad.dtype for grad in grads] == [torch.float32, torch.float32]
    expected = torch.autograd.grad(full_logits(hidden, weight, rows)[0], (hidden, weight))
    for grad, reference in zip(grads, expected, strict=True):
        assert (grad - reference).norm() < 2**-7 * reference.norm()


def test_rows_are_sorted_once_and_only_if_needed(make_rows):
    rows = make_rows(9, 20, 10)
    ordered = rows.trained_first()
    trained = rows.weights != 0
    assert ordered.num_trained == trained.sum() and ordered.trained_first() is ordered
    assert torch.equal(ordered.row_index, torch.cat([rows.row_index[trained], rows.row_index[~trained]]))
    assert (ordered.weights[: ordered.num_trained] > 0).all() and not ordered.weights[ordered.num_trained :].any()
    assert rows.to("cpu").num_trained == ordered.num_trained
    dense = make_rows(9, 20, 10, monitored_every=0)
    assert torch.equal(dense.trained_first().row_index, dense.row_index)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter takes CPU tensors")
def test_triton_on_the_cpu_says_how(make_inputs, make_rows):
    hidden, weight = make_inputs(20, 4, 10, torch.float32)
    with pytest.raises(ValueError, match="TRITON_INTERPRET=1"):
        linear_cross_entropy(hidden, weight, make_rows(9, 20, 10), implementation="triton")


def test_what_does_not_fit_is_refused(make_inputs, make_rows):
    hidden, weight = make_inputs(20, 4, 10, torch.float32)
    rows = make_rows(9, 20, 10)
    wrong_label = dataclasses.replace(rows, labels=rows.labels + 10)
    wrong_group = dataclasses.replace(rows, groups=rows.groups - 6)
    wrong_row = dataclasses.replace(rows, row_index=rows.row_index + 20)
    short = ScoredRows(rows.row_index, rows.labels[:-1], rows.weights, rows.groups, rows.num_groups)
    cases = [
        (hidden[None], weight, rows, {}, "give \\[T, D\\]"),
        (hidden, weight[:, :0], rows, {}, "ZeRO-3"),
        (hidden, weight.double(), rows, {}, "autocast"),
        (hidden, weight, wrong_label, {}, "labels of scored rows"),
        (hidden, weight, wrong_group, {}, "groups of scored rows"),
        (hidden, weight, wrong_row, {}, "row_index of scored rows"),
        (hidden, weight, short, {}, "four tensors of one length"),
        (hidden, weight, rows, {"workspace_bytes": 0}, "workspace_bytes is 0"),
    ]
    for hidden_case, weight_case, rows_case, options, message in cases:
        with pytest.raises(ValueError, match=message):
            linear_cross_entropy(hidden_case, weight_case, rows_case, **options)
