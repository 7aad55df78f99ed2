"""Filters against brute force: near duplicates, benchmarks, lengths; with samples of what they removed."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from ecot.config import validate_config
from ecot.data_mix.config import SourceConfig
from ecot.data_mix.filter_config import FilterConfig
from ecot.data_mix.ledger import Entry, Fate
from ecot.data_mix.near_duplicates import BANDS, band_keys, groups_of, jaccard
from ecot.data_mix.ngrams import code_items, lexical_items, ngram_hashes
from ecot.data_mix.store_builder import StoreBuilder
from ecot.errors import ConfigError, DataError
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
    numbers, count = groups_of(np.array([7, 5, 7, 9, 5, 1], np.uint64))
    assert count == 2
    assert numbers[0] == numbers[2] and numbers[1] == numbers[4] and numbers[0] != numbers[1]
    assert sorted(numbers.tolist()) == [-1, -1, 0, 0, 1, 1]


def test_bands_of_many_rows_leave_nothing_behind(tmp_path, build, trajectories):
    """They lie in files without a name, so a killed run leaves no litter; the store holds only its own."""
    store = build(trajectories, near_duplicates={})
    files = sorted(path.name for path in store.folder.iterdir() if path.is_file())
    without = sorted(path.name for path in build(trajectories).folder.iterdir() if path.is_file())
    assert len(files) == len(without)
    few = build(trajectories[:1], near_duplicates={})
    assert len(few) == 1
    none = build([replace(trajectories[0], id="a"), replace(trajectories[0], id="b")], near_duplicates={})
    assert len(none) == 1


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


PLAIN_CODE = "int f(int a){\n#include <x.h>\n  y <= #10 a; return a / 2;\n}"


@pytest.mark.parametrize(
    "remarked",
    [
        "// new header\nint f(int a){ // takes a\n#include <x.h>\n  y <= #10 a; return a / 2; /* half\n of it */\n}",
        "# by someone\nint f(int a){\n#include <x.h>\n  y <= #10 a;  # delay\n return a / 2;\n}",
    ],
)
def test_code_is_told_apart_from_its_comments(remarked):
    assert code_items(remarked).tolist() == code_items(PLAIN_CODE).tolist() == lexical_items(PLAIN_CODE).tolist()
    assert lexical_items(remarked).tolist() != lexical_items(PLAIN_CODE).tolist()


def copy_of_reference(trajectory, code):
    message = Message(Role.ASSISTANT, f"```\n{code}\n```", "Copied.")
    return replace(trajectory, messages=(*trajectory.messages[:2], message, *trajectory.messages[3:]))


def test_a_reference_under_new_comments_is_still_found(tmp_path, build, make_trajectory):
    (tmp_path / "bench.jsonl").write_text(json.dumps({"reference": REFERENCE}) + "\n")
    lines = [f"{line} // step {number}: as the task says" for number, line in enumerate(REFERENCE.split("\n"))]
    rows = [make_trajectory(1), copy_of_reference(make_trajectory(2), "\n".join(lines))]
    store = build(rows, decontaminate={"benchmarks": [str(tmp_path / "bench.jsonl")], "min_share": 0.8})
    assert [document.trajectory_id for document in store] == ["trajectory-1"]
    assert "holds 100%" in store.manifest["samples"]["contaminated"][0]


@pytest.mark.parametrize("options", [{"past_thinking": "expand"}, {"over_long": "split"}])
def test_benchmarks_are_looked_for_in_every_document_of_a_row(
    tmp_path, make_renderer, data_config, make_trajectory, options
):
    """The copy stands in the first attempt, which later documents of the row do not hold."""
    make_renderer(past_thinking=options.get("past_thinking", "keep")).tokenizer.save_pretrained(tmp_path / "tok")
    (tmp_path / "bench.jsonl").write_text(json.dumps({"reference": REFERENCE}) + "\n")
    rows = [make_trajectory(1, turns=4), copy_of_reference(make_trajectory(2, turns=4), REFERENCE)]
    write_trajectories(tmp_path / "rows.jsonl", rows)
    config = data_config(
        filters={"decontaminate": {"benchmarks": [str(tmp_path / "bench.jsonl")]}},
        packing={"pack_tokens": 320, "global_batch_tokens": 320},
        max_lost=1.0,
        **options,
    )
    source = SourceConfig(path=tmp_path / "rows.jsonl")
    store = StoreBuilder(config, [source], tmp_path / "tok", tmp_path / "store").build(no_progress)
    assert {store[index].trajectory_id for index in range(len(store))} == {"trajectory-1"} and len(store) > 1


def test_labels_of_any_attempt(build, trajectories):
    failed = {t.id for t in trajectories[:30] if len(t.attempts) > 1}
    store = build(trajectories[:30], with_labels=["COMPILATION_ERROR"])
    assert {document.trajectory_id for document in store} == failed
    rest = build(trajectories[:30], without_labels=["COMPILATION_ERROR"])
    assert {document.trajectory_id for document in rest} == {t.id for t in trajectories[:30]} - failed
    reasons = {entry.reason: tally.rows for entry, tally in rest.ledger.lines.items() if entry.fate is Fate.LEFT_OUT}
    assert set(reasons) == {"label"}
    assert rest.ledger.total([Fate.LEFT_OUT]).rows == len(failed)
    assert rest.ledger.total([Fate.LEFT_OUT]).tokens == store.ledger.total([Fate.KEPT]).tokens
    assert rest.manifest["samples"]["label"][0].endswith("an attempt ends with COMPILATION_ERROR")


def test_a_domain_is_capped_by_content_and_not_by_place(build, trajectories):
    everything = build(trajectories)
    totals = {}
    for index in range(len(everything)):
        document = everything[index]
        totals[document.domain] = totals.get(document.domain, 0) + len(document)
    cap = totals["chip_design"] // 3
    capped = build(trajectories, domain_tokens={"chip_design": cap})
    kept = [capped[index] for index in range(len(capped))]
    own = sum(len(document) for document in kept if document.domain == "chip_design")
    assert cap - 512 < own <= cap
    assert sum(len(document) for document in kept) - own == sum(totals.values()) - totals["chip_design"]
    entry = Entry(Fate.LEFT_OUT, "domain_cap", kept[0].domain)
    assert capped.ledger.lines[entry].tokens == totals["chip_design"] - own
    assert len(capped.manifest["samples"]["domain_cap"]) == 5
    numbers = [int(d.trajectory_id.removeprefix("trajectory-")) for d in kept if d.domain == "chip_design"]
    assert numbers == sorted(numbers) and max(numbers) > 100  # from all over the file, in its order
    # A smaller cap keeps a part of what a larger one keeps, whatever the order of the rows.
    smaller = build(trajectories[::-1], domain_tokens={"chip_design": cap // 2})
    names = {smaller[i].trajectory_id for i in range(len(smaller)) if smaller[i].domain == "chip_design"}
    assert names and names < {d.trajectory_id for d in kept}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"with_labels": ["PASS"], "without_labels": ["PASS"]}, "both name PASS"),
        ({"min_tokens": 10, "max_tokens": 5}, "max_tokens (5) is below min_tokens (10)"),
        ({"domain_tokens": {"general": 0}}, "must be more than 0"),
    ],
)
def test_filters_that_keep_nothing_are_refused(filters, message):
    with pytest.raises(ConfigError) as error:
        validate_config(FilterConfig, filters, "here")
    assert message in str(error.value)
