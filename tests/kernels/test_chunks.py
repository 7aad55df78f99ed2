"""Chunks stay within the workspace and use the device well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecot.kernels.linear_cross_entropy.chunks import DEFAULT_WORKSPACE_BYTES, choose_chunk_rows, wave_efficiency


@pytest.mark.parametrize(
    ("rows", "width", "percent"),
    [(512, 5120, 61), (1024, 5120, 61), (1664, 5120, 98), (2048, 5120, 81), (4224, 5120, 100), (2048, 4096, 97)],
)
def test_wave_efficiency_on_132_multiprocessors(rows, width, percent):
    assert round(100 * wave_efficiency(rows, width, 132)) == percent


@given(
    st.integers(0, 200_000),
    st.integers(1, 160_000),
    st.sampled_from([64, 4096, 5120]),
    st.sampled_from([2, 4]),
    st.integers(1, 1 << 32),
    st.sampled_from([1, 132]),
)
def test_a_chunk_fits_the_workspace_or_is_one_row(num_rows, vocab, width, element_bytes, workspace_bytes, processors):
    rows = choose_chunk_rows(num_rows, vocab, width, element_bytes, workspace_bytes, processors)
    assert rows == 1 or 1 <= rows * vocab * element_bytes <= workspace_bytes
    if num_rows * vocab * element_bytes <= workspace_bytes:
        assert rows == max(1, num_rows)
    else:
        most = workspace_bytes // (vocab * element_bytes)
        assert most < 256 or rows % 128 == 0
        assert rows * 4 >= min(num_rows, most)  # not many more chunks than are needed


def test_the_32b_head():
    """6,990 rows fit 1 GiB; twice as many go in even chunks that fill the last wave."""
    one_chunk = choose_chunk_rows(6990, 76_800, 5120, 2, DEFAULT_WORKSPACE_BYTES, 132)
    assert one_chunk == 6990
    rows = choose_chunk_rows(16_384, 76_800, 5120, 2, DEFAULT_WORKSPACE_BYTES, 132)
    assert -(-16_384 // rows) <= 4 and wave_efficiency(rows, 5120, 132) > 0.9


def test_a_workspace_of_nothing_is_refused():
    with pytest.raises(ValueError, match="workspace_bytes is -1"):
        choose_chunk_rows(10, 100, 8, 2, -1)
