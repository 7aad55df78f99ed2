"""Figures and charts of the report against counts made another way."""

import re

import numpy as np
import pytest

from ecot.data_mix.config import DataConfig
from ecot.data_mix.prepare import prepare
from ecot.data_mix.store import DocumentStore
from ecot.eval.report.charts import NARROW, WIDE, compact
from ecot.eval.report.examples import choose_documents, segments_of, shown_labels
from ecot.eval.report.figures import Curve, Lengths, accounts, turn_lengths
from ecot.eval.report.palette import COLOURS, KINDS, LABELS, SURFACES, TEXT
from ecot.eval.report.plots import label_chart, length_chart, scaling_chart
from ecot.eval.report.tables import percent
from ecot.outcomes import Label
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.trajectory_io import write_trajectories

DATA = {
    "tokenizer": {"train": {"vocab_size": 600}},
    "budgets": [{"name": "small", "tokens": 500}],
    "packing": {"pack_tokens": 512, "global_batch_tokens": 512},
}

pytestmark = pytest.mark.xdist_group("eval")  # one worker makes the run that these tests share


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_everything_written_can_be_read(theme):
    for shade in (*TEXT.values(), *KINDS.values(), *LABELS.values()):
        assert contrast(shade[theme], SURFACES["page"][theme]) >= 4.5
    for name in ("ink", "muted", "link", "warn"):
        assert contrast(TEXT[name][theme], SURFACES["card"][theme]) >= 4.5


def test_every_label_and_kind_has_a_colour():
    assert set(LABELS) == set(Label)
    assert set(KINDS) == set(Kind) - {Kind.PADDING}


def test_lengths_are_those_of_the_runs(run):
    store = DocumentStore.open(run.paths.store / "train")
    found = {(entry.kind, entry.attempt): entry.values.tolist() for entry in turn_lengths(store)}
    expected = {}
    for index in range(len(store)):
        for length, kind, attempt in store[index].runs:
            if kind is not Kind.PROMPT:
                expected.setdefault((kind, attempt), []).append(length)
    for (kind, attempt), lengths in expected.items():
        assert found[kind, attempt] == sorted(lengths)
    for kind in (Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION):
        together = [length for (k, _), lengths in expected.items() if k is kind for length in lengths]
        assert found[kind, None] == sorted(together)


def test_quantiles_are_lengths_that_occur():
    lengths = Lengths(Kind.ANSWER, None, np.array([2, 4, 4, 10, 50]))
    assert [lengths.quantile(share) for share in (0.1, 0.2, 0.25, 0.5, 0.75, 1.0)] == [2, 2, 4, 4, 10, 50]


def test_accounts_add_up_per_domain():
    def line(fate, reason, domain, rows, tokens):
        counts = {"rows": rows, "documents": rows, "tokens": tokens, "supervised": tokens // 2}
        return {"fate": fate, "reason": reason, "domain": domain, **counts}

    ledger = [
        line("kept", "", "chip_design", 10, 1000),
        line("kept", "", "embedded", 4, 300),
        line("cut", "over_long", "chip_design", 2, 50),
        line("left_out", "exact_duplicate", "chip_design", 3, 90),
        line("left_out", "verdict", "chip_design", 1, 20),
        line("refused", "schema", None, 5, 0),
    ]
    rows = {row.domain: row for row in accounts({"train": {"ledger": ledger}, "heldout": None})}
    assert set(rows) == {"chip_design", "embedded", "unknown"}
    chip = rows["chip_design"]
    assert (chip.kept.rows, chip.kept.tokens, chip.kept.supervised) == (10, 1000, 500)
    assert (chip.cut.tokens, chip.left_out.rows, chip.left_out.tokens, chip.refused.rows) == (50, 4, 110, 0)
    assert chip.reasons == "over long: 2; exact duplicate: 3; verdict: 1"
    assert rows["unknown"].refused.rows == 5


def test_examples_follow_their_rules(run):
    store = DocumentStore.open(run.paths.store / "train")
    chosen = [store[index].task_id for _, index in choose_documents(store)]
    # `and` passes at once, `or` after one correction, `xor` looks at a mismatch and never passes.
    assert chosen == ["and_gate", "or_gate", "xor_gate"]


def test_segments_are_the_whole_document(run, exports):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exports["fresh"])
    store = DocumentStore.open(run.paths.store / "train")
    for index in range(len(store)):
        segments = segments_of(store[index], tokenizer)
        assert "".join(segment.text for segment in segments) == tokenizer.decode(store[index].ids)
        assert [(s.tokens, s.kind, s.attempt) for s in segments] == list(store[index].runs)


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_bars_carry_their_counts():
    rows = [("attempt 1", {"PASS": 30, "TIMEOUT": 41}), ("attempt 2", {"PASS": 52})]
    chart = label_chart("bars", "attempts", rows)
    for svg in (chart.wide, chart.narrow):
        assert {"30", "41", "52", "PASS", "TIMEOUT", "attempt 1", "attempt 2"} <= set(texts(svg))
        assert "var(--label-pass)" in svg and "var(--label-timeout)" in svg and "var(--label-format-error)" not in svg
    assert "attempt 1: 30 PASS, 41 TIMEOUT; attempt 2: 52 PASS" in chart.description
    assert f'viewBox="0 0 {WIDE} ' in chart.wide and f'viewBox="0 0 {NARROW} ' in chart.narrow


