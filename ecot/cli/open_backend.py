"""A backend by the name that a configuration gives it: real tools, or the world model in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecot.backends.protocol import Backend

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
    from ecot.backends.registry import check_options, make_backend

    if name != _WORLD_MODEL:
        return make_backend(name, **options)
    from ecot.world_model.backend import IcwmOptions, open_icwm

    return open_icwm(check_options(name, IcwmOptions, options))
