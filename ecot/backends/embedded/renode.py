"""Renode as the emulator: written from its documentation, never run, since neither Debian nor pip packages it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ecot.backends.embedded.runs import FirmwareRun
from ecot.backends.sandbox import WORK_DIR, Limits, SandboxCommand, SandboxResult
from ecot.errors import MissingToolError, ToolError

DEVICE_SECONDS = 2
"""How long the device may run; the bench's own deadline comes earlier."""

_SCRIPT = f"""mach create "ecot"
machine LoadPlatformDescription @platforms/cpus/stm32f4.repl
cpu PerformanceInMips 125
sysbus.usart1 CreateFileBackend @{WORK_DIR}/usart1.bin true
sysbus.usart2 CreateFileBackend @{WORK_DIR}/usart2.bin true
sysbus LoadELF @{WORK_DIR}/firmware.elf
sysbus LoadBinary @{WORK_DIR}/parameters.bin 0x080E0000
cpu VectorTableOffset 0x08000000
emulation RunFor "{DEVICE_SECONDS}"
quit
"""


def renode_script() -> str:
    """The monitor script of a run."""
    return _SCRIPT


@dataclass(frozen=True)
class Renode:
    """Renode's model of the STM32F4."""

    path: str
    read_only: tuple[Path, ...]
    name: str = "renode"

    @classmethod
    def find(cls) -> Renode:
        """Find `renode` on the PATH.

        Raises:
            MissingToolError: it is not there.
        """
        found = shutil.which("renode")
        if found is None:
            raise MissingToolError(
                "renode is not on the PATH; get it from https://renode.io (no package of Debian or pip holds it), "
                "or use the option emulator=qemu"
            )
        path = Path(found).resolve()
        return cls(str(path), (path.parent,))

    @property
    def identity(self) -> str:
        """Path and script; Renode's own version is not asked for, since that takes seconds."""
        return f"renode {self.path} {renode_script()}"

    def command(self, run: FirmwareRun, limits: Limits) -> SandboxCommand:
        """The command that runs the image.

        Raises:
            ToolError: the task needs input on USART2, which this adapter does not give.
        """
        if run.usart2_input is not None:
            raise ToolError("tasks with input on USART2 run on QEMU only; use the option emulator=qemu")
        inputs = {
            "firmware.elf": run.image,
            "parameters.bin": run.parameters,
            "run.resc": renode_script().encode(),
        }
        argv = (self.path, "--disable-xwt", "--console", "--plain", "-e", f"include @{WORK_DIR}/run.resc")
        return SandboxCommand(argv, inputs, ("usart1.bin", "usart2.bin"), limits, self.read_only)

    def uart(self, result: SandboxResult) -> bytes:
        """What the device sent on USART1, up to the end of the first run: a reset starts the firmware again."""
        text = result.outputs.get("usart1.bin", b"")
        lines = text.splitlines(keepends=True)
        for index, line in enumerate(lines):
            if line[:1] == b"\2" and line[9:10] in b"efuat":
                return b"".join(lines[: index + 1])
        return text
