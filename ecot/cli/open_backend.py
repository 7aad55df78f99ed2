"""A backend by the name that a configuration gives it: real tools, or the world model in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ecot.backends.protocol import Backend
from ecot.errors import ConfigError

_WORLD_MODEL = "icwm"


def open_backend(name: str, options: Mapping[str, Any]) -> Backend:
    """Build the backend.

    Args:
        name: of real tools, as `ecot.backends.registry` knows them, or `icwm`.
        options: what it takes.

    Raises:
        ConfigError: no backend has this name, or it does not take these options or their values.
        ToolError: its tools are missing.
        CheckpointError: the world model is not there, or not calibrated.
    """
    if name != _WORLD_MODEL:
        from ecot.backends.registry import make_backend

        return make_backend(name, **options)
    from ecot.world_model.backend import IcwmOptions, open_icwm

    try:
        checked = IcwmOptions.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"backend 'icwm': option {key!r}: {first['msg']} (given: {first['input']!r})") from error
    return open_icwm(checked)
