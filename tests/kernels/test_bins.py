"""The packer places documents exactly as best-fit-decreasing written per document."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecot.kernels.packing.bins import best_fit_decreasing, volume_bound


def one_by_one(lengths, capacity):
    """Best-fit-decreasing per document: the smallest space that fits; of equal ones the one that came last."""
    with_space, bins = {}, []
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        fitting = [space for space, holders in with_space.items() if space >= lengths[item] and holders]
        space = min(fitting, default=capacity)
        if fitting:
            chosen = with_space[space].pop()
        else:
            chosen = len(bins)
            bins.append([])
        bins[chosen].append(item)
        with_space.setdefault(space - lengths[item], []).append(chosen)
    return bins


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 40).flatmap(lambda capacity: st.tuples(st.just(capacity), st.lists(st.integers(1, capacity)))))
def test_the_result_is_that_of_the_loop_per_document(case):
    capacity, lengths = case
    packed = best_fit_decreasing(lengths, capacity)
    assert [packed[index].tolist() for index in range(packed.num_bins)] == one_by_one(lengths, capacity)


def test_lengths_beyond_16_bits_are_ordered_too():
    lengths = np.random.default_rng(0).integers(1, 200_000, 400)
    packed = best_fit_decreasing(lengths, 200_000)
    assert [packed[index].tolist() for index in range(packed.num_bins)] == one_by_one(lengths.tolist(), 200_000)


@pytest.mark.parametrize(("mean", "capacity"), [(800, 4096), (7300, 32_768), (17_600, 65_536)])
def test_bins_are_within_three_thousandths_of_the_volume_bound(mean, capacity):
    lengths = np.random.default_rng(0).lognormal(np.log(mean) - 0.5, 1.0, 100_000).clip(16, capacity).astype(np.int64)
    packed = best_fit_decreasing(lengths, capacity)
    fill = packed.fill(lengths)
    assert np.array_equal(np.sort(packed.items), np.arange(len(lengths)))
    assert fill.max() <= capacity and fill.sum() == lengths.sum()
    assert packed.num_bins <= 1.003 * volume_bound(lengths, capacity)


def test_bounds_and_edges():
    assert volume_bound([3, 3, 3], 4) == 3 and volume_bound([], 4) == 0
    nothing = best_fit_decreasing([], 4)
    assert nothing.num_bins == 0 and nothing.fill([]).tolist() == []
    packed = best_fit_decreasing([4, 2, 2], 4)
    assert packed.num_bins == 2 and packed[-1].tolist() == [1, 2] and packed.fill([4, 2, 2]).tolist() == [4, 4]
    with pytest.raises(IndexError):
        packed[2]


@pytest.mark.parametrize("lengths", [[3, 0], [3, 5, 9]])
def test_a_document_that_no_bin_holds_is_named(lengths):
    with pytest.raises(ValueError, match="document 1 has"):
        best_fit_decreasing(lengths, 4)
