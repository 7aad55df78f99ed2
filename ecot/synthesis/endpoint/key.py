"""The key of a server: in the environment, and nowhere else."""

from __future__ import annotations

import os

from ecot.errors import ConfigError


def read_key(variable: str | None, config_key: str) -> str:
    """The key that an environment variable holds; empty where none is named.

    Args:
        variable: its name.
        config_key: what names it in the configuration, for errors.

    Raises:
        ConfigError: it is not set, or holds what no key does.
    """
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"key {config_key!r}: the environment variable {variable} is not set; export it, or leave the key out if "
            "the server wants none"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"key {config_key!r}: the environment variable {variable} holds characters that no key has; export it anew"
        )
    return key
