"""Batches against a token-by-token loop, packed and padded."""

import numpy as np
import pytest
import torch

from ecot.data_mix.batch import Collator
from ecot.data_mix.groups import encode_groups
from ecot.data_mix.plan import Pack
from ecot.data_mix.prepare import prepare
from ecot.errors import ConfigError
from ecot.outcomes import Domain
from ecot.segments import Kind

WEIGHTS = {Kind.THINKING: 1.0, Kind.ANSWER: 0.5}


@pytest.fixture
def prepared(run_paths, data_config):
    return prepare(data_config(), run_paths, seed=1)


def slow_rows(documents, starts, weights, monitored):
    """(row, label, weight, group) of every scored token, one token at a time."""
    rows = []
    for document, start in zip(documents, starts, strict=True):
        kinds = [kind for length, kind, _ in document.runs for _ in range(length)]
        attempts = [attempt for length, _, attempt in document.runs for _ in range(length)]
        for position in range(len(document.ids) - 1):
            kind = kinds[position + 1]
            weight = weights.get(kind, 0.0)
            if weight > 0 or kind in monitored:
                group = kind + 4 * (list(Domain).index(document.domain) + 6 * min(attempts[position + 1], 7))
                rows.append((start + position, int(document.ids[position + 1]), weight, int(group)))
    return rows


def rows_of(batch):
    columns = (batch.row_index, batch.labels, batch.weights, batch.groups)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("monitored", [set(), {Kind.OBSERVATION}])
def test_scored_rows_equal_those_of_a_loop(prepared, layout, monitored):
    collator = Collator(prepared.train, WEIGHTS, monitor=monitored, pad_id=9, layout=layout)
    for step in range(0, prepared.plan.num_steps, 3):
        for pack in prepared.plan.packs(step):
            if pack.is_filler:
                continue
            documents = [prepared.train[index] for index in pack.documents]
            lengths = [len(document.ids) for document in documents]
            width = max(lengths)
            starts = [i * width for i in range(len(lengths))] if layout == "padded" else np.cumsum([0, *lengths])[:-1]
            batch = collator(pack)
            assert rows_of(batch) == slow_rows(documents, starts, WEIGHTS, monitored)
            assert batch.tokens == pack.tokens == sum(lengths) and batch.max_seqlen == width
            flat, positions = batch.input_ids.flatten(), batch.position_ids.flatten()
            for document, start in zip(documents, starts, strict=True):
                assert flat[start : start + len(document)].tolist() == document.ids.tolist()
                assert positions[start : start + len(document)].tolist() == list(range(len(document)))
            if layout == "packed":
                assert batch.cu_seqlens.tolist() == np.cumsum([0, *lengths]).tolist()
                assert batch.input_ids.shape == (1, sum(lengths))
            else:
                assert batch.cu_seqlens is None and batch.input_ids.shape == (len(lengths), width)
                padding = torch.ones(len(flat), dtype=torch.bool)
                for length, start in zip(lengths, starts, strict=True):
                    padding[start : start + length] = False
                assert (flat[padding] == 9).all()


def test_the_last_token_of_a_document_predicts_nothing(prepared):
    every = dict.fromkeys((Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION), 1.0)
    pack = prepared.plan.packs(0)[0]
    batch = Collator(prepared.train, every, pad_id=0)(pack)
    unscored = set(range(batch.tokens)) - set(batch.row_index.tolist())
    assert unscored == {end - 1 for end in batch.cu_seqlens.tolist()[1:]}


def test_packed_and_padded_batches_score_the_same(prepared):
    for pack in prepared.plan.packs(1):
        batches = [
            Collator(prepared.train, WEIGHTS, monitor={Kind.OBSERVATION}, pad_id=0, layout=layout)(pack)
            for layout in ("packed", "padded")
        ]
        scored = [
            [
                (token, *rest)
                for token, (_, *rest) in zip(b.input_ids.flatten()[b.row_index].tolist(), rows_of(b), strict=True)
            ]
            for b in batches
        ]
        assert scored[0] == scored[1]


def test_types_are_those_of_the_contract(prepared):
    batch = Collator(prepared.train, WEIGHTS, pad_id=0)(prepared.plan.packs(0)[0])
    inputs = batch.to_inputs()
    types = {name: value.dtype for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    assert types == {
        "input_ids": torch.int64,
        "position_ids": torch.int64,
        "cu_seqlens": torch.int32,
        "row_index": torch.int64,
        "labels": torch.int64,
        "weights": torch.float32,
        "groups": torch.int64,
    }
    assert (batch.row_index.diff() > 0).all() and inputs["num_groups"] == 192


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_a_filler_pack_is_a_valid_batch_without_scored_rows(prepared, layout):
    batch = Collator(prepared.train, WEIGHTS, pad_id=7, layout=layout)(Pack(0, 3, (), 0))
    assert batch.input_ids.tolist() == [[7]] and batch.position_ids.tolist() == [[0]]
    assert (
        batch.tokens == 0 and len(batch.row_index) == len(batch.labels) == len(batch.weights) == len(batch.groups) == 0
    )
    assert layout == "padded" or batch.cu_seqlens.tolist() == [0, 1]


def test_weights_of_zero_score_nothing(prepared):
    batch = Collator(prepared.train, {Kind.THINKING: 0.0}, pad_id=0)(prepared.plan.packs(0)[0])
    assert len(batch.row_index) == 0 and batch.weights.dtype == torch.float32


def test_wrong_settings_are_refused(prepared):
    with pytest.raises(ConfigError, match="thinking is -1"):
        Collator(prepared.train, {Kind.THINKING: -1.0}, pad_id=0)
    with pytest.raises(ConfigError, match="packed, padded"):
        Collator(prepared.train, WEIGHTS, pad_id=0, layout="ragged")


def test_groups_name_the_predicted_token(prepared):
    batch = Collator(prepared.train, {Kind.ANSWER: 1.0}, pad_id=0)(prepared.plan.packs(0)[0])
    assert set((batch.groups % 4).tolist()) == {int(Kind.ANSWER)}
    assert int(encode_groups(2, 0, 1)) in batch.groups.tolist()
