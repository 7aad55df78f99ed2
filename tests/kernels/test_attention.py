"""Packed documents get the logits that each gets alone, whatever the implementation and the way of asking."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from ecot.kernels.attention import NAME, documents, interface, model_inputs, ragged

LENGTHS = [5, 1, 9, 17, 3]
VOCAB = 97


def tiny_model(family, implementation, **options):
    sizes = {
        "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
        "attn_implementation": implementation, "initializer_range": 0.3,
    }  # fmt: skip
    torch.manual_seed(0)
    config, model = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}[family]
    return model(config(**sizes, **options)).eval()


@pytest.fixture
def documents_ids():
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(0, VOCAB, (length,), generator=generator) for length in LENGTHS]


def pack(ids):
    lengths = torch.tensor([len(document) for document in ids])
    boundaries = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).to(torch.int32)
    positions = torch.cat([torch.arange(len(document)) for document in ids])
    return model_inputs(torch.cat(ids)[None], positions[None], boundaries, int(lengths.max()))


def logits_alone(model, ids):
    """Each document in a forward pass of its own: nothing of another document can be in there."""
    return torch.cat([model(document[None], use_cache=False).logits[0] for document in ids])


@pytest.mark.parametrize("implementation", [NAME, f"{NAME}_sdpa", "sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_packed_logits_equal_those_of_each_document_alone(family, implementation, documents_ids):
    model = tiny_model(family, implementation)
    with torch.no_grad():
        packed = model(**pack(documents_ids)).logits[0]
        torch.testing.assert_close(packed, logits_alone(model, documents_ids), rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_each_document_alone(documents_ids):
    model = tiny_model("llama", NAME)
    model(**pack(documents_ids)).logits.square().sum().backward()
    packed = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    logits_alone(model, documents_ids).square().sum().backward()
    for grad, parameter in zip(packed, model.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad, rtol=1e-4, atol=1e-3)


LEAKS = {
    "use_cache left at its default": ["use_cache"],
    "boundaries without positions": ["position_ids"],
}


@pytest.mark.parametrize("dropped", LEAKS.values(), ids=LEAKS)
def test_what_leaks_elsewhere_is_right_or_refused_here(dropped, documents_ids):
    """transformers' own implementations mix the documents here without a word."""
    model, inputs = tiny_model("qwen3", NAME), pack(documents_ids)
    inputs = {name: value for name, value in inputs.items() if name not in dropped}
    with torch.no_grad():
        if "position_ids" in dropped:
            with pytest.raises(RuntimeError, match="restart at 0"):
                model(**inputs)
        else:
            torch.testing.assert_close(
                model(**inputs).logits[0], logits_alone(model, documents_ids), rtol=1e-4, atol=1e-5
            )


def test_a_mask_of_ones_changes_nothing_and_any_other_is_refused(documents_ids):
    model, inputs = tiny_model("qwen3", NAME), pack(documents_ids)
    mask = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        logits = model(**inputs | {"attention_mask": mask}).logits[0]
        torch.testing.assert_close(logits, logits_alone(model, documents_ids), rtol=1e-4, atol=1e-5)
        mask[0, :4] = 0
        with pytest.raises(ValueError, match="attention mask"):
            model(**inputs | {"attention_mask": mask})


def test_positions_alone_are_enough(documents_ids):
    model, inputs = tiny_model("llama", NAME), pack(documents_ids)
    with torch.no_grad():
        logits = model(inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False).logits[0]
        torch.testing.assert_close(logits, logits_alone(model, documents_ids), rtol=1e-4, atol=1e-5)


def test_right_padded_rows_equal_each_document_alone(documents_ids):
    model = tiny_model("llama", NAME)
    rows = torch.nn.utils.rnn.pad_sequence(documents_ids, batch_first=True)
    positions = torch.arange(rows.shape[1]).expand_as(rows)
    with torch.no_grad():
        logits = model(**model_inputs(rows, positions)).logits
        kept = torch.cat([logits[i, :length] for i, length in enumerate(LENGTHS)])
        torch.testing.assert_close(kept, logits_alone(model, documents_ids), rtol=1e-4, atol=1e-5)


