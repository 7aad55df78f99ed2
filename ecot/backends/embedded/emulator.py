"""What runs an image: the protocol, QEMU, and how one is chosen."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ecot.backends.embedded.renode import Renode
from ecot.backends.embedded.runs import FirmwareRun
from ecot.backends.embedded.toolchain import SYSTEM_PREFIXES
from ecot.backends.sandbox import WORK_DIR, Limits, SandboxCommand, SandboxResult
from ecot.errors import MissingToolError, ToolError

MACHINE = "netduinoplus2"
"""An STM32F405: Cortex-M4 at 168 MHz, 1 MiB of flash, 128 KiB of RAM."""

ICOUNT_SHIFT = 3
"""One instruction takes 2**3 ns of device time, so a run does not depend on the host's speed."""

NANOSECONDS_PER_INSTRUCTION = 1 << ICOUNT_SHIFT

# The pipes stand in for a terminal on USART2: the emulator reads one and writes the other. The device drops what comes
# before it listens, so the bench sends a line feed when it does.
_WITH_USART2_INPUT = """mkfifo usart2.in usart2.out || exit 99
{ read -r go; cat usart2.txt >usart2.in & cat; } <usart2.out >usart2.bin 2>/dev/null &
"$@"
code=$?
wait
exit $code"""

ASLEEP_EXIT_CODE = 98
"""The device sleeps, and nothing can wake it."""

# A pipe would wake its reader for every byte that the device sends, so the emulator writes into files. At times they
# are looked at. One is too large: the emulator is ended (the limit on sizes sends a signal, but the thread that writes
# blocks it). The emulator says that the device sleeps with no timer set, and yet does not end: so it never will. The
# shell's own words about a killed emulator are no output.
_WITHOUT_INPUT = f"""exec 4>&2 2>/dev/null
limit=$1
shift
(ulimit -f $((limit / 512 + 1)); exec "$@" -D notes.txt >uart.bin 2>said.txt 4>&-) &
emulator=$!
while sleep 0.25; do
    for file in uart.bin notes.txt; do
        [ "$(wc -c <$file)" -gt "$limit" ] && kill -9 $emulator
    done
    grep -q 'no active timers' said.txt && asleep=$((asleep + 1))
    [ "$asleep" = 10 ] && echo >asleep.txt && kill -9 $emulator
done >/dev/null 4>&- &
wait $emulator
code=$?
cat uart.bin
cat said.txt notes.txt >&4
[ -e asleep.txt ] && exit {ASLEEP_EXIT_CODE}
exit $code"""


class Emulator(Protocol):
    """Turns a run into a sandboxed command and reads what came out."""

    @property
    def name(self) -> str:
        """As the option names it."""
        ...

    @property
    def identity(self) -> str:
        """Changes with the tool and how it is called."""
        ...

    @property
    def read_only(self) -> tuple[Path, ...]:
        """What the sandbox must show besides the system's directories; empty for a packaged tool."""
        ...

    def command(self, run: FirmwareRun, limits: Limits) -> SandboxCommand:
        """The command that runs the image."""
        ...

    def uart(self, result: SandboxResult) -> bytes:
        """What the device sent on USART1."""
        ...


@dataclass(frozen=True)
class Qemu:
    """QEMU's model of the STM32F405, without semihosting: that would hand the host's files to the guest."""

    path: str
    version: str
    read_only: tuple[Path, ...]
    name: str = "qemu"

    @property
    def identity(self) -> str:
        """Version, content and arguments."""
        content = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()[:16]
        return " ".join([self.version, content, *self._arguments(), _WITH_USART2_INPUT, _WITHOUT_INPUT])

    def command(self, run: FirmwareRun, limits: Limits) -> SandboxCommand:
        """The command that runs the image."""
        argv = [self.path, *self._arguments()]
        inputs = {"firmware.elf": run.image, "parameters.bin": run.parameters}
        outputs: tuple[str, ...] = ()
        if run.usart2_input is not None:
            inputs["usart2.txt"] = run.usart2_input
            argv = ["/bin/sh", "-c", _WITH_USART2_INPUT, "sh", *argv, "-serial", "pipe:usart2"]
        elif run.capture_usart2:
            argv += ["-serial", "file:usart2.bin"]
        else:
            argv = ["/bin/sh", "-c", _WITHOUT_INPUT, "sh", str(limits.output_bytes), *argv]
        if run.capture_usart2 or run.usart2_input is not None:
            outputs = ("usart2.bin",)
        return SandboxCommand(
            tuple(argv), inputs, outputs, limits, self.read_only, environment={"QEMU_AUDIO_DRV": "none"}
        )

    def uart(self, result: SandboxResult) -> bytes:
        """What the device sent on USART1."""
        return result.stdout

    @staticmethod
    def _arguments() -> tuple[str, ...]:
        return (
            *("-M", MACHINE, "-nographic", "-no-reboot", "-monitor", "none", "-nic", "none"),
            *("-accel", "tcg,tb-size=16"),
            # A sleeping device jumps to its next timer instead of waiting in real time.
            *("-icount", f"shift={ICOUNT_SHIFT},sleep=off,align=off"),
            *("-d", "unimp,guest_errors"),
            *("-device", f"loader,file={WORK_DIR}/parameters.bin,addr=0x080E0000,force-raw=on"),
            *("-kernel", f"{WORK_DIR}/firmware.elf", "-serial", "stdio"),
        )


def find_emulator(wanted: str = "auto") -> Emulator:
    """The emulator that is asked for.

    Args:
        wanted: `qemu`, `renode`, or `auto`: QEMU if it is there, otherwise Renode.

    Raises:
        MissingToolError: it is not installed; the message says how to get it.
    """
    if wanted == "renode" or (wanted == "auto" and not _qemu_paths() and shutil.which("renode")):
        return Renode.find()
    return find_qemu()


@functools.cache
def find_qemu() -> Qemu:
    """The newest `qemu-system-arm` on the PATH: QEMU 10 models RCC and GPIO, Debian 12's 7.2 does not.

    Raises:
        MissingToolError: there is none.
        ToolError: it does not say its version, or lacks the machine.
    """
    paths = _qemu_paths()
    if not paths:
        raise MissingToolError("qemu-system-arm is not installed; get it with `apt install qemu-system-arm`")
    versions = {path: _qemu_version(path) for path in paths}
    best = max(versions, key=lambda path: tuple(int(part) for part in versions[path].split(".")))
    machines = subprocess.run([str(best), "-M", "help"], capture_output=True, text=True, timeout=60).stdout
    if MACHINE not in machines:
        raise ToolError(f"{best} {versions[best]} has no machine {MACHINE!r}; QEMU 6 or newer is needed")
    outside = () if best.parent in SYSTEM_PREFIXES else (best.parent.parent,)
    return Qemu(str(best), versions[best], outside)


def _qemu_paths() -> list[Path]:
    folders = os.environ.get("PATH", "").split(os.pathsep)
    found = [shutil.which("qemu-system-arm", path=folder) for folder in folders if folder]
    return list(dict.fromkeys(Path(path).resolve() for path in found if path is not None))


def _qemu_version(path: Path) -> str:
    text = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=60).stdout
    match = re.search(r"QEMU emulator version (\d+(?:\.\d+)+)", text)
    if match is None:
        raise ToolError(f"`{path} --version` prints {text[:80]!r}; is it QEMU?")
    return match[1]
