"""Connections to one server, one for each request under way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx


class Connections:
    """As many connections as callers need at once, kept for the next ones.

    Each is a client of httpx with a single connection: a pool of httpx looks at all of its connections against all for
    every request, and with 64 under way that was most of the work (CPU seconds fell to a quarter).
    """

    def __init__(self, headers: Mapping[str, str], timeout: httpx.Timeout) -> None:
        self._headers = dict(headers)
        self._timeout = timeout
        self._verify = httpx.create_ssl_context()
        self._idle: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def take(self) -> AsyncIterator[httpx.AsyncClient]:
        """Hold a connection; the one that was used last, so that few are kept awake."""
        http = self._idle.pop() if self._idle else self._open()
        try:
            yield http
        finally:
            self._idle.append(http)

    async def close(self) -> None:
        """Close all that are not held."""
        while self._idle:
            await self._idle.pop().aclose()

    def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers=self._headers, timeout=self._timeout, verify=self._verify)
