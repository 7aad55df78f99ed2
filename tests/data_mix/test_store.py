"""The store: what goes in comes out; over-long, duplicate and bad rows are accounted for; kills leave nothing half."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ecot.data_mix.ledger import Entry, Fate, Ledger, Tally
from ecot.data_mix.sources import SourceConfig
from ecot.data_mix.store import DocumentStore
from ecot.data_mix.store_builder import StoreBuilder
from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.progress import no_progress
from ecot.segments import SUPERVISED_KINDS, Kind, count_tokens
from ecot.trajectories import Message, Role
from ecot.trajectory_io import write_trajectories


@pytest.fixture
def build(tmp_path, tokenizer, data_config):
    """Builds a store of some trajectories, or of a file."""

    def make(trajectories, part_rows=32, **changes):
        tokenizer.save_pretrained(tmp_path / "tok")
        path = trajectories
        if isinstance(trajectories, list):
            path = tmp_path / "rows.jsonl"
            write_trajectories(path, trajectories)
        builder = StoreBuilder(
            data_config(**changes), [SourceConfig(path=path)], tmp_path / "tok", tmp_path / "store", part_rows
        )
        return builder.build(no_progress)

    return make


def test_documents_come_out_as_they_were_rendered(build, trajectories, make_renderer):
    store = build(trajectories)
    renderer = make_renderer()
    encoded = renderer.encode([renderer.render(trajectory.messages) for trajectory in trajectories])
    assert len(store) == len(trajectories) and len(list(store.folder.glob("shard-*"))) == 4
    for index, (trajectory, expected) in enumerate(zip(trajectories, encoded, strict=True)):
        document = store[index]
        assert document.ids.dtype == np.int32 and document.ids.tolist() == expected.ids.tolist()
        assert document.runs == expected.runs
        assert (document.trajectory_id, document.task_id) == (trajectory.id, trajectory.task_id)
        assert (document.domain, document.verdict) == (trajectory.domain, Label.PASS)
        assert document.attempt_labels == tuple(attempt.label for attempt in trajectory.attempts)
        assert document.place.endswith(f"rows.jsonl:{index + 1}")
        assert store.lengths[index] == len(expected.ids) and store.straddling[index] == expected.straddling
        for kind in (Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION):
            assert store.kind_counts[index, kind] == count_tokens(expected.runs, [kind])
    with pytest.raises(IndexError):
        store[len(trajectories)]


def test_rows_are_not_lost_and_not_counted_twice(build, trajectories, make_renderer, make_trajectory):
    """Kept, cut, left out and refused together are what was read, in rows and tokens, per domain."""
    duplicate = replace(trajectories[3], id="again")
    long = make_trajectory(500, turns=3, words=150)
    hopeless = make_trajectory(501, turns=1, words=400)
    bad = replace(trajectories[4], messages=(*trajectories[4].messages[:-1], Message(Role.OBSERVATION, "<|im_end|>")))
    rows = [*trajectories[:20], duplicate, long, hopeless, bad]
    store = build(rows, max_lost=1.0, max_refused=0.1)
    ledger = store.ledger
    assert ledger.rows_read == len(rows) == 24
    assert [ledger.total([fate]).rows for fate in Fate] == [21, 1, 2, 1]
    left_out = {entry.reason: tally.rows for entry, tally in ledger.lines.items() if entry.fate is Fate.LEFT_OUT}
    assert left_out == {"exact_duplicate": 1, "over_long": 1}
    renderer = make_renderer()
    whole = renderer.encode([renderer.render(trajectory.messages) for trajectory in rows[:-1]])
    accounted = ledger.total([Fate.KEPT, Fate.CUT, Fate.LEFT_OUT])
    assert accounted.tokens == sum(len(code.ids) for code in whole)
    assert accounted.supervised == sum(count_tokens(code.runs, SUPERVISED_KINDS) for code in whole)
    assert ledger.total([Fate.KEPT]).tokens == store.lengths.sum()
    domain = long.domain
    assert ledger.lines[Entry(Fate.CUT, "over_long", domain)].rows == 1
    assert Ledger.from_json(ledger.to_json()) == ledger


def test_over_long_trajectories_are_cut_between_turns(build, make_renderer, make_trajectory):
    long = make_trajectory(500, turns=3, words=150)
    renderer = make_renderer()
    sizes = {end: len(renderer.encode([renderer.render(long.messages[:end])])[0].ids) for end in (3, 4, 5, 6, 7, 8)}
    for end in (3, 4, 5, 6, 7):
        packing = {"pack_tokens": sizes[end], "global_batch_tokens": sizes[end]}
        store = build([long], packing=packing, max_lost=1.0)
        assert store[0].ids.tolist() == renderer.encode([renderer.render(long.messages[:end])])[0].ids.tolist()
        assert store.ledger.total([Fate.CUT]).tokens == sizes[8] - sizes[end]
    packing = {"pack_tokens": sizes[3] - 1, "global_batch_tokens": sizes[3] - 1}
    assert len(build([long], packing=packing, max_lost=1.0)) == 0
    assert (
        len(
            build(
                [long],
                packing={"pack_tokens": sizes[7], "global_batch_tokens": sizes[7]},
                max_lost=1.0,
                over_long="drop",
            )
        )
        == 0
    )


def test_losing_too_much_stops_the_run(build, make_trajectory):
    long = make_trajectory(500, turns=3, words=150)
    with pytest.raises(DataError, match=r"supervised tokens, more than data\.max_lost \(0\.05\) allows"):
        build([long])


def test_stripped_thoughts_are_accounted_for(build, make_renderer, make_trajectory):
    make_renderer(past_thinking="strip")
    trajectory = make_trajectory(7, turns=3)
    store = build([trajectory], past_thinking="strip")
    renderer = make_renderer(past_thinking="strip")
    thoughts = [message.reasoning_content for message in trajectory.messages if message.reasoning_content]
    expected = sum(len(renderer.token_ids(thought)) for thought in thoughts[:-1])
    line = store.ledger.lines[Entry(Fate.CUT, "stripped_thought", trajectory.domain)]
    assert line == Tally(rows=1, documents=0, tokens=expected, supervised=expected)
    assert {run.attempt for run in store[0].runs if run.kind is Kind.THINKING} == {3}


def test_expanded_documents_count_their_shared_prefix(build, make_renderer, make_trajectory):
    make_renderer(past_thinking="expand")
    trajectory = make_trajectory(7, turns=3)
    store = build([trajectory], past_thinking="expand")
    assert len(store) == 3
    for index in (1, 2):
        before, after = store[index - 1].ids.tolist(), store[index].ids.tolist()
        shared = next(i for i, (a, b) in enumerate(zip(before, after)) if a != b)  # noqa: B905
        assert store.repeated[index] == shared > 0
    assert store.repeated[0] == 0
    assert store.ledger.lines[Entry(Fate.KEPT, "", trajectory.domain)].documents == 3


def test_shared_beginnings_are_stored_once(build, make_renderer, make_trajectory, trajectories):
    """A document continues the one before it, which may itself continue another; all come out whole."""
    rows = [make_trajectory(number, turns=1 + number % 5) for number in range(40)]
    renderer = make_renderer(past_thinking="expand")
    parts = [part for row in rows for part in renderer.documents(row.messages)]
    expected = [code.ids.tolist() for code in renderer.encode([renderer.render(part) for part in parts])]
    store = build(
        rows, part_rows=16, past_thinking="expand", packing={"pack_tokens": 2048, "global_batch_tokens": 2048}
    )
    assert [document.ids.tolist() for document in store] == expected
    assert store.trajectories.tolist() == [number for number in range(40) for _ in range(1 + number % 5)]
    stored = sum(np.load(path).size for path in store.folder.glob("shard-*/ids.npy"))
    assert stored == store.lengths.sum() - store.repeated.sum() < 0.7 * store.lengths.sum()


def test_documents_know_their_source(tmp_path, tokenizer, data_config, trajectories):
    tokenizer.save_pretrained(tmp_path / "tok")
    sources = []
    for number, name in enumerate(["chips", "", "chips"]):
        path = tmp_path / f"rows{number}.jsonl"
        write_trajectories(path, trajectories[10 * number : 10 * number + 10])
        sources.append(SourceConfig(path=path, name=name))

    def build_store(given):
        return StoreBuilder(data_config(), given, tmp_path / "tok", tmp_path / "store", 4).build(no_progress)

    store = build_store(sources)
    assert store.source_names == ("chips", "rows1", "chips")
    assert store.sources.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    shards = {path: path.stat().st_mtime_ns for path in store.folder.rglob("shard-*/*")}
    renamed = build_store([sources[0], sources[1].model_copy(update={"name": "replay"}), sources[2]])
    assert renamed.source_names == ("chips", "replay", "chips") and renamed.key != store.key
    assert shards == {path: path.stat().st_mtime_ns for path in store.folder.rglob("shard-*/*")}


def test_an_open_store_holds_no_file_of_a_shard_open(build, trajectories):
    store = build(trajectories, part_rows=2)
    files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert len(store) == 120 and not [file for file in files if "shard-" in file]
    assert store[119].ids.sum() > 0


def test_duplicates_differ_in_nothing_that_is_said(build, trajectories):
    first = trajectories[5]
    spaced = replace(
        first,
        id="other",
        messages=tuple(replace(message, content=message.content.replace(" ", "  ")) for message in first.messages),
    )
    changed = replace(first, id="third", messages=(*first.messages[:-1], Message(Role.OBSERVATION, "something else")))
    assert len(build([first, spaced, changed])) == 2
    assert len(build([first, spaced, changed], filters={"exact_duplicates": False})) == 3
    assert len(build([first, spaced, changed], filters={"verdicts": ["TIMEOUT"]}, max_lost=1.0)) == 0


def test_ids_are_unique_within_a_source(build, trajectories):
    first, other = trajectories[5], replace(trajectories[6], id=trajectories[5].id)
    store = build([first, other], max_refused=0.5)
    assert len(store) == 1
    (line,) = [entry for entry in store.ledger.lines if entry.fate is Fate.REFUSED]
    assert line == Entry(Fate.REFUSED, "duplicate_id", other.domain)
    (entry,) = (store.folder.parent / "store.refused.jsonl").read_text("utf-8").splitlines()
    assert "'trajectory-5' is the id of" in entry and "rows.jsonl:2" in json.loads(entry)["place"]


def test_changed_filters_tokenise_nothing_again(build, trajectories):
    rows = [*trajectories[:10], replace(trajectories[3], id="again")]
    store = build(rows)
    shards = {path: path.stat().st_mtime_ns for path in store.folder.rglob("shard-*/*")}
    assert len(store) == 10 and store.manifest["samples"]["exact_duplicate"] == [
        f"{store.folder.parent / 'rows.jsonl'}:11: says the same as {store.folder.parent / 'rows.jsonl'}:4"
    ]
    other = build(rows, filters={"exact_duplicates": False})
    assert len(other) == 11 and other.key != store.key
    assert shards == {path: path.stat().st_mtime_ns for path in store.folder.rglob("shard-*/*")}
    assert len(list(store.folder.glob("kept-*.npy"))) == 1


def test_limits_hold_for_a_store_that_is_reused(build, trajectories):
    rows = [trajectories[5], replace(trajectories[6], id=trajectories[5].id)]
    build(rows, max_refused=0.5)
    with pytest.raises(DataError, match=r"1 of 2 rows are refused"):
        build(rows, max_refused=0.1)


def test_processes_of_their_own_make_the_same_store(build, trajectories):
    alone = build(trajectories[:40], part_rows=10, workers=0)
    expected = alone.digests(), alone.ledger, [document.trajectory_id for document in alone]
    shutil.rmtree(alone.folder)
    together = build(trajectories[:40], part_rows=10, workers=2)
    assert (together.digests(), together.ledger, [document.trajectory_id for document in together]) == expected


def test_bad_rows_are_named_in_the_sidecar_and_too_many_stop_the_run(tmp_path, build, trajectories):
    path = tmp_path / "mixed.jsonl"
    write_trajectories(path, trajectories[:10])
    with path.open("ab") as handle:
        handle.write(b'{"id": "x", "messages": \xff\xfe}\n')
        handle.write(b"[1, 2]\n\n")
        handle.write(json.dumps({**trajectories[11].to_row(), "verdict": "TIMEOUT"}).encode() + b"\n")
        handle.write(json.dumps({**trajectories[12].to_row(), "domain": "poetry"}).encode() + b"\n")
    store = build(path, max_refused=0.5)
    assert len(store) == 10
    refused = [json.loads(line) for line in (tmp_path / "store.refused.jsonl").read_text("utf-8").splitlines()]
    assert [entry["place"].rpartition(":")[2] for entry in refused] == ["11", "12", "14", "15"]
    assert [
        part in entry["reason"] for entry, part in zip(refused, ("JSON", "object", "verdict", "domain"), strict=True)
    ]
    assert all(entry["reason"].startswith(entry["place"]) for entry in refused)
    assert store.ledger.lines[Entry(Fate.REFUSED, "schema", None)].rows == 3
    assert store.ledger.lines[Entry(Fate.REFUSED, "schema", Domain.CHIP_DESIGN)].rows == 1
    with pytest.raises(DataError, match=r"4 of 14 rows are refused, more than data\.max_refused \(0\.1\)"):
        build(path, max_refused=0.1)


def test_sources_can_be_narrowed_to_domains(tmp_path, tokenizer, data_config, trajectories):
    path = tmp_path / "rows.parquet"
    write_trajectories(path, trajectories)
    source = SourceConfig(path=path, domains=[Domain.EMBEDDED])
    tokenizer.save_pretrained(tmp_path / "tok")
    store = StoreBuilder(data_config(), [source], tmp_path / "tok", tmp_path / "store").build(no_progress)
    assert len(store) == sum(trajectory.domain is Domain.EMBEDDED for trajectory in trajectories) == 36


@pytest.mark.parametrize("damage", ["not Parquet", "torn", "a corrupt page"])
def test_a_parquet_file_that_cannot_be_read_is_named(damage, build, tmp_path, trajectories):
    path = tmp_path / "rows.parquet"
    write_trajectories(path, trajectories)
    content = bytearray(path.read_bytes())
    if damage == "a corrupt page":
        content[4:64] = bytes(60)  # the first page's header; the footer stays whole
    path.write_bytes(
        b'{"messages": []}\n' if damage == "not Parquet" else content[: -100 if damage == "torn" else None]
    )
    with pytest.raises(DataError, match=r"rows\.parquet: cannot be read .*written completely"):
        build(path)


def test_a_store_is_made_anew_when_what_it_depends_on_changes(build, trajectories):
    first = build(trajectories[:5])
    assert build(trajectories[:5]).key == first.key
    keys = {first.key, build(trajectories[:6]).key, build(trajectories[:5], past_thinking="expand").key}
    keys.add(build(trajectories[:5], filters={"exact_duplicates": False}).key)
    keys.add(build(trajectories[:5], packing={"pack_tokens": 600, "global_batch_tokens": 600}).key)
    assert len(keys) == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from ecot.data_mix.config import DataConfig, SourceConfig
from ecot.data_mix.store_builder import StoreBuilder

folder, when = Path(sys.argv[1]), int(sys.argv[2])
config = DataConfig.model_validate_json((folder / "config.json").read_text())
calls = 0


def kill_at(event, arguments):
    global calls
    if event in ("open", "os.rename", "os.mkdir") and ".store.building" in str(arguments[0]):
        calls += 1
        if calls == when:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(kill_at)
sources = [SourceConfig(path=folder / "rows.jsonl")]
StoreBuilder(config, sources, folder / "tok", folder / "store", 10).build(lambda *_: None)
"""


