"""A bounded number of executions at once, and all or nothing when one of them breaks."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Slots:
    """A bound on concurrency that outlives event loops: a backend may serve several `asyncio.run` in turn."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"{count} slots; at least 1 is needed")
        self.count = count
        self._semaphores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._semaphores = weakref.WeakKeyDictionary()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Hold a slot; wait for one if all are taken."""
        semaphore = self._semaphores.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.count))
        async with semaphore:
            yield


async def run_all(jobs: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all coroutines, results in order.

    The first exception, or a cancellation, cancels the others and waits until they have cleaned up.
    """
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
