"""Values cross the border exactly, and only plain ones; what the candidate's process writes is read with suspicion."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecot.backends.general.comparing import is_same, show
from ecot.backends.general.records import Raised, Returned, read_transcript
from ecot.backends.general.values import UnencodableError, decode, encode

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.sets(st.integers() | st.text(), max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_a_value_comes_back_as_it_was(value):
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value and repr(type(back)) == repr(type(value))
    assert is_same(back, value, 0.0, 0.0)


def test_numbers_without_an_order_come_back_too():
    assert math.isnan(decode(encode(float("nan")))) and decode(encode(-0.0)) == 0.0
    assert math.copysign(1, decode(encode(-0.0))) == -1 and decode(encode(1 + 2j)) == 1 + 2j
    assert decode(encode(frozenset({1}))) == frozenset({1}) and type(decode(encode(bytearray(b"a")))) is bytearray


@pytest.mark.parametrize(
    "value", [object(), len, type("Own", (int,), {})(3), [type("Own", (str,), {})("x")], {1: iter(())}]
)
def test_what_is_not_plain_data_stays_out(value):
    with pytest.raises(UnencodableError, match="an object of type"):
        encode(value)


def test_depth_is_bounded():
    loop = []
    loop.append(loop)
    with pytest.raises(UnencodableError, match="nested too deeply"):
        encode(loop)


@pytest.mark.parametrize(
    ("got", "want"),
    [(True, 1), (1, True), (1.0, 1), ([1], (1,)), ({1: 2}, {True: 2}), ("a", b"a"), ([1, 2], [1]), (None, 0), (2, 1.0)],
)
def test_equal_is_not_the_same(got, want):
    assert not is_same(got, want, 1e-9, 1e-9)


def test_a_whole_number_may_stand_for_a_floating_point_one():
    assert is_same(1, 1.0, 0, 0) and is_same([1.0 + 1e-10], [1.0], 1e-9, 0) and not is_same([1.1], [1.0], 1e-9, 0)
    assert is_same(float("nan"), float("nan"), 0, 0) and not is_same(1e308, math.inf, 1e-9, 1e300)


def test_sets_are_shown_in_one_order():
    assert show({"b", "a", "c"}) == "{'a', 'b', 'c'}" and show(frozenset()) == "frozenset(set())"
    assert show((1,)) == "(1,)" and show({"k": {2, 1}}) == "{'k': {1, 2}}" and len(show("x" * 1000)) == 163


def line(nonce, kind, content):
    return json.dumps([nonce, kind, content]) + "\n"


def test_records_of_the_harness_are_read():
    raw = line("n", "result", encode(5)) + line("n", "raised", ["KeyError", "'x'", 3]) + line("n", "end", 2)
    transcript = read_transcript(raw.encode(), "n")
    assert transcript.outcomes == (Returned(5, {"int": "0x5"}), Raised("KeyError", "'x'", 3))
    assert transcript.ended and not transcript.foreign


@pytest.mark.parametrize(
    "text",
    [
        "hello\n",
        line("other", "end", 0),
        line("n", "grant", 1),
        "[" * 100_000,
        line("n", "result", {"int": "five"}),
        line("n", "result", {"set": [[1]]}),
        line("n", "result", {"dict": [[{"dict": []}, 1]]}),
        line("n", "raised", 5),
        line("n", "end", 0) + line("n", "result", 5),
        "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    ],
)
def test_what_the_harness_would_not_write_is_noticed(text):
    transcript = read_transcript(text.encode(), "n")
    assert transcript.foreign


def test_a_false_count_is_no_end():
    assert not read_transcript(line("n", "end", 3).encode(), "n").ended
