"""One backend for all domains sends each task to the tools of its own."""

import asyncio
from dataclasses import replace

import pytest

from ecot.backends.cache import CachedBackend
from ecot.backends.registry import backend_of, backends_named, make_backend, make_backend_for
from ecot.errors import ConfigError, DataError
from ecot.outcomes import Domain


def test_each_task_goes_to_the_tools_of_its_domain(chip_design, tasks):
    backend = make_backend_for(tasks)
    assert backend.domains == {Domain.CHIP_DESIGN}
    task = tasks["alu"]
    wrong = task.wrong[0]
    passed, failed = asyncio.run(backend.execute_many([(task, task.reference), (task, wrong.code)]))
    assert passed.passed and failed.label is wrong.label
    # The outcome names the tools that gave it, not the whole set.
    assert passed.fingerprint == chip_design.fingerprint != backend.fingerprint
    with pytest.raises(DataError, match=r"task alu: domain cad_3d is not among those of this backend \(chip_design\)"):
        asyncio.run(backend.execute(replace(task, domain=Domain.CAD_3D), task.reference))


def test_options_reach_the_backend_of_a_domain(chip_design, tmp_path):
    backend = make_backend(
        "real", domains=["chip_design"], backend_options={"icarus": {"secret": "own"}}, cache=tmp_path / "c.sqlite"
    )
    (inner,) = backend._backends.values()
    assert isinstance(inner, CachedBackend)
    assert inner.fingerprint == make_backend("icarus", secret="own").fingerprint != chip_design.fingerprint


def test_what_names_no_backend_lists_those_there_are():
    assert backend_of(Domain.CHIP_DESIGN) == "icarus"
    assert backends_named("chip_design") == backends_named("icarus") == [("icarus", Domain.CHIP_DESIGN)]
    with pytest.raises(ConfigError, match=r"'poetry' is neither a backend nor a domain.*chip_design.*icarus"):
        backends_named("poetry")
    with pytest.raises(ConfigError, match=r"option 'domains\.0'"):
        make_backend("real", domains=["poetry"])
