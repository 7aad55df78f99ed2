"""Other libraries' losses give the same loss, statistics and gradients, or say what they cannot do."""

import pytest
import torch

from ecot.kernels.linear_cross_entropy import linear_cross_entropy
from ecot.kernels.linear_cross_entropy.peers import loss_function

OPTIONS = {"torch": {"z_loss": 1e-2, "softcap": 3.0}, "trl": {"softcap": 3.0}}


@pytest.mark.parametrize("name", ["torch", "trl"])
def test_peers_agree_on_the_cpu(name, make_inputs, make_rows):
    hidden, weight = make_inputs(64, 16, 101, torch.float32)
    rows = make_rows(41, 64, 101)
    results = []
    for loss in (linear_cross_entropy, loss_function(name)):
        output = loss(hidden, weight, rows, scale=0.3, **OPTIONS[name])
        results.append([output.loss.detach(), output.stats_G5, *torch.autograd.grad(output.loss, (hidden, weight))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_liger_agrees_where_triton_runs(z_loss, make_inputs, make_rows, triton_device):
    hidden, weight = (
        tensor.detach().to(triton_device).requires_grad_() for tensor in make_inputs(20, 16, 64, torch.float32)
    )
    rows = make_rows(9, 20, 64).to(triton_device)
    results = []
    for loss in (linear_cross_entropy, loss_function("liger")):
        output = loss(hidden, weight, rows, scale=0.3, z_loss=z_loss)
        results.append([output.loss.detach(), output.stats_G5, *torch.autograd.grad(output.loss, (hidden, weight))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["ecot", "torch", "trl", "liger"])
def test_no_rows_give_zero_with_a_graph(name, make_inputs, make_rows):
    hidden, weight = make_inputs(8, 4, 10, torch.float32)
    output = loss_function(name)(hidden, weight, make_rows(0, 8, 10))
    grads = torch.autograd.grad(output.loss, (hidden, weight))
    assert output.loss == 0 and not any(grad.any() for grad in grads) and output.stats_G5.shape == (6, 5)


def test_what_a_library_lacks_is_refused(make_inputs, make_rows, monkeypatch):
    hidden, weight = make_inputs(8, 4, 10, torch.float32)
    rows = make_rows(5, 8, 10)
    assert loss_function("ecot") is linear_cross_entropy
    with pytest.raises(ValueError, match="no z-loss"):
        loss_function("trl")(hidden, weight, rows, z_loss=1e-4)
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="needs CUDA"):
        patch.delenv("TRITON_INTERPRET", raising=False)
        loss_function("liger")(hidden, weight, rows)
    with pytest.raises(ValueError, match="choose one of ecot, liger, trl, torch"):
        loss_function("apex")
