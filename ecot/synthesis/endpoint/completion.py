"""What comes back over the wire: a completion as thinking and answer, however the server tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecot.synthesis.loop import Generated
from ecot.synthesis.postprocess import clean_thinking

_OPEN, _CLOSE = "<think>", "</think>"


class MalformedCompletionError(ValueError):
    """A server's answer is no chat completion."""


@dataclass(frozen=True)
class Completion:
    """One completion and what the server says about it."""

    generated: Generated
    finish_reason: str
    """`stop`, `length` or another word of the server's; empty if it says none."""
    prompt_tokens: int
    completion_tokens: int
    retries: int = 0
    """Tries that failed before it."""

    @property
    def empty(self) -> bool:
        """Whether it says nothing at all: training takes no such turn."""
        return not (clean_thinking(self.generated.thinking) or self.generated.answer.strip())

    @property
    def truncated(self) -> bool:
        """Whether it was cut by length."""
        return self.finish_reason == "length"

    def to_row(self) -> dict[str, Any]:
        """What provenance keeps of it."""
        return {
            "finish_reason": self.finish_reason,
            "truncated": self.truncated,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


def read_completion(body: Any, prompt_opens_thinking: bool = False, retries: int = 0) -> Completion:
    """The first choice of a chat completion.

    Args:
        body: the response's JSON.
        prompt_opens_thinking: as in `split_thinking`.
        retries: kept in the result.

    Raises:
        MalformedCompletionError: says what is wrong with it.
    """
    choices = body.get("choices") if isinstance(body, dict) else None
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise MalformedCompletionError("no 'choices' in the server's answer")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise MalformedCompletionError("no 'message' in the server's answer")
    content = _text(message.get("content"), "content")
    # vLLM and DeepSeek say `reasoning_content`, newer vLLM and OpenRouter `reasoning`.
    parsed = [_text(message.get(key), key) for key in ("reasoning_content", "reasoning")]
    thinking = next(filter(None, parsed), "")
    found = Generated(thinking, content) if thinking else split_thinking(content, prompt_opens_thinking)
    generated = Generated(found.thinking, _without_tags(found.answer))
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    reason = choices[0].get("finish_reason")
    return Completion(
        generated,
        finish_reason=reason if isinstance(reason, str) else "",
        prompt_tokens=_count(counts, "prompt_tokens"),
        completion_tokens=_count(counts, "completion_tokens"),
        retries=retries,
    )


def split_thinking(content: str, prompt_opens_thinking: bool = False) -> Generated:
    """Thinking and answer of a text in which the thinking stands in tags.

    The opening tag may be missing, since a template's generation prompt may hold it; the closing tag too, if the text
    was cut. Without either, all is answer, or all is thinking if `prompt_opens_thinking`.
    """
    before, closing, after = content.partition(_CLOSE)
    opened = before.lstrip().startswith(_OPEN)
    thinking = before.lstrip().removeprefix(_OPEN) if opened else before
    if closing:
        return Generated(thinking.strip(), after.strip("\n"))
    if opened or prompt_opens_thinking:
        return Generated(thinking.strip(), "")
    return Generated("", content)


def _without_tags(answer: str) -> str:
    """An answer without stray thinking tags, for which training would refuse the row; code stays as it is."""
    parts = answer.split("```")
    parts[::2] = [part.replace(_OPEN, "").replace(_CLOSE, "") for part in parts[::2]]
    return "```".join(parts)


def _text(value: Any, key: str) -> str:
    """A string, null, or a list of parts of which the texts count. Halves of surrogate pairs become `?`."""
    if value is None:
        return ""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict) and part.get("type") == "text"]
        value = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(value, str):
        raise MalformedCompletionError(f"'{key}' in the server's answer is no text")
    return value.encode("utf-8", "replace").decode("utf-8")


def _count(usage: Mapping[str, Any], key: str) -> int:
    value = usage.get(key)
    return value if isinstance(value, int) else 0
