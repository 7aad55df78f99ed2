"""The firmware backend: compile and link, run on the emulated device, compare with the reference's report."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib import resources

from ecot.backends.candidate_text import screen_source
from ecot.backends.embedded.diagnostics import CANDIDATE_FILE, memory_usage, normalise
from ecot.backends.embedded.emulator import Emulator, find_emulator
from ecot.backends.embedded.frames import Case, Entry, Report, read_report
from ecot.backends.embedded.judging import judge_build, judge_run
from ecot.backends.embedded.known import check_known_answers
from ecot.backends.embedded.runs import FirmwareRun, make_run, variant_of
from ecot.backends.embedded.settings import KIBIBYTE, EmbeddedSettings, read_settings
from ecot.backends.embedded.toolchain import COMPILE_FLAGS, LINK_FLAGS, ArmToolchain, find_toolchain
from ecot.backends.fingerprint import fingerprint_of
from ecot.backends.sandbox import SandboxCommand, SandboxResult, ToolPool, tool_limits
from ecot.backends.tool_backend import DEFAULT_SECRET, SHORT, ToolBackend, default_workers
from ecot.errors import DataError, ToolError
from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task

BENCH_FILE = "bench.c"
DEVICE_HEADER = "stm32f4.h"
_IMAGE = "firmware.elf"
_OUR_FILES = frozenset({CANDIDATE_FILE, DEVICE_HEADER, "bench.h", "bench.o", "link.ld", _IMAGE})


@dataclass(frozen=True)
class _Built:
    """A finished build, or why there is none."""

    image: bytes | None
    result: SandboxResult


class EmbeddedBackend(ToolBackend):
    """Runs firmware tasks for the STM32F4, each candidate in a sandbox."""

    name = "stm32"
    domains = frozenset({Domain.EMBEDDED})

    def __init__(self, *, workers: int | None = None, secret: str = DEFAULT_SECRET, emulator: str = "auto") -> None:
        """Find compiler, emulator and sandbox.

        Args:
            workers: executions at once; by default twice the number of cores that this process may use.
            secret: key of nonces and stimuli. The default gives the same outcomes everywhere. Set one of your own
                where candidates may hold answers that were worked out for the default's stimuli.
            emulator: `auto`, `qemu` or `renode`.

        Raises:
            MissingToolError: the compiler or the emulator is not installed.
            SandboxError: no sandbox can be had.
        """
        self._tools: ArmToolchain = find_toolchain()
        self._emulator: Emulator = find_emulator(emulator)
        workers = default_workers(SHORT) if workers is None else workers
        # A candidate never runs as a program of the machine, so that sandboxes may serve one command after the other.
        self._sandboxes = ToolPool(workers=workers, read_only=(*self._tools.read_only, *self._emulator.read_only))
        self._secret = secret.encode()
        self._benches: dict[str, bytes] = {}
        self._reference_images: dict[str, bytes] = {}
        self._expected: dict[tuple[str, int], Report] = {}
        parts = [self._tools.identity, self._emulator.identity, hashlib.sha256(self._secret).hexdigest()]
        fingerprint = fingerprint_of(parts, ("embedded", "embedded/firmware"), (".py", ".h", ".ld"))
        super().__init__(workers, fingerprint)

    def close(self) -> None:
        """End the sandboxes that stay; the next execution starts new ones."""
        self._sandboxes.close()

    async def _prepare(self, task: Task, code: str) -> None:
        await self._expect(task, variant_of(self._secret, task, code), read_settings(task))

    async def _outcome(self, task: Task, code: str) -> Execution:
        settings = read_settings(task)
        variant = variant_of(self._secret, task, code)
        if refused := screen_source(code, CANDIDATE_FILE):
            return refused
        return await self._judge(task, code, variant, await self._expect(task, variant, settings), settings)

    async def _judge(
        self, task: Task, code: str, variant: int, expected: Report, settings: EmbeddedSettings
    ) -> Execution:
        built = await self._build(task, code, settings)
        if built.image is None:
            return judge_build(built.result)
        run = make_run(self._secret, task, code, variant, built.image, settings)
        result, report = await self._run(run, settings)
        execution = judge_run(result, report, expected, built.image, memory_usage(built.result.stdout))
        if run.usart2_input is None:
            return execution
        # How often the device polls for input depends on the host.
        metrics = {name: value for name, value in execution.metrics.items() if name != "instructions"}
        return replace(execution, metrics=metrics)

    async def _expect(self, task: Task, variant: int, settings: EmbeddedSettings) -> Report:
        """What the bench reports of the reference, for one set of stimuli. It never enters the device."""
        key = (task.hash, variant)
        if key not in self._expected:
            if task.hash not in self._reference_images:
                built = await self._build(task, task.reference, settings)
                if built.image is None:
                    raise ToolError(
                        f"task {task.id}: the reference does not build\n{judge_build(built.result).diagnostics}"
                    )
                self._reference_images[task.hash] = built.image
            image = self._reference_images[task.hash]
            run = make_run(self._secret, task, task.reference, variant, image, settings)
            result, report = await self._run(run, settings)
            outcome = judge_run(result, report, report, image, {})
            if not outcome.passed:
                raise ToolError(
                    f"task {task.id}: the reference does not come to its end: "
                    f"{outcome.label} {outcome.subcode}\n{outcome.diagnostics}"
                )
            if not any(not entry.is_input for case in report.cases for entry in case.entries):
                raise ToolError(f"task {task.id}: the bench reports no output, so it checks nothing")
            check_known_answers(task, report)
            self._expected[key] = report
        return self._expected[key]

    async def _build(self, task: Task, code: str, settings: EmbeddedSettings) -> _Built:
        files = self._sources(task)
        includes = [argument for name in sorted(task.environment) for argument in ("-include", name)]
        files |= {
            CANDIDATE_FILE: code.encode("utf-8", "replace"),
            "bench.o": await self._bench(task, settings),
            "link.ld": _linker_script(settings),
        }
        argv = (
            *(self._tools.gcc, *COMPILE_FLAGS, "-include", DEVICE_HEADER, *includes),
            *(CANDIDATE_FILE, "bench.o", "-T", "link.ld", *LINK_FLAGS, "-o", _IMAGE),
        )
        result = await self._compile(argv, files, _IMAGE, settings)
        return _Built(result.outputs.get(_IMAGE) if result.exit_code == 0 else None, result)

    async def _bench(self, task: Task, settings: EmbeddedSettings) -> bytes:
        """The object file of start-up code and test bench; the same for all candidates of a task."""
        if task.hash not in self._benches:
            if BENCH_FILE not in task.hidden:
                raise DataError(f"task {task.id}: no hidden file {BENCH_FILE!r}")
            files = self._sources(task)
            files |= {"bench.h": _firmware_file("bench.h"), BENCH_FILE: task.hidden[BENCH_FILE].encode()}
            includes = [argument for name in sorted(task.environment) for argument in ("-include", name)]
            argv = (
                *(self._tools.gcc, *COMPILE_FLAGS, "-include", "bench.h", *includes),
                *("-c", BENCH_FILE, "-o", "bench.o"),
            )
            result = await self._compile(argv, files, "bench.o", settings)
            if result.exit_code != 0 or "bench.o" not in result.outputs:
                raise ToolError(f"task {task.id}: the test bench does not compile\n{normalise(result.stderr)}")
            self._benches[task.hash] = result.outputs["bench.o"]
        return self._benches[task.hash]

    @staticmethod
    def _sources(task: Task) -> dict[str, bytes]:
        for name in task.environment:
            if name in _OUR_FILES:
                raise DataError(f"task {task.id}: key 'environment': {name!r} is a name of the harness's own")
        files = {name: text.encode() for name, text in task.environment.items()}
        return {**files, DEVICE_HEADER: _firmware_file(DEVICE_HEADER)}

    async def _compile(
        self, argv: tuple[str, ...], files: dict[str, bytes], output: str, settings: EmbeddedSettings
    ) -> SandboxResult:
        limits = tool_limits(settings.compile_seconds, settings.memory_mib)
        return await self._sandboxes.run(SandboxCommand(argv, files, (output,), limits, self._tools.read_only))

    async def _run(self, run: FirmwareRun, settings: EmbeddedSettings) -> tuple[SandboxResult, Report]:
        limits = tool_limits(settings.run_seconds, settings.memory_mib, settings.output_kib * KIBIBYTE)
        result = await self._sandboxes.run(self._emulator.command(run, limits))
        report = read_report(self._emulator.uart(result), run.nonce)
        if run.capture_usart2 and report.ended:
            sent = result.outputs.get("usart2.bin", b"")
            report.cases.append(Case("usart2", [Entry("sent", repr(sent)[1:], False)]))
        return result, report


def _firmware_file(name: str) -> bytes:
    return (resources.files("ecot.backends.embedded") / "firmware" / name).read_bytes()


def _linker_script(settings: EmbeddedSettings) -> bytes:
    script = _firmware_file("link.ld").decode()
    values = {
        "@FLASH_BYTES@": settings.flash_kib * KIBIBYTE,
        "@STACK_BYTES@": settings.stack_bytes,
        "@RAM_BYTES@": settings.ram_bytes,
    }
    for mark, value in values.items():
        script = script.replace(mark, str(value))
    return script.encode()
