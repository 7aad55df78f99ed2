"""Copies of finished checkpoints elsewhere, made in the background by a command of the user's.

Nothing that goes wrong here stops training: it is told, written down in `uploads.jsonl`, and tried again at the next
start. A checkpoint that waits for its upload is not rotated away.
"""

from __future__ import annotations

import logging
import queue
import shlex
import subprocess
import sys
import threading
from pathlib import Path

from ecot.errors import ConfigError
from ecot.train.json_rows import append_row, read_json_rows

UPLOADS = "uploads.jsonl"
"""In the run's folder: a row per upload that ended, `path` in that folder, `ok` and, where it failed, `error`."""

PYTHON = "python:"
_CALL = (
    "import importlib, pathlib, sys; "
    "getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(pathlib.Path(sys.argv[3]))"
)

logger = logging.getLogger(__name__)


def upload_command(template: str, path: Path) -> list[str]:
    """The command that uploads a checkpoint.

    Args:
        template: a command with `{path}` and, if wanted, `{name}`, split as a shell would but run without one; or
            `python:module:function`, called with the path in a process of its own.
        path: the checkpoint's folder.

    Raises:
        ConfigError: the template names no path, or no function.
    """
    if template.startswith(PYTHON):
        module, _, function = template.removeprefix(PYTHON).partition(":")
        if not (module and function):
            raise ConfigError(f"checkpoint.upload: {template!r} must be python:module:function")
        return [sys.executable, "-c", _CALL, module, function, str(path)]
    if "{path}" not in template:
        raise ConfigError(f"checkpoint.upload: {template!r} must contain {{path}}, like: rclone copy {{path}} ...")
    return [word.replace("{path}", str(path)).replace("{name}", path.name) for word in shlex.split(template)]


class Uploader:
    """One upload at a time, in a thread. On the first rank only.

    Args:
        template: as in `upload_command`; None uploads nothing.
        root: the run's folder, where uploads are written down.
    """

    def __init__(self, template: str | None, root: Path) -> None:
        self.template = template
        self.root = root
        self.log = root / UPLOADS
        self._waiting: queue.Queue[Path | None] = queue.Queue()
        self._pending: list[Path] = []
        self._process: subprocess.Popen[str] | None = None
        self._abandoned = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
        if template is not None:
            self._thread.start()

    @property
    def pending(self) -> list[Path]:
        """Checkpoints that are not uploaded yet."""
        with self._lock:
            return list(self._pending)

    def add(self, path: Path) -> None:
        """Upload a finished checkpoint; returns at once."""
        if self.template is not None:
            with self._lock:
                self._pending.append(path)
            self._waiting.put(path)

    def add_missed(self, paths: list[Path]) -> None:
        """Upload those of the checkpoints at hand that no earlier start has uploaded."""
        done = {row["path"] for row in read_json_rows(self.log) if row["ok"]}
        for path in paths:
            if str(path.relative_to(self.root)) not in done:
                self.add(path)

    def finish(self) -> None:
        """Wait for what is left."""
        if self.template is not None:
            if self.pending:
                logger.info("waiting for the upload of %s", ", ".join(path.name for path in self.pending))
            self._waiting.put(None)
            self._thread.join()

    def abandon(self) -> None:
        """Break off: the node is about to be taken away. The next start uploads what is left."""
        with self._lock:
            self._abandoned = True
            if self._process is not None:
                self._process.terminate()
        self.finish()

    def _work(self) -> None:
        while (path := self._waiting.get()) is not None:
            self._upload(path)
            with self._lock:
                self._pending.remove(path)

    def _upload(self, path: Path) -> None:
        assert self.template is not None
        try:
            with self._lock:
                if self._abandoned:
                    return
                self._process = subprocess.Popen(
                    upload_command(self.template, path),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                )
            _, errors = self._process.communicate()
            problem = f"exit status {self._process.returncode}: {errors.strip()[-500:]}"
            ok = self._process.returncode == 0
            if self._abandoned and not ok:
                return  # broken off by ourselves
        except OSError as error:
            problem, ok = str(error), False
        row = {"path": str(path.relative_to(self.root)), "ok": ok}
        append_row(self.log, row if ok else {**row, "error": problem})
        if not ok:
            logger.warning("the upload of %s failed (%s); the next start tries again", path, problem)