def test_generation_with_left_padding_equals_that_of_sdpa(documents_ids):
    """Greedy continuation of a padded batch, with a cache: the mask is that of sdpa."""
    rows = torch.nn.utils.rnn.pad_sequence(documents_ids, batch_first=True, padding_side="left")
    mask = torch.nn.utils.rnn.pad_sequence(
        [torch.ones_like(ids) for ids in documents_ids], batch_first=True, padding_side="left"
    )
    outputs = [
        tiny_model("llama", name).generate(
            rows, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=None
        )
        for name in (NAME, "sdpa")
    ]
    assert torch.equal(*outputs)


def test_sliding_window_holds_within_documents(documents_ids):
    """Against transformers' eager attention, which masks by hand, one document at a time."""
    window = {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
    ours, eager = (tiny_model("qwen3", name, **window) for name in (NAME, "eager"))
    with torch.no_grad():
        expected = logits_alone(eager, documents_ids)
        torch.testing.assert_close(ours(**pack(documents_ids)).logits[0], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits_alone(ours, documents_ids), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("has_gqa", [True, False], ids=["as of torch 2.12", "as of torch 2.11"])
def test_both_signatures_of_torch_varlen_are_served(has_gqa, monkeypatch):
    """torch's kernel needs CUDA; here its documented contract is played by the reference, with either signature."""
    from torch.nn.attention import varlen

    def attend(query, key, value, cu_q, cu_k, max_q, max_k, scale, window_size, enable_gqa=False):
        assert torch.equal(cu_q, cu_k) and max_q == max_k == 9 and window_size[1] == 0
        assert query.shape[1] == key.shape[1] or enable_gqa
        window = None if window_size[0] == -1 else window_size[0] + 1
        return ragged.per_document_sdpa(query, key, value, cu_q, max_q, scale, window)

    def attend_2_11(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):
        return attend(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, window_size)

    def attend_2_12(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False
    ):
        return attend(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, window_size, enable_gqa)

    monkeypatch.setattr(varlen, "varlen_attn", attend_2_12 if has_gqa else attend_2_11)
    query, key, value = (torch.randn(14, heads, 8) for heads in (4, 2, 2))
    boundaries = torch.tensor([0, 5, 14], dtype=torch.int32)
    for window in (None, 3):
        arguments = (query, key, value, boundaries, 9, 0.3, window)
        torch.testing.assert_close(ragged.torch_varlen(*arguments), ragged.per_document_sdpa(*arguments))


def test_boundaries_that_miss_the_pack_are_refused():
    states = torch.randn(6, 2, 8)
    for boundaries in ([0, 5], [1, 6], [0, 4, 2, 6]):
        with pytest.raises(ValueError, match="do not run from 0 to the 6"):
            ragged.per_document_sdpa(states, states, states, torch.tensor(boundaries), 6, None, None)


def test_options_that_are_not_there_are_refused():
    states = torch.randn(1, 2, 3, 8)
    with pytest.raises(ValueError, match="softcap"):
        interface.attention_forward(ragged.automatic, torch.nn.Module(), states, states, states, None, softcap=2.0)
    with pytest.raises(ValueError, match="dropout"):
        interface.attention_forward(ragged.automatic, torch.nn.Module(), states, states, states, None, dropout=0.1)


def test_model_inputs_refuses_what_would_be_misread():
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="each token needs one"):
        model_inputs(ids, torch.arange(4))
    with pytest.raises(ValueError, match="int32"):
        model_inputs(ids, ids, torch.tensor([0, 4]), 4)
    with pytest.raises(ValueError, match="int max_seqlen"):
        model_inputs(ids, ids, torch.tensor([0, 4], dtype=torch.int32), torch.tensor(4))


def test_boundaries_follow_from_positions():
    assert documents.boundaries_from_positions(torch.tensor([[0, 1, 2, 3]])) is None
    assert documents.boundaries_from_positions(torch.tensor([[0, 1], [0, 1]])) is None
    assert documents.boundaries_from_positions(torch.tensor([[0, 1, 0, 0, 1]])).tolist() == [0, 2, 3, 5]
    assert documents.boundaries_from_positions(torch.tensor([[0, 1, 0], [0, 1, 2]])).tolist() == [0, 2, 3, 6]
