"""Executions on a Ray cluster give what they give here; one started on this machine stands for it."""

import asyncio
from dataclasses import replace

import pytest

from ecot.backends.ray_executor import _connect
from ecot.backends.registry import make_backend
from ecot.errors import DataError, ToolError
from ecot.outcomes import Domain

ray = pytest.importorskip("ray", reason="ray is not installed (pip install 'ecot[ray]')")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # Ray's own folder must have a short path: it holds Unix sockets.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def backend(cluster, icarus):
    made = make_backend("icarus", ray="local", workers=1, lint=False, synthesis=False)
    yield made
    made.close()


def test_outcomes_are_those_of_this_machine_in_order(backend, icarus, tasks):
    task = tasks["popcount"]
    jobs = [(task, task.reference), *((task, wrong.code) for wrong in task.wrong)] * 3
    there = asyncio.run(backend.execute_many(jobs))
    here = asyncio.run(icarus.execute_many(jobs))
    assert [(e.label, e.subcode, e.diagnostics, e.fingerprint) for e in there] == [
        (e.label, e.subcode, e.diagnostics, e.fingerprint) for e in here
    ]
    assert backend.fingerprint == icarus.fingerprint


def test_errors_keep_their_type(backend, tasks):
    task = tasks["alu"]
    with pytest.raises(DataError, match="cannot run on icarus"):
        asyncio.run(backend.execute(replace(task, domain=Domain.CAD_3D), task.reference))
    broken = replace(task, reference="module alu; endmodule\n")
    with pytest.raises(ToolError, match="reference does not pass"):
        asyncio.run(backend.execute(broken, task.reference))


def test_cancelling_frees_the_nodes(backend, tasks):
    task = tasks["alu"]
    patient = replace(task, settings={**task.settings, "run_seconds": 120})
    head, _, _ = task.reference.rpartition("endmodule")
    endless = f"{head}\ninitial forever #0;\nendmodule\n"

    async def cancel():
        jobs = asyncio.ensure_future(backend.execute_many([(patient, endless)] * 8))
        await asyncio.sleep(1)
        jobs.cancel()
        await asyncio.wait([jobs], timeout=60)
        assert jobs.cancelled()
        return await asyncio.wait_for(backend.execute(task, task.reference), 60)

    assert asyncio.run(cancel()).passed


def test_a_cluster_without_free_cores_is_told(backend):
    with pytest.raises(ToolError, match="has no 1 free cores; start nodes"):
        make_backend("icarus", ray="local", workers=1, lint=False, synthesis=False)


def test_no_cluster_at_an_address_is_told():
    with pytest.raises(ToolError, match=r"no Ray cluster at '127\.0\.0\.1:1'.*give the address of its head"):
        _connect(ray, "127.0.0.1:1")
