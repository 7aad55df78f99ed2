"""Span tables to tokens and rows: against a plain loop, Triton against torch, and both against the collator's rows."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecot.data_mix.batch import Collator, Shard
from ecot.data_mix.groups import DOMAINS, MAX_ATTEMPT
from ecot.data_mix.loss_rules import LossRule
from ecot.data_mix.loss_weights import LossWeights
from ecot.data_mix.plan import Pack as PlannedPack
from ecot.data_mix.spans import SpanCollator, expand_inputs
from ecot.data_mix.store import Details, Document, RunTable
from ecot.kernels.packing.expand import compact_rows, expand_pack
from ecot.kernels.packing.spans import NO_LABEL, ScoringRule, SpanTable
from ecot.outcomes import Label
from ecot.segments import Kind

FIELDS = ("position_ids", "kinds", "labels", "weights", "groups", "scored")
EXAMPLES = settings(deadline=None, max_examples=100)
FEW_EXAMPLES = settings(EXAMPLES, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Pack(NamedTuple):
    runs: list  # per document, (length, kind, attempt)
    domains: list


runs = st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(0, 9))
documents = st.tuples(st.lists(runs, min_size=1, max_size=6), st.integers(0, len(DOMAINS) - 1))


@st.composite
def packs(draw):
    drawn = draw(st.lists(documents, min_size=1, max_size=5))
    padding = draw(st.integers(0, 20))
    if padding:
        drawn.append(([(padding, -1, 0)], 0))
    return Pack([runs for runs, _ in drawn], [domain for _, domain in drawn])


def table_of(pack):
    flat = torch.tensor([run for document in pack.runs for run in document])
    return SpanTable.from_runs(flat, torch.tensor([len(d) for d in pack.runs]), torch.tensor(pack.domains))


def rule_of(weights=(0.0, 1.0, 0.5, 0.0), monitor=(Kind.OBSERVATION,)):
    monitored = torch.tensor([kind in monitor for kind in (0, 1, 2, 3)])
    attempts = MAX_ATTEMPT + 1
    return ScoringRule(
        torch.tensor(weights)[:, None].repeat(1, attempts), monitored[:, None].repeat(1, attempts), len(DOMAINS)
    )


def ids_of(pack, seed=0):
    total = sum(run[0] for document in pack.runs for run in document)
    return torch.randint(0, 1000, (total,), generator=torch.Generator().manual_seed(seed))


def token_by_token(ids, pack, rule):
    """The meaning of it all, without any tensor arithmetic."""
    columns = {name: [] for name in FIELDS}
    token = 0
    for document, domain in zip(pack.runs, pack.domains, strict=True):
        tokens = [(kind, attempt) for length, kind, attempt in document for _ in range(length)]
        for position, (kind, _) in enumerate(tokens):
            label, weight, group, scored = NO_LABEL, 0.0, -1, 0
            if position + 1 < len(tokens) and tokens[position + 1][0] >= 0:
                next_kind, attempt = tokens[position + 1]
                attempt = min(attempt, MAX_ATTEMPT)
                label = int(ids[token + 1])
                weight = float(rule.weights_KA[next_kind, attempt])
                group = next_kind + 4 * (domain + len(DOMAINS) * attempt)
                scored = 1 if weight else 2 if rule.monitored_KA[next_kind, attempt] else 0
            for name, value in zip(FIELDS, (position, kind, label, weight, group, scored), strict=True):
                columns[name].append(value)
            token += 1
    return columns


@EXAMPLES
@given(packs())
def test_expansion_equals_the_plain_loop(pack):
    ids, rule = ids_of(pack), rule_of()
    expanded = expand_pack(ids, table_of(pack), rule)
    expected = token_by_token(ids, pack, rule)
    assert {name: getattr(expanded, name).tolist() for name in FIELDS} == expected
    numbers = rule.count(table_of(pack))
    assert numbers == (expected["scored"].count(1), expected["scored"].count(2))
    rows = compact_rows(expanded, *numbers, rule.num_groups)
    order = [t for code in (1, 2) for t, scored in enumerate(expected["scored"]) if scored == code]
    assert rows.row_index.tolist() == order and rows.num_trained == numbers[0]
    assert rows.labels.tolist() == [expected["labels"][t] for t in order]
    assert rows.groups.tolist() == [expected["groups"][t] for t in order]


@FEW_EXAMPLES
@given(pack=packs())
def test_triton_equals_torch_to_the_bit(pack, triton_device):
    compare_implementations(pack, triton_device)


@pytest.mark.parametrize("tokens", [1, 2, 1024, 1025, 2500])
def test_triton_equals_torch_across_blocks(tokens, triton_device):
    whole = Pack([[(tokens, 1, 1)]], [5])
    halves = Pack([[(max(1, tokens // 2), 2, 8), (3, 3, 1)], [(tokens, -1, 0)]], [3, 0])
    singles = Pack([[(1, 1, 0)] for _ in range(min(tokens, 70))], [0] * min(tokens, 70))
    for pack in (whole, halves, singles):
        compare_implementations(pack, triton_device)


def compare_implementations(pack, device):
    ids, rule = ids_of(pack), rule_of()
    numbers = rule.count(table_of(pack))
    results = []
    for implementation in ("torch", "triton"):
        expanded = expand_pack(
            ids.to(device), table_of(pack).to(device), rule.to(device), implementation=implementation
        )
        rows = compact_rows(expanded, *numbers, rule.num_groups, implementation=implementation)
        columns = [getattr(expanded, name) for name in FIELDS]
        results.append([*columns, rows.row_index, rows.labels, rows.weights, rows.groups])
    for first, second in zip(*results, strict=True):
        assert first.dtype == second.dtype and torch.equal(first, second)


def documents_of(pack, ids):
    """The documents of a pack without its padded tail, of alternating verdicts."""
    documents, start = [], 0
    for number, (document, domain) in enumerate(zip(pack.runs, pack.domains, strict=True)):
        if document[0][1] < 0:
            continue
        length = sum(run[0] for run in document)
        columns = RunTable(*np.array(document, np.int32).T)
        details = Details("", "", [Label.PASS, Label.TIMEOUT][number % 2], (), "")
        own_ids = ids[start : start + length].numpy()
        documents.append(Document(own_ids, columns, DOMAINS[domain], lambda details=details: details))
        start += length
    return documents


def without_padding(pack):
    real = [index for index, document in enumerate(pack.runs) if document[0][1] >= 0]
    return Pack([pack.runs[index] for index in real], [pack.domains[index] for index in real])


@EXAMPLES
@given(packs())
def test_rows_are_those_of_the_collator(pack):
    """The collator's documents have no padded tail: it is left out here."""
    pack = without_padding(pack)
    ids, rule = ids_of(pack).int(), rule_of()
    weights = {Kind.THINKING: 1.0, Kind.ANSWER: 0.5}
    batch = Collator(None, weights, monitor=(Kind.OBSERVATION,), pad_id=0).collate(documents_of(pack, ids))
    table = table_of(pack)
    expanded = expand_pack(ids, table, rule)
    rows = compact_rows(expanded, *rule.count(table), rule.num_groups)
    assert rule.num_groups == batch.num_groups
    assert torch.equal(table.cu_seqlens, batch.cu_seqlens)
    assert torch.equal(expanded.position_ids, batch.position_ids[0])
    trained = batch.weights != 0
    order = torch.cat([trained.nonzero()[:, 0], (~trained).nonzero()[:, 0]])
    for name in ("row_index", "labels", "weights", "groups"):
        ours, theirs = getattr(rows, name), getattr(batch, name)[order]
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)


