"""Order of the suite, which tests share a worker, and the tiny run that tests of training share.

The tiny run: made-up trajectories, two ZeRO-3 ranks on the CPU, the command line as a user types it. Torch and what
imports it are imported where they are used, since every test file reads this one.
"""

import contextlib
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ecot.data_mix.plan import PackPlan
from ecot.errors import ToolError
from ecot.run_paths import RunPaths
from ecot.train.milestones import milestone_folder
from ecot.trajectories import parse_trajectory
from ecot.trajectory_io import write_trajectories

SHARED_BY = {
    "backends/cad_3d": "cad",
    "tasks/test_shipped_cad": "cad",
    "backends/embedded": "embedded",
    "tasks/test_embedded": "embedded",
    "backends/gpu_optimization": "gpu",
    "tasks/test_gpu": "gpu",
    "backends/code_optimization": "code",
    "backends/general": "python",
    "tasks/test_human_eval": "python",
    "backends/test_": "rtl",
    "tasks/test_importers": "rtl",
    "tasks/test_verilog_eval": "rtl",
}
"""Beginning of a test's path under `tests/` to its group: one worker starts the tools and runs the tasks for it."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(items):
    # Real training runs take longest and start first, so that both workers end together.
    items.sort(key=lambda item: "tests/train" not in item.nodeid)
    for item in items:
        place = item.nodeid.removeprefix("tests/")
        for beginning, group in SHARED_BY.items():
            if place.startswith(beginning) and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def thinned():
    """Tasks of which only every third keeps its wrong candidates; a drill runs those of all (`test_verify.py`)."""

    def thin(tasks):
        return {
            name: task if number % 3 == 0 else replace(task, wrong=())
            for number, (name, task) in enumerate(tasks.items())
        }

    return thin


@pytest.fixture(scope="session")
def started():
    """Start a backend by name, once for all tests that want it with these options; the tools take seconds to start."""
    from ecot.backends.registry import make_backend

    backends = {}

    def start(name, **options):
        key = (name, *sorted(options.items()))
        if key not in backends:
            try:
                backends[key] = make_backend(name, workers=2, **options)
            except ToolError as error:
                pytest.skip(str(error))
        return backends[key]

    yield start
    for (name, *_), backend in backends.items():
        if name in ("cadquery", "icarus", "stm32", "assembly", "python"):
            backend.close()


WORDS = "reset clock carry shift latch valid ready width edge sum counter depth pointer full empty".split()

CONFIG = {
    "name": "tiny",
    "seed": 5,
    "data": {
        "tokenizer": {"train": {"vocab_size": 600}},
        # 4 packs a step; the last step of each budget is filled with packs that have no supervised token.
        "budgets": [{"name": n, "tokens": t} for n, t in (("a", 6500), ("b", 13_000), ("c", 19_500))],
        "packing": {"pack_tokens": 512, "global_batch_tokens": 2048},
    },
    "model": {
        "dtype": "float32",
        "shape": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "num_kv_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 512,
        },
    },
    "train": {
        "learning_rate": 1e-2,
        "schedule": {"type": "wsd", "warmup_tokens": 4000, "decay_tokens": 6000},
        "loss": {"thinking": 1.0, "answer": 0.5},
        "activation_checkpointing": False,
        "log_every": 1,
        "local_ranks": 2,
        "loader_workers": 0,
        "checkpoint": {"every_steps": 2, "keep": 2},
        "tracking": {"wandb": False},
    },
}


DECAY = "train.milestones.decay_tokens=6000"
"""Three steps, so branches end one step before the next milestone."""


def trajectory(number):
    rng = random.Random(number)

    def text(count):
        return " ".join(rng.choice(WORDS) for _ in range(count))

    messages = [{"role": "user", "content": f"Task {number}: {text(20)}"}]
    attempts = []
    turns = 1 + number % 3
    for turn in range(turns):
        code = f"assign y{turn} = {text(6)};"
        messages.append({"role": "assistant", "content": f"```\n{code}\n```", "reasoning_content": text(30)})
        label = "PASS" if turn == turns - 1 else "COMPILATION_ERROR"
        attempt = dict(message_index=len(messages) - 1, code=code, stage="check", label=label, subcode="")
        attempts.append(
            dict(attempt, diagnostics="", metrics={}, seconds=0.0, source="real", confidence=1.0, fingerprint="f")
        )
        messages.append({"role": "observation", "content": f"{label}: {text(5)}"})
    row = dict(id=f"t{number}", task_id=f"k{number % 5}", task_hash="h", domain="chip_design", verdict="PASS")
    provenance = {"generator": "made up", "instruction": "none", "seed": number}
    return parse_trajectory({**row, "messages": messages, "attempts": attempts, "provenance": provenance}, "made up")


class TinyRun:
    """A run folder with its configuration file, and the ways to start `ecot train` on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = RunPaths(folder / "run")
        self.config = folder / "tiny.yaml"

    def command(self, *overrides: str) -> list[str]:
        return [sys.executable, "-m", "ecot", "train", str(self.config), f"run_dir={self.paths.root}", *overrides]

    def train(self, *overrides: str) -> str:
        """Train to the end; returns what was printed."""
        result = subprocess.run(self.command(*overrides), capture_output=True, text=True, timeout=500)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout + result.stderr

    def run_script(self, script: Path, *overrides: str, **environment: str) -> tuple[list[int], str]:
        """Run a script that ends in the command as two ranks without a launcher; returns exit statuses and output.

        torchrun would do, but imports torch a third time.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
        command = [sys.executable, str(script), *self.command(*overrides)[3:]]
        log = self.folder / "script.txt"
        shared = {**os.environ, **address, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", **environment}
        with log.open("w") as output, contextlib.ExitStack() as ranks:
            started = []
            for rank in range(2):
                numbers = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                process = subprocess.Popen(command, env=shared | numbers, stdout=output, stderr=output)
                ranks.callback(process.kill)  # does nothing to one that has ended
                started.append(process)
            statuses = [process.wait(timeout=500) for process in started]
        return statuses, log.read_text()

    def train_and_kill(self, step: int) -> None:
        """Kill -9 the launcher as soon as `step` is logged; its ranks must die with it."""
        process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while not any(row["step"] >= step for row in self.metrics()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        self.kill(process)

    def lose_rank(self, rank: int, branch: str, *overrides: str) -> str:
        """Start, kill -9 one rank after the branch's first step, and wait until all are gone; what was printed."""
        metrics = self.paths.root / "branches" / branch / "metrics.jsonl"
        log = self.folder / "lost_rank.txt"
        with log.open("w") as output:
            process = subprocess.Popen(self.command(*overrides), stdout=output, stderr=output)
            deadline = time.monotonic() + 400
            while not metrics.is_file() or not metrics.read_text():
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.005)
            for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                if f"\0RANK={rank}\0" in Path(f"/proc/{pid}/environ").read_text():
                    os.kill(int(pid), signal.SIGKILL)
            process.wait(timeout=200)
        assert process.returncode != 0 and not self.processes()
        return log.read_text()

    def kill(self, process: subprocess.Popen) -> None:
        """Kill -9 the launcher, and wait until its ranks are gone."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 120
        while self.processes():
            assert time.monotonic() < deadline, "ranks outlived their launcher"
            time.sleep(0.05)

    def processes(self) -> list[str]:
        """Command lines of living processes of this run."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.paths.root) in line:
                found.append(line)
        return found

    def metrics(self) -> list[dict]:
        """Complete rows of the metrics file, without what depends on the clock."""
        from ecot.train.metering import CLOCK

        if not self.paths.metrics.is_file():
            return []
        lines = self.paths.metrics.read_text().split("\n")[:-1]
        return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in lines]

    def assert_follows(self, other: "TinyRun", rtol: float) -> None:
        """Loss and gradient norm of every step agree with another run's."""
        rows, expected = self.metrics(), other.metrics()
        assert len(rows) == len(expected) > 0
        for row, reference in zip(rows, expected, strict=True):
            for name in ("loss", "grad_norm", "loss/thinking", "loss/answer", "loss/observation"):
                assert math.isclose(row[name], reference[name], rel_tol=rtol), (row["step"], name)

    def assert_weights_follow(self, other: "TinyRun", milestone: str) -> None:
        """All but a few in a thousand within rounding, and those far within a step of the optimizer (1e-2).

        Where a first gradient is as small as Adam's epsilon, its rounding is a part of a step.
        """
        weights = self.weights(milestone)
        for name, expected in other.weights(milestone).items():
            difference = (weights[name] - expected).abs()
            assert difference.max() < 1e-4, name
            assert (difference > 1e-6 + 1e-5 * expected.abs()).float().mean() < 5e-3, name

    def weights(self, milestone: str) -> dict:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        return get_fp32_state_dict_from_zero_checkpoint(str(milestone_folder(self.paths, milestone)))

    def optimizer_states(self, milestone: str) -> dict:
        """The state dict of rank 0's AdamW."""
        import torch

        file = next((self.paths.milestones / milestone).rglob("*pp_rank_0_*optim_states.pt"))
        state = torch.load(file, weights_only=False)
        return state["optimizer_state_dict"]["optimizer_state_dict"]

    def start_from(self, other: "TinyRun", milestone: str) -> None:
        """Stand where another run stood (or this one) when it had reached a milestone, and nothing had come after."""
        source, rows = other.paths.milestones / milestone, other.paths.metrics.read_text().splitlines(keepends=True)
        kept = self.folder / "kept"
        shutil.copytree(source, kept)
        shutil.rmtree(self.paths.milestones, ignore_errors=True)
        shutil.rmtree(self.paths.checkpoints, ignore_errors=True)
        self.paths.milestones.mkdir(parents=True)
        kept.rename(self.paths.milestones / milestone)
        last = json.loads((self.paths.milestones / milestone / "milestone.json").read_text())["plan_step"]
        self.paths.metrics.write_text("".join(row for row in rows if json.loads(row)["step"] <= last))


