"""Nothing that a model was paid for is asked again or thrown away."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from ecot.answers import format_answer
from ecot.errors import ConfigError, EndpointError
from ecot.progress import no_progress
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.engine import JOURNAL, Engine, synthesise
from ecot.trajectory_io import read_trajectories

NAMES = ("modbus_crc", "rle_row", "gear_train", "zigzag_varint")
SEED = 5
SCRIPT = f"""
import json, sys
from pathlib import Path
from ecot.backends.registry import make_backend
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.engine import synthesise
from ecot.tasks.registry import load_tasks
tasks = load_tasks("builtin:general")
config = SynthesisConfig(**json.loads(sys.argv[2]))
tasks = {{name: tasks[name] for name in {NAMES!r}}}
synthesise(config, RunPaths(Path(sys.argv[1])), {SEED}, tasks, make_backend("python", workers=2))
"""


@pytest.fixture
def few(general):
    return {name: general[name] for name in NAMES}


@pytest.fixture
def script(few, say):
    """A model: a first attempt that differs with the seed and fails, then the reference, or failure to the end."""

    def model(number, request):
        task = next(task for task in few.values() if f"`{task.entry}`" in request["messages"][1]["content"])
        if len(request["messages"]) == 2:
            return say(f"```python\nseed = {request['seed']}\n```", reasoning_content="A guess.")
        return say(format_answer(task.reference, "python"), reasoning_content="The reference.")

    return model


@pytest.fixture
def settings(generator):
    def make(count, **options):
        values = {"train_trajectories": count, "heldout_trajectories": 0, "concurrency": 2, "format": "jsonl"}
        return {**values, "generator": generator(retries=1, **options)}

    return make


def lines(path):
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_killed_run_asks_for_nothing_that_its_journal_holds(server, script, settings, tmp_path, python):
    program = tmp_path / "run.py"
    program.write_text(SCRIPT)
    out = RunPaths(tmp_path / "run")
    journal = out.trajectories / JOURNAL
    gate = threading.Event()

    def slow_after_three(number, request):
        if lines(journal) > 3:
            gate.wait(60)  # held until the client has been killed
        return script(number, request)

    server.script = slow_after_three
    command = [sys.executable, str(program), str(out.root), json.dumps(settings(8))]
    process = subprocess.Popen(command, env={**os.environ})
    deadline = time.monotonic() + 120
    while lines(journal) <= 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    gate.set()
    finished = [json.loads(line)["trajectory"] for line in journal.read_text("utf-8").splitlines()[1:]]
    before = len(server.requests)
    server.script = script
    subprocess.run(command, check=True, timeout=300)
    rows = [row.to_row() for row in read_trajectories(out.trajectories / "train.jsonl")]
    assert len(rows) == 8 and all(row in rows for row in finished)
    seeds = Counter(request["seed"] for request in server.requests[before:])
    assert len(seeds) == 2 * (8 - len(finished)) and set(seeds.values()) == {1}
    summary = json.loads((out.trajectories / "summary.json").read_text())
    assert summary["resumed"] == len(finished) >= 3
    assert summary["usage"]["completions"] == 16


def test_a_server_that_goes_away_ends_the_run_and_the_same_command_goes_on(
    server, script, settings, refuse, few, python, tmp_path
):
    server.script = lambda number, request: script(number, request) if number < 9 else refuse(503, "shutting down")
    with pytest.raises(EndpointError, match=r"after 1 retries: HTTP 503: shutting down.*the same command goes on"):
        synthesise(SynthesisConfig(**settings(8)), RunPaths(tmp_path), SEED, few, python)
    kept = lines(tmp_path / "trajectories" / JOURNAL) - 1
    assert kept >= 3
    server.script = script
    asked = len(server.requests)
    # Another address, more patience and more at once make no other run.
    changed = {**settings(8, timeout_seconds=60), "concurrency": 4}
    changed["generator"]["base_url"] += "/v1/"
    summary = synthesise(SynthesisConfig(**changed), RunPaths(tmp_path), SEED, few, python)
    assert summary.resumed == kept
    assert len(server.requests) - asked == 2 * (8 - kept)
    assert len(list(read_trajectories(tmp_path / "trajectories" / "train.jsonl"))) == 8
    again = synthesise(SynthesisConfig(**changed), RunPaths(tmp_path), SEED, few, python)
    assert again == summary and len(server.requests) - asked == 2 * (8 - kept)


def test_a_server_that_never_answers_ends_the_run_with_the_first_request(settings, few, python, tmp_path, server):
    values = settings(8)
    values["generator"]["base_url"] = "http://127.0.0.1:9"  # nobody listens there
    with pytest.raises(EndpointError, match=r"http://127.0.0.1:9/v1: no completion after 1 retries: ConnectError"):
        synthesise(SynthesisConfig(**values), RunPaths(tmp_path), SEED, few, python)


def test_one_lost_request_is_left_for_the_next_run(server, script, settings, refuse, few, python, tmp_path):
    lost = []

    def stumbling(number, request):
        if number == 4:
            lost.append(request["seed"])
        return refuse(500, "one of the GPUs fell off") if request["seed"] in lost else script(number, request)

    server.script = stumbling
    values = {**settings(4), "concurrency": 1}
    first = synthesise(SynthesisConfig(**values), RunPaths(tmp_path), SEED, few, python)
    assert (first.splits["train"].trajectories, first.splits["train"].unresolved) == (4, 1)
    asked = len(server.requests)
    server.script = script
    second = synthesise(SynthesisConfig(**values), RunPaths(tmp_path), SEED, few, python)
    assert second.splits["train"].unresolved == 0 and second.splits["train"].trajectories == 4
    assert len(server.requests) - asked == 2, "the lost slot alone"
    assert not (tmp_path / "trajectories" / JOURNAL).exists()


def test_what_was_paid_for_is_not_overwritten(server, script, settings, few, python, refuse, tmp_path):
    server.script = lambda number, request: script(number, request) if number < 5 else refuse(400, "no")
    with pytest.raises(EndpointError):
        synthesise(SynthesisConfig(**settings(8)), RunPaths(tmp_path), SEED, few, python)
    journal = tmp_path / "trajectories" / JOURNAL
    before = journal.read_bytes()
    mechanical = {"train_trajectories": 8, "heldout_trajectories": 0, "format": "jsonl"}
    for other in (settings(8, temperature=0.1), settings(8, model="other"), settings(9), mechanical):
        with pytest.raises(ConfigError, match=r"a model wrote for another configuration .* choose another 'name'"):
            synthesise(SynthesisConfig(**other), RunPaths(tmp_path), SEED, few, python)
        assert journal.read_bytes() == before
    server.script = script
    synthesise(SynthesisConfig(**settings(8)), RunPaths(tmp_path), SEED, few, python)
    written = (tmp_path / "trajectories" / "train.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="a model wrote for another configuration"):
        synthesise(SynthesisConfig(**settings(8, top_p=0.5)), RunPaths(tmp_path), SEED, few, python)
    assert (tmp_path / "trajectories" / "train.jsonl").read_bytes() == written


def test_model_sampling_and_prompts_are_the_identity_and_the_way_to_the_server_is_not(
    settings, few, python, tmp_path, monkeypatch
):
    monkeypatch.setenv("ECOT_TEST_KEY", "k")

    def identity(tasks=few, **options):
        values = settings(8)
        values["generator"] = {**values["generator"], **options}
        return Engine(SynthesisConfig(**values), RunPaths(tmp_path), SEED, tasks, python, no_progress).identity()

    changed = {**few, "rle_row": replace(few["rle_row"], title="Another title")}
    same = [
        {"base_url": "http://elsewhere"},
        {"timeout_seconds": 5.0},
        {"retries": 0},
        {"backoff_seconds": 2.0},
        {"api_key_env": "ECOT_TEST_KEY"},
    ]
    other = [
        {"model": "x"},
        {"temperature": 0.1},
        {"max_tokens": 5},
        {"extra_body": {"top_k": 1}},
        {"observation_role": "tool"},
        {"past_thinking": "keep"},
    ]
    assert {identity(**options) for options in same} == {identity()}
    assert len({identity(), identity(tasks=changed), *(identity(**options) for options in other)}) == 2 + len(other)