@FEW_EXAMPLES
@given(packs(), st.integers(1, 3), st.booleans())
def test_the_path_of_a_device_gives_the_rows_of_the_host(triton_device, pack, shards, with_rules):
    """From documents to the model's inputs by the kernels, against the collator in numpy; padding comes from shards."""
    pack = without_padding(pack)
    documents = documents_of(pack, ids_of(pack).int())
    weights = {Kind.THINKING: 1.0, Kind.ANSWER: 0.3}
    rules = [LossRule(factor=0.7, verdicts=[Label.TIMEOUT]), LossRule(factor=0, min_attempt=3)] if with_rules else []
    for rank in range(shards):
        collator = Collator(
            documents,
            LossWeights(weights, rules),
            monitor={Kind.OBSERVATION},
            pad_id=5,
            shard=Shard(rank, shards),
        )
        planned = PlannedPack(0, 0, tuple(range(len(documents))), 0)
        expected = collator(planned).to_inputs()
        trained = expected["weights"] != 0
        order = torch.cat([trained.nonzero()[:, 0], (~trained).nonzero()[:, 0]])
        sent = SpanCollator(collator)(planned).to_inputs()
        moved = {n: v.to(triton_device) if isinstance(v, torch.Tensor) else v for n, v in sent.items()}
        found = expand_inputs(moved, implementation="triton")
        assert found.pop("num_trained") == int(trained.sum()) and found.keys() == expected.keys()
        for name, value in expected.items():
            value = value[order] if name in ("row_index", "labels", "weights", "groups") else value
            if isinstance(value, torch.Tensor):
                assert value.dtype == found[name].dtype and torch.equal(value, found[name].cpu()), name
            else:
                assert value == found[name]


def test_empty_runs_are_dropped_and_empty_documents_refused():
    runs = torch.tensor([[0, 0, 0], [2, 1, 1], [0, 3, 1], [4, 2, 2]])
    table = SpanTable.from_runs(runs, torch.tensor([3, 1]), torch.tensor([0, 1]))
    assert table.run_ends.tolist() == [2, 6] and table.cu_seqlens.tolist() == [0, 2, 6]
    with pytest.raises(ValueError, match="document 0 of the pack has no token"):
        SpanTable.from_runs(runs, torch.tensor([1, 3]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="do not belong together"):
        SpanTable.from_runs(runs, torch.tensor([3]), torch.tensor([0]))


def test_numbers_that_do_not_match_are_refused():
    pack = Pack([[(5, 1, 1)]], [0])
    expanded = expand_pack(ids_of(pack), table_of(pack), rule_of())
    with pytest.raises(ValueError, match="3 trained and 1 monitored rows were announced, and the pack has 4 and 0"):
        compact_rows(expanded, 3, 1, 192)
    with pytest.raises(ValueError, match="no tokens"):
        expand_pack(torch.empty(0, dtype=torch.int64), table_of(pack), rule_of())