@pytest.fixture
def make_trajectory():
    """Makes the trajectory of a number."""
    return trajectory


@pytest.fixture(scope="session")
def new_run(tmp_path_factory):
    """Makes run folders that share one store and plan."""
    template = TinyRun(tmp_path_factory.mktemp("template"))
    write_trajectories(template.paths.trajectories / "train.parquet", [trajectory(n) for n in range(150)])
    write_trajectories(template.paths.trajectories / "heldout.parquet", [trajectory(n) for n in range(900, 920)])
    from ecot.data_mix.config import DataConfig
    from ecot.data_mix.prepare import prepare

    prepare(DataConfig.model_validate(CONFIG["data"]), template.paths, CONFIG["seed"])

    def make(name: str, like: TinyRun = template) -> TinyRun:
        run = TinyRun(tmp_path_factory.mktemp(name))
        shutil.copytree(like.paths.root, run.paths.root)
        run.config.write_text(yaml.safe_dump(CONFIG))
        return run

    return make


@pytest.fixture(scope="session")
def finished(new_run):
    """An uninterrupted run on two ranks."""
    run = new_run("finished")
    run.train()
    return run


@pytest.fixture(scope="session")
def shared(new_run):
    """An uninterrupted run whose two ranks share every pack, and what it printed."""
    run = new_run("shared")
    overrides = ("sequence_ranks=2", "activation_checkpointing=true", "heldout.every_steps=100")
    return run, run.train(*(f"train.{override}" for override in overrides))


