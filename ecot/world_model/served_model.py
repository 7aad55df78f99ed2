"""A world model that a server runs, through the completions endpoint of vLLM, which tells how likely a prompt is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from ecot.errors import EndpointError
from ecot.synthesis.endpoint.key import read_key
from ecot.synthesis.endpoint.refusals import Meaning, read_refusal
from ecot.synthesis.endpoint.wire import api_root
from ecot.tasks.bundle import Task
from ecot.world_model.asking import Asker, Prediction, Prompt, best
from ecot.world_model.config import EndpointOptions
from ecot.world_model.outcome_text import Verdict

_LONGEST_WAIT = 60.0
"""Seconds between two tries."""


class ServedModel:
    """Predicts outcomes by asking a server for each header's log-probability, then for what follows the likeliest.

    Requests hold token ids, so that the server's tokenizer has no say. All headers of a prompt are asked for at once: a
    server with a prefix cache reads the prompt once.

    Args:
        config: where the server is.
        asker: how the model is asked.
    """

    def __init__(self, config: EndpointOptions, asker: Asker) -> None:
        """Raises ConfigError if the key is named but not set."""
        self.config = config
        self.asker = asker
        self.root = api_root(config.base_url)
        self._key = read_key(config.api_key_env, "endpoint.api_key_env")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=config.requests_at_once)
        self._http = httpx.Client(headers=headers, timeout=config.timeout_seconds, limits=limits)

    def prompt(self, task: Task, code: str) -> Prompt:
        """As `Asker.prompt`."""
        return self.asker.prompt(task, code)

    def predict(
        self, prompts: Sequence[Prompt], progress: Callable[[int], None] = lambda done: None
    ) -> list[Prediction]:
        """Predict some outcomes, results in the order given; `progress` is told how many are scored.

        Raises:
            EndpointError: the server refuses, does not answer, or tells no log-probabilities.
        """
        with ThreadPoolExecutor(self.config.requests_at_once) as pool:
            asked = [
                {
                    verdict: pool.submit(self._score, prompt, self.asker.headers[verdict])
                    for verdict in self.asker.verdicts[prompt.domain]
                }
                for prompt in prompts
            ]
            try:
                scores = []
                for number, row in enumerate(asked, start=1):
                    scores.append({verdict: future.result() for verdict, future in row.items()})
                    progress(number)
                chosen = [best(found) for found in scores]
                texts = list(pool.map(self._write, prompts, chosen))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [self.asker.prediction(*item) for item in zip(scores, chosen, texts, strict=True)]

    def _score(self, prompt: Prompt, header: Sequence[int]) -> float:
        """Log-probability of a header after the prompt."""
        ids = [*prompt.ids, *header]
        # One token is written, since some servers refuse to write none; it is not looked at.
        choice = self._ask({"prompt": ids, "max_tokens": 1, "echo": True, "logprobs": 1})
        logprobs = choice.get("logprobs")
        found = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
        told = found[len(prompt.ids) : len(ids)] if isinstance(found, list) else []
        if len(told) != len(header) or not all(isinstance(value, int | float) for value in told):
            raise EndpointError(
                f"{self.root}: it does not tell the log-probabilities of a prompt's tokens (`echo` with `logprobs`); "
                "serve the world model with vLLM, or run it here (leave `endpoint` out)"
            )
        return float(sum(told))

    def _write(self, prompt: Prompt, verdict: Verdict) -> str:
        """What the model says after a header."""
        body = {
            "prompt": [*prompt.ids, *self.asker.headers[verdict]],
            "max_tokens": self.asker.max_new_tokens,
            "stop_token_ids": list(self.asker.end_ids),
        }
        text = self._ask(body).get("text")
        return text if isinstance(text, str) else ""

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """The first choice of a completion; what may pass is tried again, twice as late each time."""
        told = ""
        for number in range(1 + self.config.retries):
            if number:
                time.sleep(min(_LONGEST_WAIT, self.config.backoff_seconds * 2 ** (number - 1)))
            try:
                response = self._http.post(
                    f"{self.root}/completions", json={"model": self.config.model, "temperature": 0, **body}
                )
            except httpx.RequestError as error:
                told = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == httpx.codes.OK:
                return self._choice(response)
            refusal = read_refusal(response)
            told = refusal.message
            if refusal.meaning is not Meaning.TRY_AGAIN:
                break
        if self._key:
            told = told.replace(self._key, "[key]")
        raise EndpointError(
            f"{self.root}: no completion from model {self.config.model!r}: {told}; see that it is served there, under "
            "that name and with the context of its training"
        )

    def _choice(self, response: httpx.Response) -> dict[str, Any]:
        try:
            choice = response.json()["choices"][0]
        except (ValueError, KeyError, IndexError, TypeError):
            choice = None
        if not isinstance(choice, dict):
            raise EndpointError(f"{self.root}: no completion in the server's answer: {response.text[:200]!r}")
        return choice
