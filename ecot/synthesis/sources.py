"""Which source draws the trajectories: the one place that knows the generators by name."""

from __future__ import annotations

from collections.abc import Mapping

from ecot.backends.protocol import Backend
from ecot.synthesis.config import EndpointConfig, MechanicalConfig, SynthesisConfig
from ecot.synthesis.endpoint.source import EndpointSource
from ecot.synthesis.mechanical.source import MechanicalSource
from ecot.synthesis.source import Source
from ecot.tasks.bundle import Task


def make_source(config: SynthesisConfig, tasks: Mapping[str, Task], backend: Backend) -> Source:
    """The source that `config.generator` describes.

    Raises:
        ConfigError: it cannot be had as configured.
    """
    match config.generator:
        case MechanicalConfig() as mechanical:
            return MechanicalSource(mechanical, config.balance, config.max_corrections, tasks, backend)
        case EndpointConfig() as endpoint:
            return EndpointSource(endpoint, config.max_corrections, tasks, backend)
