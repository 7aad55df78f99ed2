"""Real executions of Python tasks, and a tiny world model with random weights as an export of a run."""

import asyncio
import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ecot.answers import format_answer
from ecot.backends.registry import make_backend
from ecot.data_mix.config import ObservationRole, PastThinking, TrainTokenizerConfig
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.templates import shipped_template
from ecot.data_mix.tokenizer import train_tokenizer
from ecot.outcomes import Domain
from ecot.run_paths import RunPaths
from ecot.synthesis.loop import attempt_of
from ecot.tasks.registry import load_tasks
from ecot.trajectories import Message, Provenance, Role, Trajectory
from ecot.trajectory_io import write_trajectories
from ecot.world_model.config import WorldModelConfig
from ecot.world_model.pairs import make_pairs

IDS = "merge_windows first_fit gear_train json_path robot_pose token_bucket rle_row agv_route".split()


@pytest.fixture(scope="session")
def tasks():
    return load_tasks("builtin:general")


@pytest.fixture(scope="session")
def tools():
    backend = make_backend("python", workers=2)
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def conversation(tasks):
    """A trajectory of these candidates with these outcomes."""

    def make(task, codes, executions):
        messages = [Message(Role.SYSTEM, "You write Python."), Message(Role.USER, task.spec)]
        attempts = []
        for code, execution in zip(codes, executions, strict=True):
            messages.append(Message(Role.ASSISTANT, format_answer(code, "python"), "Let me try."))
            attempts.append(attempt_of(execution, len(messages) - 1, code))
            messages.append(Message(Role.OBSERVATION, str(execution.label)))
        return Trajectory(
            id=f"{task.id}-{len(codes)}",
            task_id=task.id,
            task_hash=task.hash,
            domain=Domain.GENERAL,
            verdict=attempts[-1].label,
            messages=tuple(messages),
            attempts=tuple(attempts),
            provenance=Provenance("test", "general", 0),
        )

    return make


@pytest.fixture(scope="session")
def trajectories(tasks, tools, conversation):
    """One per task: its wrong candidates in turn, those that use up no time limit, then the reference."""
    rows = []
    for name in IDS:
        task = tasks[name]
        codes = [wrong.code for wrong in task.wrong if wrong.label != "TIMEOUT"] + [task.reference]
        executions = asyncio.run(tools.execute_many([(task, code) for code in codes]))
        rows.append(conversation(task, codes, executions))
    return rows


@pytest.fixture(scope="session")
def world_run(trajectories, tmp_path_factory):
    """The section and the folder of a run with pairs and an export whose weights are random."""
    root = tmp_path_factory.mktemp("world")
    write_trajectories(root / "real.jsonl", trajectories)
    config = WorldModelConfig(
        trajectories=(root / "real.jsonl",),
        tasks=("builtin:general",),
        heldout_fraction=0.25,
        calibration_fraction=0.25,
        environment_characters=2000,
        max_new_tokens=8,
        device="cpu",
        backend="python",
    )
    paths = RunPaths(root / "run")
    make_pairs(config, paths, seed=0)
    texts = [text for row in trajectories for message in row.messages for text in (message.content,)]
    tokenizer = train_tokenizer(texts, TrainTokenizerConfig(vocab_size=600))
    tokenizer.chat_template = shipped_template(ObservationRole.TOOL, PastThinking.KEEP)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,  # so that predictions differ
    )
    export = paths.export / "1K"
    LlamaForCausalLM(shape).save_pretrained(export)
    tokenizer.save_pretrained(export)
    (export / "milestone.json").write_text(json.dumps({"name": "1K", "plan_step": 1, "counts": {"all": 1}}))
    return config, paths


@pytest.fixture(scope="session")
def renderer():
    return lambda tokenizer: Renderer(tokenizer, ObservationRole.TOOL, PastThinking.KEEP)
