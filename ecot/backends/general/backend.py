"""The backend: run a candidate on calls that the reference was run on elsewhere, and compare on this side."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from ecot.backends.candidate_text import screen_source
from ecot.backends.concurrency import Slots
from ecot.backends.fingerprint import fingerprint_of
from ecot.backends.general.judging import (
    CANDIDATE_FILE,
    judge_check,
    judge_failed_call,
    judge_run,
    judge_values,
)
from ecot.backends.general.records import Returned, Transcript, read_results, read_transcript
from ecot.backends.general.settings import CASES_FILE, CHECK_FILE, GeneralSettings, read_settings
from ecot.backends.general.tool import ENVIRONMENT, FLAGS, Interpreter, find_interpreter
from ecot.backends.general.values import decode
from ecot.backends.sandbox import (
    CommandRunner,
    Limits,
    Sandbox,
    SandboxCommand,
    SandboxResult,
    ToolPool,
    find_sandbox,
)
from ecot.backends.tool_backend import DEFAULT_SECRET, SHORT, ToolBackend, default_workers
from ecot.errors import DataError, ToolError
from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task

_WALL_FACTOR = 10.0
_WALL_SLACK = 30.0
"""Wall time per processor time, and on top: a busy machine must not turn a slow candidate into a timeout."""

_MEBIBYTE = 1 << 20


class PythonBackend(ToolBackend):
    """Runs Python functions; the reference and the judge never share a process with a candidate."""

    name = "python"
    domains = frozenset({Domain.GENERAL})

    def __init__(self, *, workers: int | None = None, secret: str = DEFAULT_SECRET) -> None:
        """Find interpreter and sandbox.

        Args:
            workers: executions at once; by default twice the number of cores that this process may use.
            secret: key of random arguments and nonces. The default gives the same outcomes everywhere. Set one of your
                own where candidates may have been written, with knowledge of this package, to deceive it.

        Raises:
            MissingToolError: the system has no Python.
            SandboxError: no sandbox can be had.
        """
        self._python: Interpreter = find_interpreter()
        workers = default_workers(SHORT) if workers is None else workers
        self._sandbox: Sandbox = find_sandbox()
        # A candidate gets a sandbox of its own. The reference's and the judge's stay.
        self._oracles = ToolPool(workers=workers)
        self._secret = secret.encode()
        self._turns: dict[str, Slots] = {}
        self._sound: set[str] = set()
        self._first_references: dict[str, Execution] = {}
        package = resources.files("ecot.backends.general")
        self._programs = {name: (package / name).read_bytes() for name in ("runner.py", "oracle.py")}
        # Under the name by which the programs import it; folders without `__init__.py` are packages too.
        self._values = {"ecot/backends/general/values.py": (package / "values.py").read_bytes()}
        words = [self._python.version, *FLAGS, hashlib.sha256(self._secret).hexdigest()]
        super().__init__(workers, fingerprint_of(words, ("general",)))

    def close(self) -> None:
        """End the sandboxes that stay; the next execution starts new ones."""
        self._oracles.close()

    async def _outcome(self, task: Task, code: str) -> Execution:
        settings = read_settings(task)
        await self._try_reference(task, settings)
        # Its first outcome need not be found twice.
        known = self._first_references.pop(task.hash, None) if code == task.reference else None
        return known or screen_source(code, CANDIDATE_FILE, nul="") or await self._judge(task, code, settings)

    async def _try_reference(self, task: Task, settings: GeneralSettings) -> None:
        """See, once per task, that the reference passes."""
        key = task.hash
        async with self._turns.setdefault(key, Slots(1)).take():
            if key in self._sound:
                return
            reference = await self._judge(task, task.reference, settings)
            if not reference.passed:
                raise ToolError(
                    f"task {task.id}: the reference does not pass with Python {self._python.version}: "
                    f"{reference.label} {reference.subcode}\n{reference.diagnostics}"
                )
            self._sound.add(key)
            self._first_references[key] = reference

    async def _judge(self, task: Task, code: str, settings: GeneralSettings) -> Execution:
        seed = int(self._derive(task, code, "arguments")[:16], 16)
        if CASES_FILE in task.hidden:
            answer = await self._ask_oracle(task, settings, {"mode": "cases", "seed": seed})
        else:
            answer = await self._ask_oracle(task, settings, {"mode": "record", "seed": seed})
        calls = [decode(call) for call in answer["calls"]]
        result, transcript = await self._run_candidate(task, code, settings, answer["calls"])
        if failed := judge_run(result, transcript, task):
            return failed
        if CASES_FILE in task.hidden:
            return judge_values(task, settings, calls, transcript.outcomes, read_results(answer["results"]))
        if failed := judge_failed_call(task, calls, transcript.outcomes):
            return failed
        results = [outcome.encoded for outcome in transcript.outcomes if isinstance(outcome, Returned)]
        job = {"mode": "replay", "seed": seed, "calls": answer["calls"], "results": results}
        return judge_check(task, calls, transcript.outcomes, await self._ask_oracle(task, settings, job))

    async def _run_candidate(
        self, task: Task, code: str, settings: GeneralSettings, calls: Sequence[Any]
    ) -> tuple[SandboxResult, Transcript]:
        nonce = self._derive(task, code, "nonce")[:32]
        job = {
            "nonce": nonce,
            "file": CANDIDATE_FILE,
            "entry": task.entry,
            "calls": calls,
            "cpu_seconds": settings.run_seconds,
        }
        files = {name: text.encode() for name, text in task.environment.items()}
        if clash := set(files) & {CANDIDATE_FILE, "job.json", *self._programs}:
            raise DataError(f"task {task.id}: key 'environment': {sorted(clash)[0]!r} is a name of the harness")
        files |= {CANDIDATE_FILE: code.encode("utf-8", "replace")}
        result = await self._run(self._sandbox, "runner.py", files, job, settings)
        return result, read_transcript(result.stdout, nonce)

    async def _ask_oracle(self, task: Task, settings: GeneralSettings, job: Mapping[str, Any]) -> dict[str, Any]:
        hidden = task.hidden[CASES_FILE] if CASES_FILE in task.hidden else task.hidden[CHECK_FILE]
        files = {"tests.py": hidden.encode(), "reference.py": task.reference.encode()}
        files |= {name: text.encode() for name, text in task.environment.items()}
        result = await self._run(self._oracles, "oracle.py", files, {**job, "entry": task.entry}, settings)
        if result.exit_code != 0 or result.output_truncated:
            said = result.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
            how = f"exit code {result.exit_code}, signal {result.signal}"
            raise ToolError(f"task {task.id}: reference and tests do not run ({how}): {' / '.join(said)}")
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    async def _run(
        self,
        runner: CommandRunner,
        program: str,
        files: Mapping[str, bytes],
        job: Mapping[str, Any],
        settings: GeneralSettings,
    ) -> SandboxResult:
        inputs = {program: self._programs[program], **self._values}
        return await runner.run(
            SandboxCommand(
                argv=(self._python.path, *FLAGS, program),
                inputs={**files, **inputs, "job.json": json.dumps(job).encode()},
                limits=Limits(
                    cpu_seconds=settings.run_seconds,
                    wall_seconds=settings.run_seconds * _WALL_FACTOR + _WALL_SLACK,
                    memory_bytes=settings.memory_mib * _MEBIBYTE,
                    output_bytes=settings.output_kib * 1024,
                    processes=32,
                ),
                environment=ENVIRONMENT,
            )
        )

    def _derive(self, task: Task, code: str, purpose: str) -> str:
        message = "\0".join((purpose, task.hash, code)).encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
