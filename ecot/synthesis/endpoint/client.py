"""One chat-completions server: patience with what passes, and plain words for what does not."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

import httpx

from ecot.errors import EndpointError
from ecot.synthesis.config import EndpointConfig
from ecot.synthesis.endpoint.completion import Completion, MalformedCompletionError, read_completion
from ecot.synthesis.endpoint.connections import Connections
from ecot.synthesis.endpoint.key import read_key
from ecot.synthesis.endpoint.refusals import Meaning, Refusal, read_refusal, remedy
from ecot.synthesis.endpoint.wire import api_root
from ecot.synthesis.source import SlotLostError

MAX_LOST_IN_A_ROW = 3
"""More requests than this lost one after the other, each with all its retries, mean that the server is gone."""
_LONGEST_BACKOFF = 60.0
_LONGEST_ORDERED_WAIT = 600.0
"""Seconds; what a server's `Retry-After` asks for beyond that is not waited for."""
_CONNECT_SECONDS = 30.0
_MODELS_NAMED = 20
_WARNING_SECONDS = 30.0
"""Of many requests that wait for a server, one is told of so often."""

logger = logging.getLogger(__name__)


class TooLongError(Exception):
    """The conversation does not fit the model's context; part of a trajectory's life, caught by the generator."""


class ChatClient:
    """Asks one server for completions, as many at once as callers do. The key stays in here and in no message."""

    def __init__(self, config: EndpointConfig) -> None:
        """Read the key from the environment.

        Raises:
            ConfigError: the variable that should hold it is not set.
        """
        self.config = config
        self.root = api_root(config.base_url)
        self._key = read_key(config.api_key_env, "synthesis.generator.api_key_env")
        self._answered = False
        self._lost_in_a_row = 0
        self._warned = float("-inf")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx.Timeout(config.timeout_seconds, connect=_CONNECT_SECONDS, pool=None)
        self._connections = Connections(headers, timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def complete(self, body: dict[str, Any]) -> Completion:
        """One completion.

        Raises:
            TooLongError: prompt and `max_tokens` exceed the model's context.
            SlotLostError: all retries failed, though the server has lately answered other requests.
            EndpointError: the server refuses the request, or it has gone.
        """
        refusal = Refusal(Meaning.TRY_AGAIN, "")
        for number in range(1 + self.config.retries):
            if number:
                await asyncio.sleep(self._wait(number, refusal))
            result = await self._ask(body, retries=number)
            if isinstance(result, Completion):
                self._answered, self._lost_in_a_row = True, 0
                return result
            refusal = result
            self._warn(refusal)
        raise self._lost(refusal)

    async def _ask(self, body: dict[str, Any], retries: int) -> Completion | Refusal:
        """One request: a completion, or why it is worth another try."""
        try:
            async with self._connections.take() as http:
                response = await http.post(f"{self.root}/chat/completions", json=body)
        except httpx.TimeoutException as error:
            limit = f"timeout_seconds is {self.config.timeout_seconds:g}"
            return Refusal(Meaning.TRY_AGAIN, f"{type(error).__name__} ({limit})")
        except httpx.RequestError as error:
            return Refusal(Meaning.TRY_AGAIN, f"{type(error).__name__}: {error}".rstrip(": "))
        if response.status_code == httpx.codes.OK:
            try:
                return read_completion(response.json(), self.config.prompt_opens_thinking, retries)
            except (MalformedCompletionError, ValueError) as error:
                return Refusal(Meaning.TRY_AGAIN, f"{error}; it begins {response.text[:200]!r}")
        refusal = read_refusal(response)
        match refusal.meaning:
            case Meaning.TOO_LONG:
                raise TooLongError(refusal.message)
            case Meaning.FATAL:
                raise await self._fatal(response.status_code, refusal)
        return refusal

    def _wait(self, number: int, refusal: Refusal) -> float:
        """Seconds before try `number` (from 1): doubling, jittered so that many do not come back at once."""
        backoff = min(_LONGEST_BACKOFF, self.config.backoff_seconds * 2.0 ** (number - 1))
        ordered = min(_LONGEST_ORDERED_WAIT, refusal.retry_after or 0.0)
        return max(ordered, backoff * random.uniform(0.5, 1.0)) + ordered * random.uniform(0.0, 0.1)

    def _warn(self, refusal: Refusal) -> None:
        """Say what is waited for."""
        if time.monotonic() - self._warned >= _WARNING_SECONDS:
            self._warned = time.monotonic()
            logger.warning("%s", self._without_key(f"{self.root}: {refusal.message}; trying again"))

    async def _fatal(self, status: int, refusal: Refusal) -> EndpointError:
        told = f"{self.root}: {refusal.message}; {remedy(status, self.config)}"
        if status == httpx.codes.NOT_FOUND and (names := await self._served_models()):
            told += f"; it serves: {', '.join(names)}"
        return EndpointError(self._without_key(told))

    async def _served_models(self) -> list[str]:
        """Names under `/models`; none where the server does not say."""
        try:
            async with self._connections.take() as http:
                response = await http.get(f"{self.root}/models", timeout=_CONNECT_SECONDS)
            listed = response.json()["data"]
            return [str(model["id"]) for model in listed][:_MODELS_NAMED]
        except (httpx.RequestError, ValueError, KeyError, TypeError):
            return []

    def _lost(self, refusal: Refusal) -> EndpointError | SlotLostError:
        """What to raise when a request has failed for good."""
        self._lost_in_a_row += 1
        told = self._without_key(f"{self.root}: no completion after {self.config.retries} retries: {refusal.message}")
        if self._answered and self._lost_in_a_row <= MAX_LOST_IN_A_ROW:
            return SlotLostError(told)
        return EndpointError(
            f"{told}; see that the server runs and 'synthesis.generator.base_url' leads to it. What is finished stays "
            "in the run's journal: the same command goes on from there"
        )

    def _without_key(self, text: str) -> str:
        """Servers like to quote the key that they refuse."""
        return text.replace(self._key, "[key]") if self._key else text
