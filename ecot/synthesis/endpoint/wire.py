"""What goes over the wire: a conversation as the body of a chat-completions request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ecot.data_mix.config import ObservationRole, PastThinking
from ecot.synthesis.config import EndpointConfig
from ecot.trajectories import Message, Role

_SEEDS = 2**31
"""llama.cpp keeps a seed in 32 bits."""


def api_root(base_url: str) -> str:
    """The address that paths like `/chat/completions` are appended to; `/v1` is added where no version is named."""
    root = base_url.rstrip("/").removesuffix("/chat/completions")
    return root if re.search(r"/v\d", urlsplit(root).path) else f"{root}/v1"


def request_body(config: EndpointConfig, messages: Sequence[Message], seed: int) -> dict[str, Any]:
    """One request; `seed` may be any whole number from 0."""
    body: dict[str, Any] = {"model": config.model, "messages": wire_messages(config, messages)}
    options = {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}
    body |= {name: value for name, value in options.items() if value is not None}
    if config.send_seed:
        body["seed"] = seed % _SEEDS
    return body | config.extra_body


def wire_messages(config: EndpointConfig, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages with the roles and the treatment of earlier thinking that the server is to get."""
    wired: list[dict[str, Any]] = []
    for message in messages:
        if message.role is Role.ASSISTANT:
            wired.append(_assistant(config, message))
        elif message.role is Role.OBSERVATION:
            wired.append(_observation(config, message.content, number=len(wired)))
        else:
            wired.append({"role": str(message.role), "content": message.content})
    return wired


def _assistant(config: EndpointConfig, message: Message) -> dict[str, Any]:
    wired = {"role": "assistant", "content": message.content}
    if config.past_thinking is PastThinking.STRIP or message.reasoning_content is None:
        return wired
    if config.past_thinking_as == "content":
        return {**wired, "content": f"<think>\n{message.reasoning_content}\n</think>\n\n{message.content}"}
    return {**wired, config.past_thinking_as: message.reasoning_content}


def _observation(config: EndpointConfig, content: str, number: int) -> dict[str, Any]:
    wired = {"role": str(config.observation_role), "content": content}
    if config.observation_role is ObservationRole.TOOL:
        # The protocol asks for an id; Mistral's templates want nine letters or digits.
        wired["tool_call_id"] = f"attempt{number:02d}"
    return wired
