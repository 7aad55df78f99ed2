"""`ecot synth` as a user types it: one task of each domain, a model's server, the real tools of all six domains."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ecot.tasks
from ecot.answers import format_answer
from ecot.backends.registry import backend_of, make_backend
from ecot.errors import ToolError
from ecot.outcomes import Domain, Label
from ecot.tasks.registry import load_tasks
from ecot.trajectory_io import read_trajectories

BUNDLES = Path(ecot.tasks.__file__).parent / "bundles"
CHOSEN = {
    Domain.CHIP_DESIGN: "gray_counter",
    Domain.GPU_OPTIMIZATION: "bias_relu",
    Domain.EMBEDDED: "cobs_codec",
    Domain.CAD_3D: "cable_clip",
    Domain.CODE_OPTIMIZATION: "count_byte",
    Domain.GENERAL: "modbus_crc",
}


@pytest.fixture
def folder(tmp_path):
    """Bundles of different domains beside each other, of those domains whose tools are here."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for domain, name in CHOSEN.items():
        try:
            make_backend(backend_of(domain))
        except ToolError:
            continue
        bundle = next(path for path in (BUNDLES / domain).iterdir() if path.stem == name)
        copy = shutil.copytree if bundle.is_dir() else shutil.copy
        copy(bundle, tasks / bundle.name)
    if len(list(tasks.iterdir())) < 2:
        pytest.skip("the tools of fewer than two domains are installed; `ecot doctor` says how to get them")
    return tasks


def test_every_domain_goes_through_the_loop_with_its_own_tools_and_instructions(
    folder, server, say, generator, tmp_path
):
    tasks = load_tasks(str(folder))

    def model(number, request):
        spec = request["messages"][1]["content"]
        task = next(task for task in tasks.values() if task.spec.strip() in spec)
        first = len(request["messages"]) == 2
        return say(format_answer(task.wrong[0].code if first else task.reference, task.language), reasoning="Hm. So.")

    server.script = model
    section = {"tasks": str(folder), "backend": "real", "generator": generator(), "concurrency": 3}
    section |= {"train_trajectories": len(tasks), "heldout_trajectories": 0, "format": "jsonl"}
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"name": "six", "run_dir": str(tmp_path / "run"), "synthesis": section}))
    command = [sys.executable, "-m", "ecot", "synth", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    completions = 2 * len(tasks)
    assert f"model: {completions} completions of {100 * completions:,} prompt and" in " ".join(done.stdout.split())
    rows = list(read_trajectories(tmp_path / "run" / "trajectories" / "train.jsonl"))
    assert {row.task_id for row in rows} == set(tasks)
    for row in rows:
        task = tasks[row.task_id]
        expected = task.wrong[0]
        assert [(a.label, a.subcode) for a in row.attempts] == [(expected.label, expected.subcode), (Label.PASS, "")]
        assert f"one {task.language} code block" in row.messages[0].content
    assert len({row.provenance.instruction for row in rows}) == len(tasks)
    summary = json.loads((tmp_path / "run" / "trajectories" / "summary.json").read_text("utf-8"))
    assert summary["usage"]["completions"] == completions