@pytest.fixture(scope="session")
def branched(finished, new_run):
    """The finished run with a decay branched off at its first two milestones, and what was said when the first of them
    lost a rank, before both were trained to their ends.
    """
    run = new_run("branched", like=finished)
    printed = run.lose_rank(1, "a", DECAY)
    assert not (run.paths.root / "branches" / "a" / "milestones" / "a-decayed").exists(), "it was to be lost before"
    run.train(DECAY)
    return run, printed


@pytest.fixture(scope="session")
def preempted(new_run):
    """A run whose launcher got SIGUSR1 after the third step, the launcher's exit status and what it said."""
    run = new_run("preempted")
    process = subprocess.Popen(run.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not any(row["step"] >= 3 for row in run.metrics()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=200)
    return run, process.returncode, errors


@pytest.fixture(scope="session")
def killed(preempted, new_run):
    """The preempted run, taken up again and killed with SIGKILL after a random step, and that step."""
    run = new_run("killed", like=preempted[0])
    last, stopped = PackPlan.open(run.paths.plan).num_steps, len(run.metrics())
    # From step 5 on two checkpoints stand, the newer of which a test damages.
    first = max(5, stopped + 1)
    step = random.SystemRandom().randint(first, max(first, last - 3))
    run.train_and_kill(step)
    assert stopped < len(run.metrics()) < last, "it was to be killed before the end"
    return run, step
