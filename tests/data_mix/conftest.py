"""Small trajectories and a tokenizer trained on them, shared by the tests of this room."""

import random
from pathlib import Path

import pytest

from ecot.data_mix.config import DataConfig, ObservationRole, PastThinking, TrainTokenizerConfig
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.templates import shipped_template
from ecot.data_mix.tokenizer import corpus_texts, train_tokenizer
from ecot.outcomes import Domain, Label, Source, Stage
from ecot.run_paths import RunPaths
from ecot.trajectories import Attempt, Message, Provenance, Role, Trajectory
from ecot.trajectory_io import write_trajectories

TEMPLATES = Path(__file__).parent / "templates"
WORDS = ["counter", "reset", "clock", "carry", "shift", "latch", "valid", "edge", "sum", "größe", "値", "Δt"]
DOMAINS = [Domain.CHIP_DESIGN] * 6 + [Domain.EMBEDDED] * 3 + [Domain.GENERAL]


def make_attempt(message_index, label, code):
    stage = Stage.CHECK if label is Label.PASS else Stage.COMPILE
    return Attempt(message_index, code, stage, label, "", f"{label} here", {"cells": 1.0}, 0.1, Source.REAL, 1.0, "f")


def generate_trajectory(number, turns=None, words=12):
    """A trajectory of 1 to 3 attempts whose last one passes; a given number always gives the same one."""
    rng = random.Random(number)
    turns = turns or rng.choice([1, 2, 2, 3])

    def text(count):
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(count // 2, count)))

    messages = [
        Message(Role.SYSTEM, "You write RTL."),
        Message(Role.USER, f"Task {number} {chr(0x4E00 + 37 * (number % 500))}: {text(words)}\n"),
    ]
    attempts = []
    for turn in range(turns):
        code = f"module m{number}_{turn};\n  assign y = {text(4)};\nendmodule"
        answer = f"{text(3)}\n```systemverilog\n{code}\n```"
        messages.append(Message(Role.ASSISTANT, answer, f"{text(2 * words)}\n\n{text(words)}."))
        label = Label.PASS if turn == turns - 1 else Label.COMPILATION_ERROR
        attempts.append(make_attempt(len(messages) - 1, label, code))
        messages.append(Message(Role.OBSERVATION, f"{label}\n  line {turn}: {text(5)}"))
    return Trajectory(
        id=f"trajectory-{number}",
        task_id=f"task_{number % 7}",
        task_hash="h",
        domain=DOMAINS[number % len(DOMAINS)],
        verdict=Label.PASS,
        messages=tuple(messages),
        attempts=tuple(attempts),
        provenance=Provenance("mechanical", "rtl", number),
    )


@pytest.fixture(scope="session")
def trajectories():
    return [generate_trajectory(number) for number in range(120)]


@pytest.fixture(scope="session")
def make_trajectory():
    """The generator itself, for trajectories of a chosen length."""
    return generate_trajectory


@pytest.fixture(scope="session")
def bare_tokenizer(trajectories):
    return train_tokenizer(corpus_texts(trajectories), TrainTokenizerConfig(vocab_size=700))


@pytest.fixture
def tokenizer(bare_tokenizer):
    """With the shipped template that keeps thinking."""
    bare_tokenizer.chat_template = shipped_template(ObservationRole.TOOL, PastThinking.KEEP)
    return bare_tokenizer


@pytest.fixture
def make_renderer(bare_tokenizer):
    """A renderer for the shipped template, or for a file in `templates/`."""

    def make(template="shipped", observation_role="tool", past_thinking="keep"):
        role, past = ObservationRole(observation_role), PastThinking(past_thinking)
        if template == "shipped":
            bare_tokenizer.chat_template = shipped_template(role, past)
        else:
            bare_tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text("utf-8")
        return Renderer(bare_tokenizer, role, past)

    return make


@pytest.fixture
def data_config():
    """A small, valid `data` section; keywords replace keys."""

    def make(**changes):
        values = {
            "tokenizer": {"train": {"vocab_size": 700}},
            "budgets": [{"name": "a", "tokens": 4000}, {"name": "b", "tokens": 8000}, {"name": "c", "tokens": 12000}],
            "packing": {"pack_tokens": 512, "global_batch_tokens": 2048},
        }
        return DataConfig.model_validate({**values, **changes})

    return make


@pytest.fixture
def run_paths(tmp_path, trajectories):
    """A run with training and held-out trajectories."""
    paths = RunPaths(tmp_path / "run")
    write_trajectories(paths.trajectories / "train.parquet", trajectories)
    write_trajectories(paths.trajectories / "heldout.parquet", [generate_trajectory(n) for n in range(1000, 1010)])
    return paths
