"""Messages between a fork server and its caller: a JSON header and files. Standard library alone; both ends import it.

Neither end unpickles anything, so that even a server gone wrong can only send wrong bytes.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

_PREFIX = struct.Struct("!QI")
PREFIX_BYTES = _PREFIX.size


def pack(header: Mapping[str, Any], files: Mapping[str, bytes]) -> list[bytes]:
    """The bytes of a message, in pieces."""
    sizes = [[name, len(content)] for name, content in files.items()]
    text = json.dumps({**header, "files": sizes}).encode()
    return [_PREFIX.pack(sum(map(len, files.values())), len(text)) + text, *files.values()]


def sizes_of(prefix: bytes) -> tuple[int, int]:
    """How many bytes of header and of files follow the first `PREFIX_BYTES` of a message."""
    body, header = _PREFIX.unpack(prefix)
    return header, body


def unpack(text: bytes, body: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and files of a message."""
    header = json.loads(text)
    files = {}
    offset = 0
    for name, size in header.pop("files"):
        files[name] = body[offset : offset + size]
        offset += size
    return header, files


def send(connection: socket.socket, header: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Send one message on a blocking socket."""
    for piece in pack(header, files):
        connection.sendall(piece)


def receive(connection: socket.socket) -> tuple[dict[str, Any], dict[str, bytes]] | None:
    """The next message on a blocking socket; None when the other end is gone."""
    prefix = _read(connection, PREFIX_BYTES)
    if len(prefix) < PREFIX_BYTES:
        return None
    header, body = sizes_of(prefix)
    return unpack(_read(connection, header), _read(connection, body))


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(size - len(data), 1 << 20))
        if not chunk:
            break
        data += chunk
    return bytes(data)
