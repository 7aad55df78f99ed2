"""Span tables that a device expands, and shards of sequence ranks: the same batches, to the bit."""

import pytest
import torch

from ecot.data_mix.batch import Collator, Shard
from ecot.data_mix.config import Count
from ecot.data_mix.loss_rules import LossRule
from ecot.data_mix.loss_weights import LossWeights
from ecot.data_mix.plan import Pack
from ecot.data_mix.prepare import prepare
from ecot.data_mix.spans import SpanCollator, expand_inputs, expands_on_device
from ecot.errors import ConfigError
from ecot.kernels.linear_cross_entropy import ScoredRows
from ecot.outcomes import Label
from ecot.segments import Kind

KINDS = {Kind.THINKING: 1.0, Kind.ANSWER: 0.3}
RULES = [LossRule(factor=0.7, labels=[Label.COMPILATION_ERROR]), LossRule(factor=1.9, last=True)]
ROWS = ("row_index", "labels", "weights", "groups")


@pytest.fixture
def prepared(run_paths, data_config):
    return prepare(data_config(count=Count.SUPERVISED), run_paths, seed=1)


def every_pack(plan):
    packs = [pack for step in range(plan.num_steps) for pack in plan.packs(step)]
    assert any(pack.is_filler for pack in packs)
    return packs


def host_inputs(batch):
    """As the feed gives them: trained rows first."""
    inputs = batch.to_inputs()
    rows = ScoredRows(*(inputs[name] for name in ROWS), batch.num_groups).trained_first()
    return inputs | {name: getattr(rows, name) for name in (*ROWS, "num_trained")}


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("monitored", [set(), {Kind.OBSERVATION}])
@pytest.mark.parametrize("rules", [[], RULES])
def test_a_device_makes_the_rows_of_the_host(prepared, rules, monitored, shards):
    weights = LossWeights(KINDS, rules)
    for rank in range(shards):
        shard = Shard(rank, shards)
        collator = Collator(prepared.train, weights, monitor=monitored, pad_id=9, shard=shard)
        on_device = SpanCollator(collator)
        for pack in every_pack(prepared.plan):
            batch, spans = collator(pack), on_device(pack)
            expected, found = host_inputs(batch), expand_inputs(spans.to_inputs())
            assert expected.keys() == found.keys()
            for name, value in expected.items():
                if isinstance(value, torch.Tensor):
                    assert value.dtype == found[name].dtype and torch.equal(value, found[name]), name
                else:
                    assert value == found[name], name
            assert spans.weight_sum == batch.weight_sum == pytest.approx(batch.weights.double().sum().item())


@pytest.mark.parametrize("shards", [2, 3, 8])
def test_shards_joined_are_the_whole_batch(prepared, shards):
    """Labels reach over the cut, indices are local, and the sums over shards are those of the whole."""

    def collator(shard):
        return Collator(prepared.train, LossWeights(KINDS, RULES), monitor={Kind.OBSERVATION}, pad_id=9, shard=shard)

    without_rows = 0
    for pack in every_pack(prepared.plan):
        whole = collator(Shard())(pack)
        parts = [collator(Shard(rank, shards))(pack) for rank in range(shards)]
        width = parts[0].input_ids.shape[1]
        padding = shards * width - whole.input_ids.shape[1]
        assert 0 <= padding < shards and all(part.input_ids.shape == (1, width) for part in parts)
        joined = torch.cat([part.input_ids for part in parts], dim=1)
        assert joined[0, : whole.input_ids.shape[1]].tolist() == whole.input_ids[0].tolist()
        assert joined[0, whole.input_ids.shape[1] :].tolist() == [9] * padding
        positions = torch.cat([part.position_ids for part in parts], dim=1)[0].tolist()
        filler = pack.is_filler
        assert filler or positions == whole.position_ids[0].tolist() + list(range(padding))
        bounds = whole.cu_seqlens.tolist() + ([shards * width] if padding else [])
        assert all(filler or part.cu_seqlens.tolist() == bounds for part in parts)
        rows = torch.cat([part.row_index + rank * width for rank, part in enumerate(parts)])
        assert torch.equal(rows, whole.row_index)
        for name in ("labels", "weights", "groups"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
        assert sum(part.tokens for part in parts) == whole.tokens == pack.tokens
        assert sum(part.weight_sum for part in parts) == pytest.approx(whole.weight_sum)
        assert all(((part.row_index >= 0) & (part.row_index < width)).all() for part in parts)
        without_rows += any(len(part.row_index) == 0 for part in parts)
    assert without_rows  # the filler at least, and with 8 shards some that hold a prompt only


def test_a_label_may_lie_in_the_next_shard(prepared):
    pack = prepared.plan.packs(0)[0]
    every = dict.fromkeys((Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION), 1.0)
    first, second = (Collator(prepared.train, every, pad_id=0, shard=Shard(rank, 2))(pack) for rank in (0, 1))
    width = first.input_ids.shape[1]
    assert width not in first.cu_seqlens.tolist()  # the cut lies inside a document
    assert first.row_index[-1] == width - 1 and first.labels[-1] == second.input_ids[0, 0]


def test_a_filler_is_padding_on_every_shard(prepared):
    for rank in range(4):
        collator = Collator(prepared.train, KINDS, pad_id=7, shard=Shard(rank, 4))
        for inputs in (
            collator(Pack(0, 0, (), 0)).to_inputs(),
            expand_inputs(SpanCollator(collator)(Pack(0, 0, (), 0)).to_inputs()),
        ):
            assert inputs["input_ids"].tolist() == [[7]] and len(inputs["row_index"]) == 0
            assert inputs["cu_seqlens"].tolist() == [0, 4]


def test_the_switch():
    assert not expands_on_device("auto", "packed", cuda=False) and expands_on_device("auto", "packed", cuda=True)
    assert not expands_on_device("auto", "padded", cuda=True) and not expands_on_device("host", "packed", cuda=True)
    assert expands_on_device("device", "packed", cuda=False)
    with pytest.raises(ConfigError, match="layout: packed"):
        expands_on_device("device", "padded", cuda=True)


def test_shards_must_fit(prepared):
    with pytest.raises(ConfigError, match=r"sequence rank 2 is not in 0\.\.1"):
        Shard(2, 2)
    with pytest.raises(ConfigError, match="cannot be split over 2"):
        Collator(prepared.train, KINDS, pad_id=0, layout="padded", shard=Shard(0, 2))
