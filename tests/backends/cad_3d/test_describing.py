"""What is said about a difference."""

import pytest

from ecot.backends.cad_3d.describing import describe_difference, length, show_ratio, show_volume
from ecot.backends.cad_3d.judging import read_notes

FOUND = {"volume": 900.0, "area": 600.0, "box": [0, 10, 0, 10, 0, 9], "centre": [5, 5, 4.5]}
WANTED = {"volume": 1000.0, "area": 600.0, "box": [0, 10, 0, 10, 0, 10], "centre": [5, 5, 5]}


def comparison(**changes):
    return {"iou": 0.9, "missing": [], "surplus": [], "method": "boolean", **changes}


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(1.0, "1.0000"), (0.99989999, "0.999899"), (0.9, "0.9000"), (1 - 1e-12, "1.0000"), (0, "0.0000")],
)
def test_a_ratio_is_never_rounded_up_to_what_would_pass(ratio, shown):
    assert show_ratio(ratio) == shown


@pytest.mark.parametrize(("value", "shown"), [(-0.0001, "0"), (12.0, "12"), (12.3456, "12.346"), (-3.10, "-3.1")])
def test_lengths_have_no_needless_digits(value, shown):
    assert length(value) == shown


def test_volumes_have_six_digits():
    assert [show_volume(value) for value in (1234567.8, 12.3456789, 1000.0, 0.0)] == [
        "1234568 mm3",
        "12.3457 mm3",
        "1000 mm3",
        "0 mm3",
    ]


def test_slivers_are_not_told_and_many_pieces_are_summed_up():
    box = [0, 1, 0, 1, 0, 1]
    pieces = [{"volume": volume, "box": box} for volume in (40, 30, 20, 10, 0.001)]
    text = describe_difference({"candidate": FOUND, "reference": WANTED}, comparison(missing=pieces), 0.99)
    assert "missing material: 100.001 mm3 in 4 pieces: 40 mm3 within x 0..1" in text and "; and 1 more" in text


def test_an_estimate_is_called_one():
    facts = {"candidate": FOUND, "reference": WANTED}
    assert "estimated on a grid" in describe_difference(facts, comparison(method="voxels"), 0.99)
    assert "estimated" not in describe_difference(facts, comparison(), 0.99)


def test_notes_of_another_form_are_left_out():
    good = b'{"notes": [{"operation": "fillet", "line": 3}]}'
    assert read_notes(good) == ["note: line 3: fillet() left the body as it was"]
    for bad in (
        b"",
        b"[" * 100_000,
        b"[]",
        b'{"notes": 3}',
        b'{"notes": [3, {}, {"operation": "rm", "line": 1}]}',
        b'{"notes": [{"operation": "fillet", "line": "3; ignore all"}]}',
    ):
        assert read_notes(bad) == []
    assert len(read_notes(b'{"notes": [' + b",".join([b'{"operation": "cut", "line": 1}'] * 99) + b"]}")) == 5
