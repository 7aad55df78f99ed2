"""Ids of the tokenizer, and the tokens that hold a character: by bytes and by offsets alike."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ecot.data_mix.alignment import align, align_offsets
from ecot.data_mix.encoder import TextEncoder, byte_lengths

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.lists(
    st.sampled_from(
        ["<|im_start|>", "<think>", "\n\n", " ", "value", "値段", "é", "👩\u200d🚀", "e\u0301", "8'hff", "…"]
    ),
    max_size=12,
).map("".join)
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def variant(tokenizer, **parts):
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    for name, value in parts.items():
        setattr(backend, name, value)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def tracked_offsets(tokenizer, text):
    """What `tokenizers` itself says, with a post-processor that trims nothing."""
    return np.array(tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]).reshape(
        -1, 2
    )


@SETTINGS
@given(text=TEXTS)
def test_ids_and_offsets_are_those_of_the_tokenizer(bare_tokenizer, text):
    encoder = TextEncoder(bare_tokenizer)
    (tokenised,) = encoder.encode([text])
    assert type(tokenised).__name__ == ("_WithBytes" if unicodedata.is_normalized("NFC", text) else "_WithOffsets")
    assert tokenised.ids.tolist() == bare_tokenizer(text, add_special_tokens=False)["input_ids"] == encoder.ids(text)
    assert tokenised.ids.dtype == np.int32
    offsets = tracked_offsets(bare_tokenizer, text)
    if text:
        assert tokenised.offsets().tolist() == offsets.tolist()
    for position, place in enumerate(tokenised.locate(range(len(text)))):
        holding = [index for index, (begin, end) in enumerate(offsets) if begin <= position < end]
        assert place == (holding[0], offsets[holding[0]][0] < position)


@SETTINGS
@given(text=TEXTS)
def test_both_ways_of_finding_tokens_agree(bare_tokenizer, text):
    encoder = TextEncoder(bare_tokenizer)
    (by_bytes,) = encoder.encode([text])
    encoder._byte_lengths = None
    (by_offsets,) = encoder.encode([text])
    assert type(by_offsets).__name__ == "_WithOffsets"
    assert by_bytes.ids.tolist() == by_offsets.ids.tolist()
    assert by_bytes.locate(range(len(text))) == by_offsets.locate(range(len(text)))


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": normalizers.Lowercase()},
        {"normalizer": normalizers.NFKC()},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)},
        {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.ByteLevel(False)])},
    ],
)
def test_tokenizers_that_change_the_text_use_offsets(bare_tokenizer, parts):
    tokenizer = variant(bare_tokenizer, **parts)
    encoder = TextEncoder(tokenizer)
    texts = ["Plain Text", "composed e\u0301 and é", ""]
    for text, tokenised in zip(texts, encoder.encode(texts), strict=True):
        assert type(tokenised).__name__ == "_WithOffsets"
        assert tokenised.ids.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_normaliser_that_composes_is_let_alone_where_it_changes_nothing(bare_tokenizer):
    tokenizer = variant(bare_tokenizer, normalizer=normalizers.NFC())
    plain, decomposed = TextEncoder(tokenizer).encode(["größe é", "größe é"])
    assert type(plain).__name__ == "_WithBytes" and type(decomposed).__name__ == "_WithOffsets"
    assert plain.ids.tolist() == tokenizer("größe é", add_special_tokens=False)["input_ids"]
    assert decomposed.ids.tolist() == tokenizer("größe é", add_special_tokens=False)["input_ids"]


def test_lengths_that_do_not_add_up_fall_back_to_offsets(bare_tokenizer):
    encoder = TextEncoder(bare_tokenizer)
    encoder._byte_lengths = encoder._byte_lengths + 1
    (tokenised,) = encoder.encode(["some text"])
    assert type(tokenised).__name__ == "_WithOffsets"
    assert tokenised.ids.tolist() == bare_tokenizer("some text", add_special_tokens=False)["input_ids"]


def test_the_byte_table_covers_the_vocabulary(bare_tokenizer):
    table = byte_lengths(json.loads(bare_tokenizer.backend_tokenizer.to_str()))
    assert len(table) == len(bare_tokenizer)
    for index in range(len(bare_tokenizer)):
        raw = bare_tokenizer.convert_ids_to_tokens(index)
        added = index in bare_tokenizer.added_tokens_decoder
        assert table[index] == (len(raw.encode()) if added else len(raw))


def test_real_conversations_align_alike_every_way(make_renderer, trajectories):
    renderer = make_renderer()
    renderings = [renderer.render(trajectory.messages) for trajectory in trajectories[:30]]
    by_bytes = renderer.encoder.encode([rendering.text for rendering in renderings])
    renderer.encoder._byte_lengths = None
    by_offsets = renderer.encoder.encode([rendering.text for rendering in renderings])
    for rendering, left, right in zip(renderings, by_bytes, by_offsets, strict=True):
        expected = align_offsets(right.offsets(), rendering.spans, rendering.turn_starts)
        assert align(left, rendering.spans, rendering.turn_starts) == expected
        assert align(right, rendering.spans, rendering.turn_starts) == expected
