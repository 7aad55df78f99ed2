import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from ecot.errors import ConfigError
from ecot.kernels.attention import register_attention
from ecot.train.head import install_scoring_head

SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
)
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config),
}


def make_model(family, tied):
    register_attention()
    torch.manual_seed(0)
    model_class, config_class = FAMILIES[family]
    return model_class(config_class(**SIZES, tie_word_embeddings=tied, attn_implementation="ecot_varlen"))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_scored_loss_is_that_of_full_logits_in_every_document(family, tied):
    """Packed, weighted and compacted against one forward per document with full logits and plain autograd."""
    reference, model = make_model(family, tied), make_model(family, tied)
    names = list(model.state_dict())
    install_scoring_head(model, workspace_bytes=2**16)
    assert list(model.state_dict()) == names
    generator = torch.Generator().manual_seed(1)
    documents = [torch.randint(0, 64, (length,), generator=generator) for length in (5, 1, 9)]
    weights = [torch.rand(len(document) - 1, generator=generator).round(decimals=1) for document in documents]

    expected = torch.zeros(())
    for document, weight in zip(documents, weights, strict=True):
        if len(document) > 1:
            logits = reference(document[None]).logits[0, :-1]
            expected = (
                expected + (weight * torch.nn.functional.cross_entropy(logits, document[1:], reduction="none")).sum()
            )
    (expected * 0.5).backward()

    lengths = [len(document) for document in documents]
    starts = [0, 5, 6]
    rows = torch.cat([torch.arange(s, s + n - 1) for s, n in zip(starts, lengths, strict=True)])
    loss, stats = model(
        input_ids=torch.cat(documents)[None],
        position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        cu_seqlens=torch.tensor([0, 5, 6, 15], dtype=torch.int32),
        max_seqlen=9,
        row_index=rows,
        labels=torch.cat([document[1:] for document in documents]),
        weights=torch.cat(weights),
        groups=torch.zeros(len(rows), dtype=torch.long),
        num_groups=1,
        scale=0.5,
    )
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * expected.item(), rel=1e-5)
    assert stats[0, 3] == len(rows)
    for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_without_rows_the_model_answers_as_before():
    model, reference = make_model("llama", False), make_model("llama", False)
    install_scoring_head(model, workspace_bytes=2**16)
    ids = torch.arange(12)[None]
    assert torch.equal(model(ids).logits, reference(ids).logits)
    assert torch.equal(model.generate(ids, max_new_tokens=4), reference.generate(ids, max_new_tokens=4))


def test_a_head_with_a_bias_is_refused():
    model = make_model("llama", False)
    model.lm_head = torch.nn.Linear(32, 64)
    with pytest.raises(ConfigError, match="only a linear head without bias"):
        install_scoring_head(model, workspace_bytes=2**16)


@pytest.mark.parametrize("impl", ["torch", "trl", "ecot"])
def test_the_losses_of_others_agree_at_the_head(impl):
    """Same inputs, per-token weights, every loss that runs on a CPU: same loss and gradients as ours in float64."""
    results = {}
    for name in ("ecot", impl):
        model = make_model("llama", False).double()
        install_scoring_head(model, workspace_bytes=2**16, impl=name, z_loss=0.0)
        ids = torch.arange(20)[None] % 64
        loss, stats = model(
            input_ids=ids,
            position_ids=torch.arange(20)[None],
            row_index=torch.arange(3, 15),
            labels=ids[0, 4:16],
            weights=torch.linspace(0.1, 1.5, 12),
            groups=torch.arange(12) % 3,
            num_groups=3,
            scale=0.25,
        )
        loss.backward()
        results[name] = (loss.detach(), stats, model.lm_head.weight.grad, model.model.embed_tokens.weight.grad)
    for ours, other in zip(results["ecot"], results[impl], strict=True):
        torch.testing.assert_close(other.float(), ours.float(), rtol=1e-5, atol=1e-7)
