"""A model's server as a source of trajectories: the general loop, with the model as the writer of attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from ecot.backends.protocol import Backend
from ecot.errors import EndpointError, ToolError
from ecot.synthesis.config import EndpointConfig
from ecot.synthesis.endpoint.client import ChatClient, TooLongError
from ecot.synthesis.endpoint.completion import Completion
from ecot.synthesis.endpoint.wire import request_body
from ecot.synthesis.journal import Drawn
from ecot.synthesis.loop import Generated, run_loop
from ecot.synthesis.memo import MemoBackend
from ecot.synthesis.router import Prompt, build_prompt
from ecot.synthesis.slots import Slot, Split, derive_seed
from ecot.synthesis.usage import Usage
from ecot.tasks.bundle import Task
from ecot.trajectories import Message, Provenance, Role, Trajectory

_NOT_IDENTITY = {"base_url", "api_key_env", "timeout_seconds", "retries", "backoff_seconds"}
"""Where the model runs and how patiently it is asked changes nothing in what it writes."""
MAX_TOO_LONG_AT_ONCE = 8
"""So many first requests that do not fit, and not one that does, are the fault of the configuration."""


class EndpointGenerator:
    """Writes the attempts of one conversation; completions that it was given are said again, not asked for again."""

    def __init__(self, client: ChatClient, config: EndpointConfig, seed: int, completions: list[Completion]) -> None:
        self._client = client
        self._config = config
        self._seed = seed
        self.completions = completions
        self.too_long = ""
        """What the server said when the conversation did not fit; empty while it does."""

    async def generate(self, task: Task, messages: Sequence[Message]) -> Generated | None:
        """The model's next turn; None once the conversation does not fit its context, or it says nothing at all."""
        turn = sum(message.role is Role.ASSISTANT for message in messages)
        if turn == len(self.completions):
            body = request_body(self._config, messages, derive_seed(self._seed, "turn", turn))
            try:
                self.completions.append(await self._client.complete(body))
            except TooLongError as error:
                self.too_long = str(error)
                return None
        completion = self.completions[turn]
        return None if completion.empty else completion.generated


class EndpointSource:
    """Draws trajectories by asking a model."""

    costly = True

    def __init__(
        self, config: EndpointConfig, max_corrections: int, tasks: Mapping[str, Task], backend: Backend
    ) -> None:
        """Raises ConfigError if the key is named but not set."""
        self.config = config
        self.max_corrections = max_corrections
        self.tasks = tasks
        self.backend = backend
        self.client = ChatClient(config)
        self._unfinished: dict[tuple[Split, int], list[Completion]] = {}
        """Completions of slots on which the tool broke: the next try begins with them."""
        self._fitted = False
        self._too_long_at_once = 0

    def identity(self) -> Any:
        """Model, sampling, form of the conversation and the prompts as they are worded; no source code, no URL."""
        # One seed per task: together they show every wording.
        prompts = [_prompt(task, number) for number, (_, task) in enumerate(sorted(self.tasks.items()))]
        texts = [[message.content for message in prompt.messages] for prompt in prompts]
        return [self.config.model_dump(mode="json", exclude=_NOT_IDENTITY), texts]

    async def draw(self, slot: Slot) -> Drawn:
        """One trajectory; it ends early, and is kept, where it outgrows the context or the model falls silent.

        Raises:
            ToolError: the tool broke.
            SlotLostError: the server gave no completion after all retries.
            EndpointError: the server refuses what it is asked, or has gone.
        """
        memo = MemoBackend(self.backend)
        task = self.tasks[slot.task_id]
        key = (slot.split, slot.index)
        generator = EndpointGenerator(self.client, self.config, slot.seed, self._unfinished.pop(key, []))
        prompt = _prompt(task, slot.seed)
        provenance = Provenance(self.config.model, prompt.instruction, slot.seed)
        try:
            trajectory = await run_loop(task, prompt, generator, memo, provenance, self.max_corrections)
        except ToolError:
            self._unfinished[key] = generator.completions
            raise
        self._watch_room(generator)
        if trajectory is not None:
            trajectory = self._with_details(trajectory, slot, generator)
        nothing = "prompt_too_long" if generator.too_long else "empty_completion"
        discards = {} if trajectory is not None else {nothing: 1}
        usage = _usage(generator)
        return Drawn(slot.split, slot.index, trajectory, discards, memo.executions, memo.seconds, usage)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def _watch_room(self, generator: EndpointGenerator) -> None:
        """Raises EndpointError when prompts do not fit the context, one after the other and from the start."""
        self._fitted = self._fitted or bool(generator.completions)
        self._too_long_at_once += not generator.completions
        if not self._fitted and self._too_long_at_once >= MAX_TOO_LONG_AT_ONCE:
            raise EndpointError(
                f"{self.client.root}: not one of {self._too_long_at_once} prompts fits the model's context together "
                f"with 'synthesis.generator.max_tokens' ({self.config.max_tokens}): {generator.too_long}; lower it, or "
                "start the server with a longer context"
            )

    def _with_details(self, trajectory: Trajectory, slot: Slot, generator: EndpointGenerator) -> Trajectory:
        sampling = self.config.model_dump(mode="json", include={"temperature", "top_p", "max_tokens"})
        wire = self.config.model_dump(mode="json", include={"observation_role", "past_thinking"})
        details = {
            "split": str(slot.split),
            "turns": [completion.to_row() for completion in generator.completions],
            "out_of_context": bool(generator.too_long),
            **sampling,
            **wire,
        }
        return replace(trajectory, provenance=replace(trajectory.provenance, details=details))


def _prompt(task: Task, seed: int) -> Prompt:
    return build_prompt(task, Random(derive_seed(seed, "prompt")))


def _usage(generator: EndpointGenerator) -> Usage:
    told = generator.completions
    return Usage(
        completions=len(told),
        prompt_tokens=sum(completion.prompt_tokens for completion in told),
        completion_tokens=sum(completion.completion_tokens for completion in told),
        retries=sum(completion.retries for completion in told),
        truncated_turns=sum(completion.truncated for completion in told),
        empty_turns=sum(completion.empty for completion in told),
        out_of_context=bool(generator.too_long),
    )
