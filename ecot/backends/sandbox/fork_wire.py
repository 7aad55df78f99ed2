"""Messages between a fork server and its caller: a JSON header and files. Standard library alone; both ends import it.

Neither end unpickles anything, so that even a server gone wrong can only send wrong bytes.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

Buffer = TypeVar("Buffer", bytes, memoryview)

_PREFIX = struct.Struct("!QI")
PREFIX_BYTES = _PREFIX.size


def pack(header: Mapping[str, Any], files: Mapping[str, bytes | bytearray]) -> list[bytes | bytearray]:
    """The bytes of a message, in pieces."""
    sizes = [[name, len(content)] for name, content in files.items()]
    text = json.dumps({**header, "files": sizes}).encode()
    return [_PREFIX.pack(sum(map(len, files.values())), len(text)) + text, *files.values()]


def sizes_of(prefix: bytes | bytearray) -> tuple[int, int]:
    """How many bytes of header and of files follow the first `PREFIX_BYTES` of a message."""
    body, header = _PREFIX.unpack(prefix)
    return header, body


def unpack(text: bytes | bytearray, body: Buffer) -> tuple[dict[str, Any], dict[str, Buffer]]:
    """Header and files of a message."""
    header = json.loads(text)
    files = {}
    offset = 0
    for name, size in header.pop("files"):
        files[name] = body[offset : offset + size]
        offset += size
    return header, files


def send(connection: socket.socket, header: Mapping[str, Any], files: Mapping[str, bytes | bytearray]) -> None:
    """Send one message on a blocking socket."""
    for piece in pack(header, files):
        connection.sendall(piece)


def receive(connection: socket.socket) -> tuple[dict[str, Any], dict[str, memoryview]] | None:
    """The next message on a blocking socket; None when the other end is gone.

    The files are views of one buffer, so that there is no second copy; see `erase`.
    """
    prefix = _read(connection, PREFIX_BYTES)
    if prefix is None:
        return None
    header_size, body_size = sizes_of(prefix)
    text, body = _read(connection, header_size), _read(connection, body_size)
    return None if text is None or body is None else unpack(text, memoryview(body))


def erase(files: Mapping[str, memoryview | bytearray]) -> None:
    """Overwrite what was received or sent: whoever is forked later could search the memory that it inherits for it."""
    for content in files.values():
        content[:] = bytes(len(content))


def _read(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        num_bytes = connection.recv_into(view)
        if not num_bytes:
            return None
        view = view[num_bytes:]
    return data
