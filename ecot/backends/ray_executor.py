"""A backend on the machines of a Ray cluster: every node runs its own tools in its own sandboxes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from ecot.backends.concurrency import Slots, run_all
from ecot.backends.protocol import Backend
from ecot.errors import MissingToolError, ToolError
from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task

_QUEUED_PER_WORKER = 2
"""Jobs in flight per executing worker: one that runs and one that waits, so that no node idles and none drowns."""


_START_SECONDS = 300.0
_CONNECT_SECONDS = 10.0


class _Runner:
    """What lives on a node: a backend made there, since tools, caches and sandboxes belong to the machine."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        from ecot.backends.registry import make_backend

        self._backend: Backend = make_backend(name, **options)

    async def identity(self) -> tuple[str, list[str]]:
        """Fingerprint and domains."""
        return self._backend.fingerprint, sorted(self._backend.domains)

    async def execute(self, task: Task, code: str) -> Execution:
        """Run one candidate here."""
        return await self._backend.execute(task, code)


class RayBackend:
    """Spreads executions over a Ray cluster; otherwise like the backend of the same name on this machine.

    Jobs are handed out as runners become free (back-pressure: at most two per worker are in flight), and cancelling
    reaches the sandbox on the node. The nodes need the package and the tools; their fingerprints must agree, because
    labels change with tool versions.
    """

    def __init__(self, name: str, address: str, *, workers: int = 1, **options: Any) -> None:
        """Connect and start one runner per core of the cluster, `workers` cores each.

        Args:
            name: the backend to run on the nodes.
            address: of the cluster, as `ray.init` takes it; `local` starts one on this machine.
            workers: executions at once in each runner.
            options: of the backend.

        Raises:
            MissingToolError: ray is not installed.
            ToolError: no cluster answers, it has no free core, or its nodes have different tools.
        """
        try:
            import ray
        except ImportError as error:
            raise MissingToolError("ray is not installed; get it with `pip install 'ecot[ray]'`") from error
        self._ray = ray
        if not ray.is_initialized():
            _connect(ray, address)
        num_runners = int(ray.available_resources().get("CPU", 0)) // workers
        if num_runners < 1:
            raise ToolError(
                f"the Ray cluster at {address!r} has no {workers} free cores; start nodes, end what holds them, or "
                "lower `workers`"
            )
        runner = ray.remote(num_cpus=workers, max_restarts=3, max_task_retries=0)(_Runner)
        self._runners = [runner.remote(name, {"workers": workers, **options}) for _ in range(num_runners)]
        self._per_runner = workers * _QUEUED_PER_WORKER
        self._slots = [Slots(self._per_runner) for _ in self._runners]
        self._in_flight = [0] * num_runners
        self._fingerprint, domains = self._agreed_identity(address)
        self.name = name
        self.domains = frozenset(Domain(domain) for domain in domains)

    def _agreed_identity(self, address: str) -> tuple[str, list[str]]:
        asked = [runner.identity.remote() for runner in self._runners]
        try:
            identities = self._ray.get(asked, timeout=_START_SECONDS)
        except self._ray.exceptions.GetTimeoutError as error:
            self.close()
            raise ToolError(
                f"the Ray cluster at {address!r} started no runners within {_START_SECONDS:.0f} s; see `ray status`"
            ) from error
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        different = len({fingerprint for fingerprint, _ in identities})
        if different != 1:
            self.close()
            raise ToolError(
                f"the nodes of the Ray cluster at {address!r} have {different} different tool environments; "
                "install the same versions on all, since labels depend on them"
            )
        fingerprint, domains = identities[0]
        return fingerprint, domains

    @property
    def fingerprint(self) -> str:
        """That of every node."""
        return self._fingerprint

    async def execute(self, task: Task, code: str) -> Execution:
        """Run one candidate on the least busy runner; see `Backend`.

        Raises:
            ToolError: the node was lost, or its tool is broken.
        """
        number = min(range(len(self._runners)), key=self._in_flight.__getitem__)
        self._in_flight[number] += 1
        try:
            async with self._slots[number].take():
                return await self._run(number, task, code)
        finally:
            self._in_flight[number] -= 1

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Run several candidates at once, results in the order of `jobs`; see `Backend`."""
        return await run_all([self.execute(task, code) for task, code in jobs])

    async def _run(self, number: int, task: Task, code: str) -> Execution:
        reference = self._runners[number].execute.remote(task, code)
        try:
            execution: Execution = await reference
        except asyncio.CancelledError:
            self._ray.cancel(reference)
            raise
        except self._ray.exceptions.RayTaskError as error:
            # Raised on the node as one of our own errors, it is one here too.
            raise error.as_instanceof_cause() from error
        except self._ray.exceptions.RayActorError as error:
            raise ToolError(f"a node of the Ray cluster was lost while it ran task {task.id}: {error}") from error
        return execution

    def close(self) -> None:
        """End the runners; the cluster stays."""
        for runner in self._runners:
            self._ray.kill(runner)


def _connect(ray: Any, address: str) -> None:
    """Join the cluster; an address that nothing listens on is told at once, where Ray would try for minutes.

    Raises:
        ToolError: there is no cluster.
    """
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit() and "/" not in host:
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except OSError as error:  # ConnectionError is one
        raise ToolError(
            f"no Ray cluster at {address!r}: {error}; give the address of its head, or `local` for one on this machine"
        ) from error
