"""Filters against brute force: near duplicates, benchmarks, lengths; with samples of what they removed."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from ecot.data_mix.config import SourceConfig
from ecot.data_mix.ledger import Entry, Fate
from ecot.data_mix.near_duplicates import BANDS, band_keys, jaccard, shared_bands
from ecot.data_mix.ngrams import lexical_items, ngram_hashes
from ecot.data_mix.store_builder import StoreBuilder
from ecot.errors import DataError
from ecot.progress import no_progress
from ecot.segments import SUPERVISED_KINDS
from ecot.trajectories import Message, Role
from ecot.trajectory_io import write_trajectories


@pytest.fixture
def build(tmp_path, tokenizer, data_config):
    def make(trajectories, **filters):
        tokenizer.save_pretrained(tmp_path / "tok")
        write_trajectories(tmp_path / "rows.jsonl", trajectories)
        config = data_config(filters=filters, packing={"pack_tokens": 4096, "global_batch_tokens": 4096})
        source = SourceConfig(path=tmp_path / "rows.jsonl")
        return StoreBuilder(config, [source], tmp_path / "tok", tmp_path / "store", 16).build(no_progress)

    return make


def altered(trajectory, rng, share, name):
    """A copy in which a share of the words of thoughts and answers is replaced."""

    def alter(text):
        return " ".join(f"w{rng.randrange(10**6)}" if rng.random() < share else word for word in text.split(" "))

    messages = [
        replace(m, content=alter(m.content), reasoning_content=alter(m.reasoning_content))
        if m.role is Role.ASSISTANT
        else m
        for m in trajectory.messages
    ]
    return replace(trajectory, id=name, messages=tuple(messages))


def supervised_shingles(document, width):
    """Independent of the code under test: sets of tuples, token by token."""
    kinds = [kind for length, kind, _ in document.runs for _ in range(length)]
    ids = [token for token, kind in zip(document.ids.tolist(), kinds, strict=True) if kind in SUPERVISED_KINDS]
    return {tuple(ids[i : i + width]) for i in range(len(ids) - width + 1)}


def test_near_duplicates_are_those_of_all_pairs(build, make_trajectory):
    rng = random.Random(4)
    originals = [make_trajectory(number, turns=2, words=60) for number in range(30)]
    rows = []
    for number, trajectory in enumerate(originals):
        rows.append(trajectory)
        for copy, share in enumerate((0.0, 0.005, 0.02, 0.1, 0.3)):
            rows.append(altered(trajectory, rng, share, f"copy-{number}-{copy}"))
    rng.shuffle(rows)
    threshold, width = 0.8, 8
    everything = build(rows, exact_duplicates=False)
    shingles = [supervised_shingles(document, width) for document in everything]
    kept, expected = [], []
    for index, own in enumerate(shingles):
        similarities = [len(own & shingles[other]) / len(own | shingles[other]) for other in kept]
        if max(similarities, default=0) >= threshold:
            continue
        kept.append(index)
        expected.append(everything[index].trajectory_id)
    found = build(rows, exact_duplicates=False, near_duplicates={"threshold": threshold, "ngram": width})
    assert 30 <= len(expected) <= 120
    assert [document.trajectory_id for document in found] == expected
    line = found.ledger.lines
    assert sum(tally.rows for entry, tally in line.items() if entry.reason == "near_duplicate") == 180 - len(expected)
    assert len(found.manifest["samples"]["near_duplicate"]) == 5
    assert "similarity" in found.manifest["samples"]["near_duplicate"][0]


def test_band_keys_find_similar_sets_and_not_others():
    generator = np.random.default_rng(0)
    found = {0.5: 0, 0.8: 0, 0.95: 0}
    for similarity in found:
        for _ in range(200):
            shared = round(1000 * 2 * similarity / (1 + similarity))
            left, right = (generator.integers(0, 2**64 - 1, 1000, np.uint64) for _ in range(2))
            right[:shared] = left[:shared]
            left, right = np.unique(left), np.unique(right)
            assert jaccard(left, right) == pytest.approx(similarity, abs=0.01)
            found[similarity] += (band_keys(left) == band_keys(right)).any()
    # 1 - (1 - s**8) ** 16, the probability of a candidate: 0.06, 0.95, 1.0
    assert found[0.5] <= 30 and found[0.8] >= 175 and found[0.95] == 200


def test_few_shingles_still_give_equal_keys_for_equal_sets():
    few = np.array([5, 2**60, 2**63], np.uint64)
    assert (band_keys(few) == band_keys(few.copy())).all()
    assert not (band_keys(few) == band_keys(np.array([6, 2**61, 2**62 + 7], np.uint64))).any()
    assert band_keys(np.empty(0, np.uint64)).shape == (BANDS,)


def test_rows_alone_in_a_band_have_no_group():
    groups = shared_bands(np.array([[1, 5], [2, 5], [1, 6]], np.uint64))
    assert groups[0, 0] == groups[2, 0] >= 0 and groups[1, 0] == -1
    assert groups[0, 1] == groups[1, 1] >= 0 and groups[2, 1] == -1


def test_ngram_hashes_are_equal_where_ngrams_are():
    items = np.array([1, 2, 3, 1, 2, 3, 4], np.int32)
    hashes = ngram_hashes(items, 3).tolist()
    tuples = [tuple(items[i : i + 3]) for i in range(5)]
    assert [[a == b for b in hashes] for a in hashes] == [[a == b for b in tuples] for a in tuples]
    assert len(ngram_hashes(items, 8)) == 0


def test_lexical_items_see_through_formatting():
    left = lexical_items("assign  y_out = A+B;\n// sum")
    assert left.tolist() == lexical_items("ASSIGN y out=a + b ; //sum").tolist()
    assert len(left) == 11


REFERENCE = """
module TopModule (input clk, input reset, input [7:0] d, output reg [7:0] q);
  always @(posedge clk) begin
    if (reset) q <= 8'd0; else q <= d ^ {q[6:0], q[7]};
  end
