"""Evaluation of every export of a run: its own completions on real tools, then its loss on held-out documents."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel

from ecot import __version__
from ecot.backends.protocol import Backend
from ecot.data_mix.config import DataConfig, Form
from ecot.data_mix.prepare import HELDOUT
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.sources import hash_file
from ecot.data_mix.store import DocumentStore
from ecot.errors import CheckpointError, ConfigError
from ecot.eval.completions import Completer, opening
from ecot.eval.config import EvalConfig
from ecot.eval.environment import describe_environment
from ecot.eval.heldout_loss import pack_documents, score_heldout
from ecot.eval.results import (
    EvalResult,
    completions_path,
    read_result,
    result_path,
    summarise_completions,
    write_result,
)
from ecot.inference.generation import BatchGenerator, Sampling
from ecot.inference.loading import load_model
from ecot.inference.stopping import end_of_turn_ids
from ecot.kernels.attention import NAME as ATTENTION
from ecot.outcomes import Execution
from ecot.progress import Progress, no_progress
from ecot.run_paths import RunPaths
from ecot.synthesis import observation
from ecot.tasks.bundle import Task
from ecot.train.config import LossConfig
from ecot.train.milestones import MILESTONE, list_exports
from ecot.trajectories import Trajectory
from ecot.trajectory_io import write_trajectories

FORMAT = "2"
"""Raised when the way of evaluating changes, so that older results are not taken for new ones."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that the exports of a run are judged with."""

    config: EvalConfig
    data: DataConfig
    """Of the run: observation role, past thinking and pack size."""
    loss: LossConfig
    """Of the run: the weights of the overall loss."""
    paths: RunPaths
    tasks: Mapping[str, Task]
    backend: Backend
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The resolved configuration of the run, to be recorded in the results."""
    command: str = ""
    """The same for the command that evaluates."""

    @cached_property
    def store(self) -> DocumentStore:
        """The held-out documents."""
        return DocumentStore.open(self.paths.store / HELDOUT)

    @cached_property
    def task_ids(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids of the held-out tasks to attempt, and of those that cannot be."""
        wanted = sorted({self.store[index].task_id for index in range(len(self.store))})
        usable = [id for id in wanted if id in self.tasks and self.tasks[id].domain in self.backend.domains]
        return tuple(usable[: self.config.num_tasks]), tuple(id for id in wanted if id not in usable)

    def exports(self) -> list[Path]:
        """The exports of the run, in the order of training.

        Raises:
            CheckpointError: there is none.
        """
        folders = list_exports(self.paths)
        if not folders:
            raise CheckpointError(f"{self.paths.export} holds no export; make them: ecot export {self.paths.root}")
        return folders

    def run(self, progress: Progress = no_progress) -> list[EvalResult]:
        """Evaluate every export whose result is not there yet, or was made from other inputs.

        Raises:
            CheckpointError: there is no export.
            ConfigError: no held-out task can be attempted, or prompts do not fit the model.
            ToolError: the backend broke.
        """
        exports = self.exports()
        self._check()
        results: list[EvalResult] = []
        with asyncio.Runner() as runner:
            for number, export in enumerate(exports):
                inputs = self._inputs(export)
                known = self._known_result(export.name, inputs)
                if known is None:
                    meter = _Meter(progress, export.name, number, len(exports), self._units)
                    known = self._evaluate(export, inputs, runner, meter)
                results.append(known)
                progress((number + 1) * sum(self._units), len(exports) * sum(self._units), export.name)
        return results

    def _check(self) -> None:
        if self.config.max_corrections and self.data.form is Form.FOLDED:
            raise ConfigError(
                f"eval.max_corrections is {self.config.max_corrections}, but with data.form: folded the model was "
                "never shown an outcome to correct; set max_corrections: 0 (it corrects itself within its thought)"
            )
        usable, left_out = self.task_ids
        if not usable:
            raise ConfigError(
                f"none of the held-out tasks ({', '.join(left_out) or 'no document'}) is among the {len(self.tasks)} "
                f"tasks given, or backend {self.backend.name!r} runs none of their domains; set eval.tasks and "
                "eval.backend to those that the held-out trajectories were made with"
            )

    @property
    def _units(self) -> tuple[int, int]:
        """Units of progress of one export: attempts (without corrections) and packs."""
        packs = len(pack_documents(self.store, self.data.packing.pack_tokens))
        return len(self.task_ids[0]) * self.config.samples, packs

    def _inputs(self, export: Path) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": __version__,
            "export": _hash_folder(export),
            "heldout": self.store.key,
            "eval": self.config.model_dump(mode="json"),
            "data": self.data.model_dump(mode="json", include={"form", "observation_role", "past_thinking", "packing"}),
            "prompts": {"openings": self._openings(), "observations": hash_file(Path(observation.__file__))},
            "loss": self.loss.model_dump(mode="json"),
            "tasks": {id: self.tasks[id].hash for id in self.task_ids[0]},
            "backend": {"name": self.backend.name, "fingerprint": self.backend.fingerprint},
        }

    def _openings(self) -> str:
        """Hash of the first messages of all conversations: other wording is another question."""
        tasks = (self.tasks[id] for id in self.task_ids[0])
        pairs = ((task, sample) for task in tasks for sample in range(self.config.samples))
        messages = [m for pair in pairs for m in opening(pair[0], self.config.seed, pair[1]).messages]
        return _hash([(message.role, message.content) for message in messages])

    def _known_result(self, name: str, inputs: dict[str, Any]) -> EvalResult | None:
        path = result_path(self.paths, name)
        if not path.is_file() or not completions_path(self.paths, name).is_file():
            return None
        if json.loads(path.read_text("utf-8")).get("inputs_hash") != _hash(inputs):
            return None
        return read_result(path)

    def _evaluate(self, export: Path, inputs: dict[str, Any], runner: asyncio.Runner, meter: _Meter) -> EvalResult:
        milestone = _milestone(export)
        tokenizer = AutoTokenizer.from_pretrained(export)
        model = load_model(export, self.config.device, ATTENTION, "eval.device")
        began = time.monotonic()
        conversations = self._complete(model, tokenizer, export.name, runner, meter)
        path = completions_path(self.paths, export.name)
        write_trajectories(path, conversations)
        generated = time.monotonic()
        heldout = score_heldout(
            model, self.store, self.loss, self.data.packing.pack_tokens, tokenizer.pad_token_id, meter.packs
        )
        left_out = self.task_ids[1]
        figures = summarise_completions(conversations, self.config.samples, self.config.pass_at, left_out, path.name)
        result = EvalResult(
            milestone=export.name,
            plan_step=milestone["plan_step"],
            trained_tokens=milestone["counts"]["all"],
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            heldout=heldout,
            completions=figures,
            seconds={
                "generation_and_execution": generated - began,
                "heldout_loss": time.monotonic() - generated,
            },
            inputs=inputs,
            inputs_hash=_hash(inputs),
            environment=describe_environment(model.device),
            settings=dict(self.settings),
            command=self.command,
        )
        write_result(self.paths, result)
        return result

    def _complete(
        self, model: PreTrainedModel, tokenizer: Any, name: str, runner: asyncio.Runner, meter: _Meter
    ) -> list[Trajectory]:
        sampling = Sampling(self.config.max_new_tokens, self.config.temperature, self.config.top_p)
        renderer = Renderer(tokenizer, self.data.observation_role, self.data.past_thinking)
        tasks = [self.tasks[id] for id in self.task_ids[0]]
        end_ids = end_of_turn_ids(renderer, opening(tasks[0], self.config.seed, 0).messages)
        generator = BatchGenerator(model, end_ids, tokenizer.pad_token_id, sampling, self.config.batch_size)

        def execute(jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
            return runner.run(self.backend.execute_many(jobs))

        completer = Completer(generator, renderer, execute, self.backend.fingerprint, self.config, name)
        return completer.complete(tasks, meter.attempts)


class _Meter:
    """Progress of one export among several."""

    def __init__(self, progress: Progress, name: str, number: int, exports: int, units: tuple[int, int]) -> None:
        self.progress = progress
        self.name = name
        self.total = exports * sum(units)
        self.start = number * sum(units)
        self.loss_start = self.start + units[0]

    def attempts(self, done: int, total: int, note: str) -> None:
        """First attempts advance the bar; corrections only change what it says."""
        at = self.start + done if note == "attempt 1" else self.loss_start
        self.progress(at, self.total, f"{self.name}: {note}, {done} of {total}")

    def packs(self, done: int, total: int) -> None:
        """Packs scored."""
        self.progress(self.loss_start + done, self.total, f"{self.name}: loss of pack {done} of {total}")


def _milestone(export: Path) -> dict[str, Any]:
    return json.loads((export / MILESTONE).read_text("utf-8"))


def _hash_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of an export's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _hash([[str(path.relative_to(folder)), hash_file(path)] for path in files])


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
