"""What a server's refusal means: try again, the conversation is too long, or the user has to mend something."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

import httpx

from ecot.synthesis.config import EndpointConfig

_TRANSIENT = frozenset({408, 409, 425, 429})
_MAY_BE_LENGTH = frozenset({400, 413, 422, 500})
_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"})
_LENGTH = re.compile(
    r"(maximum|model'?s?|available|exceeds?\b.{0,40}) (context|sequence)[ _-](length|size|window)"
    r"|context (length|size|window) (of|is|exceeded|limit)|maximum (input|prompt) length|reduce the length of"
    r"|`inputs` tokens \+ `max_new_tokens`",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST_MESSAGE = 500


class Meaning(Enum):
    """What to do about a refusal."""

    TRY_AGAIN = auto()
    TOO_LONG = auto()
    """The conversation and `max_tokens` do not fit the model's context."""
    FATAL = auto()


@dataclass(frozen=True)
class Refusal:
    """A response that is no completion."""

    meaning: Meaning
    message: str
    """What the server says, in a line."""
    retry_after: float | None = None
    """Seconds that the server asks to wait."""


def read_refusal(response: httpx.Response) -> Refusal:
    """What a response with a status other than 200 means. OpenAI's client tries the same statuses again."""
    message, code = _message(response)
    told = f"HTTP {response.status_code}: {message}" if message else f"HTTP {response.status_code}"
    if response.status_code in _MAY_BE_LENGTH and (code in _CODES or _LENGTH.search(message)):
        return Refusal(Meaning.TOO_LONG, told)
    if response.status_code in _TRANSIENT or response.status_code >= 500:
        return Refusal(Meaning.TRY_AGAIN, told, _retry_after(response))
    return Refusal(Meaning.FATAL, told)


def remedy(status: int, config: EndpointConfig) -> str:
    """What a user can do about a status that ends the run."""
    if status in (401, 403):
        if config.api_key_env is None:
            return (
                "the server wants a key: put it into an environment variable and name that in "
                "'synthesis.generator.api_key_env'"
            )
        return f"the key in the environment variable {config.api_key_env} is not accepted; export a valid one"
    if status == 404:
        return (
            f"check 'synthesis.generator.model' ({config.model!r} must be a name that the server knows) and "
            "'synthesis.generator.base_url'"
        )
    if status in (301, 302, 303, 307, 308):
        return "the server has moved; put its new address into 'synthesis.generator.base_url'"
    return (
        "the server does not take the request; check sampling options, 'extra_body', 'observation_role', "
        "'past_thinking_as' and 'send_seed' under 'synthesis.generator'"
    )


def _message(response: httpx.Response) -> tuple[str, str]:
    """What an error's body says, in one line, and its code. Servers nest it in different ways."""
    try:
        body: Any = response.json()
    except ValueError:  # JSON and Unicode errors are
        return _line(response.text), ""
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if not isinstance(body, dict):
        return _line(response.text), ""
    message = next((body[key] for key in ("message", "error", "detail") if body.get(key)), response.text)
    codes = [str(body.get(key)) for key in ("code", "type")]
    return _line(str(message)), next((code for code in codes if code in _CODES), "")


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from the header's number or date; None without one that can be read."""
    value = response.headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
