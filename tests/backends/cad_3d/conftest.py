"""One CadQuery backend for all tests: its servers take seconds to start."""

import asyncio
from dataclasses import replace

import pytest

from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def cadquery(started):
    return started("cadquery")


@pytest.fixture(scope="session")
def tasks():
    return load_tasks("builtin:cad_3d")


@pytest.fixture
def flange(tasks):
    return tasks["square_flange"]


@pytest.fixture
def execute(cadquery):
    return lambda task, code: asyncio.run(cadquery.execute(task, code))


@pytest.fixture
def drawn(flange):
    """A task made from a reference; its box is all that its inspection asks for."""

    def make(reference, box, **settings):
        far = "[[900, 0, 0], [0, 900, 0], [0, 0, 900]]"
        middle = [(box[0] + box[1]) / 2, (box[2] + box[3]) / 2, (box[4] + box[5]) / 2]
        solids = settings.get("solids", 1)
        plan = f"box_mm: {list(box)}\nsolids: {solids}\ninside: {[middle] * 3}\noutside: {far}\n"
        hidden = {"inspection.yaml": plan}
        return replace(flange, id="drawn", reference=reference, hidden=hidden, settings=settings)

    return make
