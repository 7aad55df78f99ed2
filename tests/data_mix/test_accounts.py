"""Every token that was read is in the account: kept, cut, left out or refused; nothing goes without a line."""

from dataclasses import replace

import pytest

from ecot.data_mix.config import SourceConfig
from ecot.data_mix.ledger import Fate
from ecot.data_mix.preview import counts_line
from ecot.data_mix.store_builder import StoreBuilder
from ecot.progress import no_progress
from ecot.segments import Kind
from ecot.trajectories import Role, TurnKind
from ecot.trajectory_io import write_trajectories


@pytest.fixture
def build(tmp_path, make_renderer, data_config):
    """A store of some trajectories, with options of the `data` section."""

    def make(trajectories, pack_tokens=4096, **options):
        renderer = make_renderer(past_thinking=options.get("past_thinking", "keep"))
        renderer.tokenizer.save_pretrained(tmp_path / "tok")
        write_trajectories(tmp_path / "rows.jsonl", trajectories)
        packing = {"pack_tokens": pack_tokens, "global_batch_tokens": pack_tokens}
        config = data_config(packing=packing, **options)
        source = SourceConfig(path=tmp_path / "rows.jsonl")
        folder = tmp_path / f"store-{len(list(tmp_path.glob('store-*')))}"
        return StoreBuilder(config, [source], tmp_path / "tok", folder).build(no_progress)

    return make


def lines(store, fate):
    found = {}
    for entry, tally in store.ledger.lines.items():
        if entry.fate is fate:
            rows, tokens = found.get(entry.reason, (0, 0))
            found[entry.reason] = (rows + tally.rows, tokens + tally.tokens)
    return found


@pytest.mark.parametrize(
    "options", [{"past_thinking": "strip"}, {"past_thinking": "expand"}, {"form": "folded", "over_long": "drop"}]
)
def test_what_the_tools_said_last_has_a_line_where_it_is_left_out(build, trajectories, tokenizer, options):
    rows = trajectories[:20]
    last = [trajectory.messages[-1].content for trajectory in rows]
    expected = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in last)
    assert lines(build(rows, **options), Fate.CUT)["after_the_last_turn"] == (20, expected)
    kept = build(rows)
    assert lines(kept, Fate.CUT) == {}
    answered = [t for t in rows if len(t.attempts) == 1]
    assert len(build(answered, **options)) == len(answered)


def test_what_expanding_costs_against_keeping_is_known(build, trajectories):
    rows = trajectories[:20]
    asked = [replace(t, messages=t.messages[:-1]) if t.messages[-1].role is Role.OBSERVATION else t for t in rows]
    kept, expanded = build(asked), build(rows, past_thinking="expand")
    assert expanded.kept_tokens == kept.kept_tokens == kept.lengths.sum()
    assert expanded.lengths.sum() > 1.2 * expanded.kept_tokens


def test_a_preview_counts_the_attempts_that_a_cut_document_holds(build, make_trajectory):
    trajectory = make_trajectory(5, turns=3)
    whole = build([trajectory])[0]
    assert counts_line(whole).endswith("; COMPILATION_ERROR > COMPILATION_ERROR > PASS")
    cut = build([trajectory], pack_tokens=len(whole) - 60, max_lost=1.0)[0]
    assert counts_line(cut).endswith("; COMPILATION_ERROR > COMPILATION_ERROR (and 1 more that it does not hold)")
    first = build([trajectory], past_thinking="expand")[0]
    assert counts_line(first).endswith("; COMPILATION_ERROR (and 2 more that it does not hold)")


def test_supervised_tokens_of_a_world_models_pairs_are_observations(build, trajectories):
    """Otherwise nothing of theirs would count as lost when they are too long, or be looked at for duplicates."""
    rows = [
        replace(
            t, messages=(t.messages[1], replace(t.messages[2], kind=TurnKind.OBSERVATION)), attempts=(), verdict=None
        )
        for t in trajectories[:10]
    ]
    store = build(rows)
    kept = store.ledger.total([Fate.KEPT])
    assert kept.supervised == store.kind_counts[:, Kind.OBSERVATION].sum() > 0
    twice = [*rows, *(replace(t, id=f"{t.id}-again") for t in rows)]
    filters = {"exact_duplicates": False, "near_duplicates": {}}
    assert len(build(twice, filters=filters)) == 10
