"""Where a model's server is and how patiently it is asked."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ecot.config import Config


class ServerConfig(Config):
    """A server that speaks OpenAI's protocol."""

    base_url: str
    """Where the server is, with or without `/v1`: `http://node17:8000`. It does not belong to a run's identity."""
    model: Annotated[str, Field(min_length=1)]
    """The model's name as the server knows it; it stands in every trajectory."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; without it no key is sent."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """Longest wait for one completion."""
    retries: Annotated[int, Field(ge=0)] = 8
    """Further tries after a rate limit, a server's error, a broken connection or a time-out."""
    backoff_seconds: Annotated[float, Field(gt=0)] = 1.0
    """Wait before the first further try; it doubles each time, up to a minute. `Retry-After` is honoured."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must look like http://host:8000 or https://host/v1")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("base_url may hold no user, key, query or fragment; a key's place is api_key_env")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _check_key_name(cls, value: str | None) -> str | None:
        # What is wrong here may be the key itself, so the message does not repeat it.
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
            raise ValueError(
                "api_key_env must be the name of an environment variable (A-Z, 0-9 and _), never the key itself"
            )
        return value