def test_a_killed_build_leaves_no_store_and_goes_on_from_its_shards(tmp_path, tokenizer, data_config, trajectories):
    write_trajectories(tmp_path / "rows.jsonl", trajectories[:40])
    tokenizer.save_pretrained(tmp_path / "tok")
    (tmp_path / "config.json").write_text(data_config().model_dump_json())
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}

    def run(when):
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(when)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    finished = []
    for when in (5, 26):
        assert run(when).returncode == -signal.SIGKILL
        assert not (tmp_path / "store").exists()
        finished.append(len([p for p in (tmp_path / ".store.building").glob("shard-*") if ".tmp" not in p.name]))
    assert finished[0] == 0 < finished[1] < 4
    source = [SourceConfig(path=tmp_path / "rows.jsonl")]
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / ".store.building").glob("shard-?????/*")}
    store = StoreBuilder(data_config(), source, tmp_path / "tok", tmp_path / "store", 10).build(no_progress)
    kept = {path.relative_to(tmp_path / ".store.building"): time for path, time in shards.items()}
    assert kept and all((store.folder / path).stat().st_mtime_ns == time for path, time in kept.items())
    straight = StoreBuilder(data_config(), source, tmp_path / "tok", tmp_path / "straight", 10).build(no_progress)
    assert store.digests() == straight.digests() and store.ledger == straight.ledger
    assert sorted(p.name for p in store.folder.iterdir()) == sorted(p.name for p in straight.folder.iterdir())


PREPARE = """
import sys
from pathlib import Path
from ecot.data_mix.config import DataConfig
from ecot.data_mix.prepare import prepare
from ecot.run_paths import RunPaths

paths = RunPaths(Path(sys.argv[1]))
config = DataConfig.model_validate_json((paths.root / "config.json").read_text())
print(prepare(config, paths, seed=1).plan.hash)
"""


def test_two_processes_may_prepare_at_once(run_paths, data_config):
    (run_paths.root / "config.json").write_text(data_config().model_dump_json())
    command = [sys.executable, "-c", PREPARE, str(run_paths.root)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    hashes = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert hashes[0] == hashes[1] and len(hashes[0].strip()) == 64


def test_an_incomplete_store_is_named(tmp_path):
    with pytest.raises(DataError, match="ecot plan"):
        DocumentStore.open(tmp_path)
