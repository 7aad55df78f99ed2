"""Group ids: one integer each way."""

import itertools

import numpy as np
import pytest
import torch

from ecot.data_mix.groups import DOMAINS, KINDS, NUM_GROUPS, decode_group, domain_index, encode_groups, marginalise
from ecot.outcomes import Domain
from ecot.segments import Kind


def test_ids_are_dense_and_invert():
    ids = []
    for attempt, domain, kind in itertools.product(range(8), DOMAINS, KINDS):
        group = int(encode_groups(kind, domain_index(domain), attempt))
        assert decode_group(group) == (kind, domain, attempt)
        ids.append(group)
    assert ids == list(range(NUM_GROUPS)) and NUM_GROUPS == 192


def test_the_formula_is_that_of_the_contract():
    assert encode_groups(np.array([3]), 2, np.array([11])).tolist() == [3 + 4 * (2 + 6 * 7)]
    assert list(DOMAINS) == list(Domain)


def test_marginal_sums():
    stats = torch.arange(NUM_GROUPS * 2, dtype=torch.float64).reshape(NUM_GROUPS, 2)
    by_kind = marginalise(stats, lambda group: group.kind)
    assert by_kind[Kind.ANSWER].tolist() == stats[2::4].sum(dim=0).tolist()
    assert sum(row.sum() for row in by_kind.values()) == stats.sum()


def test_wrong_ids_are_refused():
    with pytest.raises(ValueError, match="192"):
        decode_group(192)
    with pytest.raises(ValueError, match="expected 192"):
        marginalise(torch.zeros(3), lambda group: group.kind)
