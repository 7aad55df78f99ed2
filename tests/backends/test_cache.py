"""The cache serves what was put in, to any process, and nothing torn."""

import asyncio
import multiprocessing
import sqlite3
from dataclasses import replace

import pytest

from ecot.backends.cache import CachedBackend, ExecutionCache, execution_key
from ecot.errors import DataError, ToolError
from ecot.outcomes import Domain, Execution, Label, Source, Stage
from ecot.tasks.bundle import Task

TASK = Task("t", Domain.GENERAL, "title", "spec", "python", "pass", "main")


def sample(number=0, **changes):
    metrics = {"mismatches": 3.0, "samples": float(number)}
    text = f"first mismatch\nat \udc80 {number}\n"
    return Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text, metrics, 0.25, "fp", **changes)


class Counting:
    """A backend whose outcome is a function of the code, and which counts its calls."""

    name, domains, fingerprint = "counting", frozenset({Domain.GENERAL}), "fp"

    def __init__(self):
        self.ran = []

    async def execute(self, task, code):
        self.ran.append(code)
        if code == "raise":
            raise ToolError("broken")
        return sample(len(code))

    async def execute_many(self, jobs):
        return [await self.execute(task, code) for task, code in jobs]


@pytest.fixture
def cache(tmp_path):
    cache = ExecutionCache(tmp_path / "deep" / "cache.sqlite")
    yield cache
    cache.close()


def test_an_execution_comes_back_whole_with_no_time(cache):
    original = sample(7, source=Source.ICWM, confidence=0.75)
    cache.put({"k": original})
    assert cache.get("k") == replace(original, seconds=0.0)
    assert cache.get("other") is None and len(cache) == 1


def test_it_outlives_the_process_that_wrote_it(cache):
    cache.put({"k": sample()})
    cache.close()
    assert ExecutionCache(cache.path).get("k") == replace(sample(), seconds=0.0)


def test_a_backend_runs_nothing_twice(cache):
    inner = Counting()
    backend = CachedBackend(inner, cache)

    async def use():
        first = await backend.execute_many([(TASK, "a"), (TASK, "bb"), (TASK, "a")])
        second = await backend.execute_many([(TASK, "bb"), (TASK, "ccc"), (TASK, "a")])
        return first, second, await backend.execute(TASK, "ccc")

    first, second, third = asyncio.run(use())
    assert inner.ran == ["a", "bb", "ccc"]
    assert [e.metrics["samples"] for e in (*first, *second, third)] == [1, 2, 1, 2, 3, 1, 3]
    assert [e.seconds for e in (*first, *second, third)] == [0.25, 0.25, 0, 0, 0.25, 0, 0]
    assert (backend.hits, backend.misses) == (4, 3)


def test_errors_of_the_tool_are_not_kept(cache):
    inner = Counting()
    backend = CachedBackend(inner, cache)
    for _ in range(2):
        with pytest.raises(ToolError):
            asyncio.run(backend.execute(TASK, "raise"))
    assert inner.ran == ["raise", "raise"] and len(cache) == 0


def test_the_key_holds_everything_that_an_outcome_depends_on():
    keys = {
        execution_key(TASK, "code", "fp"),
        execution_key(TASK, "code ", "fp"),
        execution_key(TASK, "code", "fp2"),
        execution_key(replace(TASK, reference="other"), "code", "fp"),
        execution_key(replace(TASK, settings={"run_seconds": 2}), "code", "fp"),
        execution_key(replace(TASK, hidden={"t": "x"}), "code", "fp"),
        execution_key(TASK, "\udc80", "fp"),
        # The same characters, cut elsewhere.
        execution_key(TASK, "pcode", "f"),
    }
    assert len(keys) == 8
    assert execution_key(replace(TASK, title="other", difficulty="hard"), "code", "fp") in keys


def test_a_damaged_row_is_not_served_and_mended_by_the_next_run(cache):
    cache.put({"k": sample(1), "m": sample(2)})
    cache.close()
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE executions SET row = replace(row, 'MISMATCH', 'MISPATCH') WHERE key = 'k'")
    assert cache.get("k") is None
    assert cache.get("m").metrics["samples"] == 2
    cache.put({"k": sample(3)})
    assert cache.get("k").metrics["samples"] == 3


def test_a_row_of_another_key_is_not_served(cache):
    cache.put({"k": sample(1)})
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE executions SET key = 'stolen'")
    connection.close()
    assert cache.get("stolen") is None


def test_a_file_that_is_no_cache_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(DataError, match=r"cache\.sqlite: not a usable cache.*delete it"):
        ExecutionCache(path).get("k")


def write_and_read(path, worker, count, failures):
    cache = ExecutionCache(path)
    for number in range(count):
        key = f"key-{number}"
        cache.put({key: sample(number)})
        found = cache.get(f"key-{(number * 7 + worker) % count}")
        if found is not None and found.diagnostics != sample(int(found.metrics["samples"])).diagnostics:
            failures.put((worker, number))


def test_several_processes_share_it_without_loss(cache):
    context = multiprocessing.get_context("fork")
    cache.put({"before": sample(1)})
    failures = context.Queue()
    workers = [context.Process(target=write_and_read, args=(cache.path, n, 60, failures)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert failures.empty()
    assert len(cache) == 61
    assert all(cache.get(f"key-{number}").metrics["samples"] == number for number in range(60))


def use_after_fork(cache, results):
    cache.put({"child": sample(5)})
    results.put(cache.get("parent").metrics["samples"])


def test_it_survives_a_fork(cache):
    cache.put({"parent": sample(4)})
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=use_after_fork, args=(cache, results))
    child.start()
    child.join(60)
    assert child.exitcode == 0 and results.get(timeout=10) == 4
    assert cache.get("child").metrics["samples"] == 5


def kill_while_writing(path):
    cache = ExecutionCache(path)
    number = 0
    while True:
        cache.put({f"key-{number}": sample(number), f"twin-{number}": sample(number)})
        number += 1


def test_a_killed_writer_leaves_whole_transactions(cache):
    cache.put({"before": sample(1)})
    cache.close()
    context = multiprocessing.get_context("fork")
    writer = context.Process(target=kill_while_writing, args=(cache.path,))
    writer.start()
    while len(cache) < 100:
        pass
    writer.kill()
    writer.join(60)
    written = len(cache) - 1
    assert written % 2 == 0
    assert all(cache.get(f"{kind}-{n}") is not None for kind in ("key", "twin") for n in range(written // 2))


def test_real_executions_are_the_same_from_the_cache(icarus, tasks, cache):
    backend = CachedBackend(icarus, cache)
    alu = tasks["alu"]
    jobs = [(alu, alu.reference), *((alu, wrong.code) for wrong in alu.wrong)]
    fresh = asyncio.run(backend.execute_many(jobs))
    served = asyncio.run(backend.execute_many(jobs))
    assert served == [replace(execution, seconds=0.0) for execution in fresh]
    assert backend.hits == len(jobs)
