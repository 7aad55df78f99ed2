"""Bounded concurrency, and all or nothing."""

import asyncio

import pytest

from ecot.backends.concurrency import Slots, run_all


def test_slots_bound_what_runs_at_once_in_every_event_loop():
    slots = Slots(3)

    async def measure():
        running, most = 0, 0

        async def job():
            nonlocal running, most
            async with slots.take():
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.005)
                running -= 1

        await run_all([job() for _ in range(12)])
        return most

    assert [asyncio.run(measure()) for _ in range(3)] == [3, 3, 3]


def test_results_keep_their_order():
    async def job(number):
        await asyncio.sleep(0.01 * (3 - number))
        return number

    assert asyncio.run(run_all([job(number) for number in range(4)])) == [0, 1, 2, 3]


def test_the_first_error_cancels_the_rest_and_waits_for_them():
    cleaned = []

    async def lasting(number):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(number)

    async def failing():
        await asyncio.sleep(0.01)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(run_all([lasting(1), failing(), lasting(2)]))
    assert sorted(cleaned) == [1, 2]


def test_cancellation_reaches_every_job():
    cleaned = []

    async def lasting(number):
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(number)

    async def run_and_cancel():
        job = asyncio.ensure_future(run_all([lasting(1), lasting(2)]))
        await asyncio.sleep(0.01)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job

    asyncio.run(run_and_cancel())
    assert sorted(cleaned) == [1, 2]


def test_no_slots_are_refused():
    with pytest.raises(ValueError, match="0 slots"):
        Slots(0)