endmodule
"""


def test_rows_that_hold_a_benchmark_are_left_out(tmp_path, build, trajectories, make_trajectory):
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "rows.jsonl").write_text(json.dumps({"id": 1, "tests": ["short"], "solution": {"code": REFERENCE}}) + "\n")
    (bench / "prompt.txt").write_text(
        "Write a counter that counts the days until the next leap year begins, in Gray code."
    )
    (bench / "image.bin").write_bytes(b"\xff\xfe\x00" * 40)
    reformatted = REFERENCE.replace("\n", " ").replace("  ", "\n\t")
    holds = make_trajectory(700)
    code = Message(Role.ASSISTANT, f"```\n{reformatted}\n```", "Copied.")
    asks = make_trajectory(701)
    question = Message(
        Role.USER, "Please: write a counter that counts the DAYS until the next leap year begins, in gray code!"
    )
    rows = [
        *trajectories[:20],
        replace(holds, messages=(*holds.messages[:2], code, *holds.messages[3:])),
        replace(asks, messages=(asks.messages[0], question, *asks.messages[2:])),
    ]
    store = build(rows, decontaminate={"benchmarks": [str(bench)]})
    assert [document.trajectory_id for document in store] == [trajectory.id for trajectory in trajectories[:20]]
    samples = store.manifest["samples"]["contaminated"]
    assert "rows.jsonl:1.solution.code" in samples[0] and "holds 100%" in samples[0]
    assert "prompt.txt" in samples[1]
    assert store.ledger.lines[Entry(Fate.LEFT_OUT, "contaminated", holds.domain)].rows == 2


def test_a_benchmark_that_cannot_be_read_is_named(tmp_path, build, trajectories):
    with pytest.raises(DataError, match="nowhere does not exist"):
        build(trajectories[:2], decontaminate={"benchmarks": [str(tmp_path / "nowhere")]})
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(DataError, match="no text of at least 13 words"):
        build(trajectories[:2], decontaminate={"benchmarks": [str(tmp_path / "short.txt")]})


def test_length_bounds(build, trajectories):
    everything = build(trajectories[:30])
    lengths = everything.lengths
    low, high = int(np.quantile(lengths, 0.3)), int(np.quantile(lengths, 0.7))
    bounded = build(trajectories[:30], min_tokens=low, max_tokens=high)
    assert bounded.lengths.tolist() == [length for length in lengths if low <= length <= high]
    reasons = {entry.reason for entry in bounded.ledger.lines if entry.fate is Fate.LEFT_OUT}
    assert reasons == {"too_short", "too_long"}
    assert bounded.ledger.total([Fate.KEPT, Fate.LEFT_OUT]).tokens == lengths.sum()
