"""A real HTTP server in this process that speaks the chat-completions protocol and plays what a test has written."""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ecot.backends.registry import make_backend
from ecot.errors import ToolError
from ecot.tasks.registry import load_tasks


@dataclass
class Reply:
    """One response."""

    message: dict = field(default_factory=dict)
    finish_reason: str | None = "stop"
    status: int = 200
    headers: dict = field(default_factory=dict)
    body: object = None
    """Instead of a completion: an object sent as JSON, or text as it stands."""
    reset: bool = False
    """Break the connection without a word."""
    hang: bool = False
    """Say nothing until the server is closed."""


def _say(content, finish_reason="stop", **message):
    return Reply({"role": "assistant", "content": content, **message}, finish_reason)


def _refuse(status, message, code=None, **headers):
    return Reply(status=status, headers=headers, body={"error": {"message": message, "type": "x", "code": code}})


class Server:
    """Replies to the n-th request (from 0) with `script(n, request)`; requests and headers are kept."""

    def __init__(self) -> None:
        self.script: Callable[[int, dict], Reply] = lambda number, request: _say("nothing")
        self.models = ["small", "large"]
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.paths: list[str] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    number = len(outer.requests)
                    outer.requests.append(request)
                    outer.headers.append(dict(self.headers))
                    outer.paths.append(self.path)
                    reply = outer.script(number, request)
                self.play(reply)

            def do_GET(self):
                self.play(Reply(body={"object": "list", "data": [{"id": name} for name in outer.models]}))

            def play(self, reply):
                if reply.hang:
                    outer.closing.wait(60)
                if reply.reset or reply.hang:
                    # Linger 0: the client sees a reset, not an orderly end.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                usage = {"prompt_tokens": 100, "completion_tokens": 10}
                choice = {"index": 0, "message": reply.message, "finish_reason": reply.finish_reason}
                body = {"choices": [choice], "usage": usage} if reply.body is None else reply.body
                text = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def play(self, *replies) -> None:
        """Reply with these in turn, and with the last one ever after."""
        start = len(self.requests)
        self.script = lambda number, request: replies[min(number - start, len(replies) - 1)]

    def close(self) -> None:
        """Stop, letting go of whoever still waits."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture(scope="session")
def say():
    """`say(content, finish_reason, **message)`: a completion."""
    return _say


@pytest.fixture(scope="session")
def refuse():
    """`refuse(status, message, code, **headers)`: an error as most servers word it."""
    return _refuse


@pytest.fixture(scope="session")
def reply():
    """Any other `Reply`."""
    return Reply


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def generator(server):
    """The `generator` section for that server; waits are short."""

    def make(**options):
        return {"type": "openai", "base_url": server.url, "model": "tiny", "backoff_seconds": 0.01, **options}

    return make


@pytest.fixture(scope="session")
def general():
    return load_tasks("builtin:general")


@pytest.fixture(scope="session")
def python():
    try:
        return make_backend("python", workers=2)
    except ToolError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def execute_python(python):
    """Run one candidate and wait for it."""

    def run(task, code):
        return asyncio.run(python.execute(task, code))

    return run
