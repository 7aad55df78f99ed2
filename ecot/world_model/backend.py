"""The world model as a backend: it says what a tool would say, and leaves what it is not sure of to the tool."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ecot.backends.concurrency import run_all
from ecot.backends.protocol import Backend
from ecot.backends.registry import make_backend
from ecot.config import Config
from ecot.errors import ConfigError, DataError
from ecot.outcomes import Domain, Execution, Label, Source
from ecot.tasks.bundle import Task
from ecot.world_model.asking import Prediction, Predictor, Prompt, label_scores
from ecot.world_model.config import EndpointOptions
from ecot.world_model.model_folder import Card, identity_of, open_predictor, read_card

NAME = "icwm"
"""As the configuration names it."""


class IcwmOptions(Config):
    """What the backend `icwm` takes."""

    model: Path
    """A world model: an export with its `world_model.json`."""
    tools: str | None = "real"
    """The backend that runs what the model is not sure of; without one (null) every prediction stands."""
    tool_options: dict[str, Any] = Field(default_factory=dict)
    """Passed to `tools` as they stand."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Confidence from which a prediction stands; the calibrated one of its domain when absent."""
    verify_pass: bool = True
    """Run what is predicted to pass: it would end the trajectory, and a false one could not be told any more."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Candidates predicted at once."""
    endpoint: EndpointOptions | None = None
    """A server that runs the same export (`vllm serve MODEL`); in this process when absent."""
    device: str = Field(default="auto", pattern="^(auto|cpu|cuda)$")
    """Where the model runs; `auto` takes a GPU when there is one."""


@dataclass
class Shares:
    """Who answered so far."""

    predicted: int = 0
    unsure: int = 0
    """Run because the confidence was too low."""
    passes: int = 0
    """Run because a PASS was predicted."""
    unreadable: int = 0
    """Run because the candidate cannot be shown to the model (too long, control tokens, another domain)."""


class IcwmBackend:
    """Predicts outcomes; candidates that come while others are predicted make the next batch."""

    name = NAME

    def __init__(self, predictor: Predictor, card: Card, identity: Sequence[Any], options: IcwmOptions) -> None:
        """Use `open_icwm`.

        Raises:
            ConfigError: as `make_backend` says of `tools`.
            ToolError: the tools are missing.
        """
        self.domains = frozenset(card.verdicts)
        self.shares = Shares()
        self._predictor = predictor
        self._card = card
        self._options = options
        tool_options = dict(options.tool_options)
        if options.tools == "real":
            tool_options.setdefault("domains", sorted(card.verdicts))
        self._tools: Backend | None = None if options.tools is None else make_backend(options.tools, **tool_options)
        chosen = options.model_dump(mode="json", include={"threshold", "verify_pass"})
        tools = self._tools.fingerprint if self._tools is not None else ""
        content = json.dumps([NAME, list(identity), chosen, tools], sort_keys=True)
        self._fingerprint = hashlib.sha256(content.encode()).hexdigest()
        self._waiting: list[tuple[Prompt, asyncio.Future[Prediction]]] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of weights, card and options, and of the tools behind."""
        return self._fingerprint

    async def execute(self, task: Task, code: str) -> Execution:
        """Predict the outcome of one candidate, or have the tools run it.

        Raises:
            ToolError: tool or harness are broken.
            DataError: the candidate cannot be shown to the model, and there are no tools behind it.
            ConfigError: the model has not learnt the task's domain, and there are no tools behind it.
        """
        begin = time.monotonic()
        try:
            prompt = self._predictor.prompt(task, code)
        except (DataError, ConfigError):
            if self._tools is None:
                raise
            self.shares.unreadable += 1
            return await self._tools.execute(task, code)
        prediction = await self._predict(prompt)
        execution = self._execution(task, prediction, time.monotonic() - begin)
        if self._tools is not None:
            if not self._is_sure(task.domain, execution):
                self.shares.unsure += 1
                return await self._tools.execute(task, code)
            if execution.label is Label.PASS and self._options.verify_pass:
                self.shares.passes += 1
                return await self._tools.execute(task, code)
        self.shares.predicted += 1
        return execution

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Predict several, results in the order of `jobs`."""
        return await run_all([self.execute(task, code) for task, code in jobs])

    def _is_sure(self, domain: Domain, execution: Execution) -> bool:
        if self._options.threshold is not None:
            return execution.confidence >= self._options.threshold
        return self._card.calibration.trusts(domain, execution.confidence)

    def _execution(self, task: Task, prediction: Prediction, seconds: float) -> Execution:
        outcome = prediction.outcome
        chances = self._card.calibration.probabilities(task.domain, label_scores(prediction.scores))
        return Execution(
            outcome.verdict.label,
            outcome.verdict.subcode,
            outcome.verdict.stage,
            outcome.diagnostics,
            dict(outcome.metrics),
            seconds,
            self._fingerprint,
            Source.ICWM,
            chances[outcome.verdict.label],
        )

    async def _predict(self, prompt: Prompt) -> Prediction:
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Predict what waits, batch by batch, until nothing does; another thread keeps the event loop free."""
        await asyncio.sleep(0)  # Whoever starts together shares the first batch.
        while self._waiting:
            batch = self._waiting[: self._options.batch_size]
            del self._waiting[: len(batch)]
            batch = [(prompt, future) for prompt, future in batch if not future.done()]
            try:
                made = await asyncio.to_thread(self._predictor.predict, [prompt for prompt, _ in batch])
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                if isinstance(error, asyncio.CancelledError):
                    raise
                continue
            for (_, future), prediction in zip(batch, made, strict=True):
                if not future.done():
                    future.set_result(prediction)


def open_icwm(options: IcwmOptions) -> IcwmBackend:
    """Load a world model as a backend.

    Raises:
        CheckpointError: the folder holds no calibrated world model.
        ConfigError: a GPU is asked for and there is none, or `tools` is no backend.
        ToolError: the tools behind are missing.
    """
    if not options.model.is_dir():
        raise ConfigError(f"backend 'icwm': option 'model': {options.model} is no folder; give an export of its run")
    card = read_card(options.model)
    predictor = open_predictor(
        options.model,
        card,
        batch_size=options.batch_size,
        device=options.device,
        key="backend_options.device",
        endpoint=options.endpoint,
    )
    return IcwmBackend(predictor, card, identity_of(options.model), options)