def test_curves_show_the_losses_at_milestones():
    curve = Curve(Kind.THINKING, ((1000, 7.0), (2000, 5.0), (3000, 4.0)), ((1500, 6.25), (3000, 4.75)))
    chart = scaling_chart([curve])
    assert {"6.25", "4.75", "Thinking", "trained tokens"} <= set(texts(chart.wide))
    assert "Thinking: 6.250 at 1.5K, 4.750 at 3K" in chart.description


def test_charts_are_drawn_without_colours_of_their_own():
    """Every colour is a variable of the style sheet, so that dark pages get their own."""
    lengths = [Lengths(Kind.ANSWER, None, np.array([3, 5, 9, 200]))]
    curve = Curve(Kind.ANSWER, ((10, 3.0),), ((10, 2.0),))
    for chart in (length_chart(lengths), scaling_chart([curve]), label_chart("c", "n", [("a", {"PASS": 1})])):
        for svg in (chart.wide, chart.narrow):
            assert re.findall(r"#[0-9a-fA-F]{6}\b", svg) == []
            assert set(re.findall(r"var\(--([a-z-]+)\)", svg)) <= {*COLOURS, "font"}
            assert "http" not in svg


def test_charts_of_one_page_share_no_ids():
    one, other = (label_chart(name, "n", [("a", {"PASS": 1})]) for name in ("one", "other"))
    ids = [set(re.findall(r'\sid="([^"]+)"', svg)) for svg in (one.wide, one.narrow, other.wide, other.narrow)]
    assert len(set.union(*ids)) == sum(map(len, ids))


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (950, "950"), (1000, "1K"), (179_812, "180K"), (1_250_000, "1.25M"), (5.4e8, "540M")]
)
def test_compact_counts(number, text):
    assert compact(number) == text


def test_a_document_shows_only_attempts_that_it_holds(trajectories, tmp_path):
    """With `expand`, the first document of `or_gate` ends at its first attempt, which did not compile."""
    paths = RunPaths(tmp_path)
    for name in ("train", "heldout"):
        write_trajectories(paths.trajectories / f"{name}.parquet", trajectories)
    store = prepare(DataConfig.model_validate({**DATA, "past_thinking": "expand"}), paths, seed=1).train
    found = {}
    for index in range(len(store)):
        found.setdefault(store[index].task_id, set()).add(shown_labels(store[index]))
    broken, wrong = Label.COMPILATION_ERROR, Label.FUNCTIONAL_MISMATCH
    assert found["and_gate"] == {(Label.PASS,)}
    assert found["or_gate"] == {(broken,), (broken, Label.PASS)}
    assert found["xor_gate"] == {(wrong,), (wrong, wrong)}
    for rule, index in choose_documents(store):
        if "passes" in rule:
            assert shown_labels(store[index])[-1] is Label.PASS


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.0003, "<0.1%"), (0.061, "6.1%"), (0.5, "50%"), (0.999, "99.9%"), (0.9997, ">99.9%"), (1, "100%")],
)
def test_only_0_and_1_are_shown_as_such(share, text):
    assert percent(share) == text
