"""Run commands in a sandbox: no network, no host files but the tools, capped in time, memory, processes and output."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import tarfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from ecot.backends.sandbox.bubblewrap import Launcher, base_environment, find_launcher, sandbox_argv
from ecot.backends.sandbox.command import Limits, SandboxCommand, SandboxResult
from ecot.backends.sandbox.control_groups import Group
from ecot.backends.sandbox.process import Channel, ProcessEnd, SupervisedProcess
from ecot.errors import SandboxError

_STATUS_BYTES = 1 << 14

# Descriptor 0 is the pipe for the outputs; the command gets /dev/null there and cannot write to that pipe. The shell's
# own words about a killed command ("Killed", "Aborted") are no output of the command's.
_COLLECT_OUTPUTS = """exec 3>&0 0</dev/null 4>&2 2>/dev/null
"$@" 2>&4 3>&- 4>&-
code=$?
tar --create --blocking-factor=1 --file=- {names} >&3
exit $code"""


class Sandbox:
    """Runs commands that may hold candidate code.

    What is inside: the system's programs and libraries read-only, one private file system in memory (the working
    directory) with a size cap, an empty environment, its own process, network, IPC and user namespaces, no `/proc`, no
    `/etc`, no home, and `/dev/null` as the only device.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    @property
    def description(self) -> str:
        """The mechanism and its version, for reports."""
        user = "an unprivileged user" if self._launcher.unprivileged else "root without capabilities"
        groups = self._launcher.groups
        caps = "resource limits" if groups is None else f"resource limits and control groups (version {groups.version})"
        return f"{self._launcher.name} as {user}, {caps}"

    @property
    def launcher(self) -> Launcher:
        """How it is started, for the fork servers."""
        return self._launcher

    async def run(self, command: SandboxCommand) -> SandboxResult:
        """Run one command to its end or to its first limit. Cancelling kills it; nothing stays behind.

        Raises:
            SandboxError: the sandbox itself could not be set up.
        """
        channels = {name: Channel(command.limits.output_bytes) for name in ("stdout", "stderr")}
        channels["status"] = Channel(_STATUS_BYTES)
        # Archive headers and padding come on top of the files.
        channels["outputs"] = Channel(command.limits.scratch_bytes + (1 << 16))
        inputs: dict[str, int] = {}
        try:
            for name, content in command.inputs.items():
                inputs[name] = memory_file(name, content)
            with self._group(command.limits) as group:
                end = await self._supervise(command, channels, inputs, group)
                memory_exhausted = group is not None and group.out_of_memory
        finally:
            for channel in channels.values():
                channel.close()
            for descriptor in inputs.values():
                os.close(descriptor)
        return replace(_result(end, channels, bool(command.outputs)), memory_exhausted=memory_exhausted)

    def _group(self, limits: Limits) -> AbstractContextManager[Group | None]:
        return nullcontext() if self._launcher.groups is None else self._launcher.groups.group(limits)

    async def _supervise(
        self,
        command: SandboxCommand,
        channels: Mapping[str, Channel],
        inputs: Mapping[str, int],
        group: Group | None,
    ) -> ProcessEnd:
        inner = list(command.argv)
        if command.outputs:
            script = _COLLECT_OUTPUTS.format(names=" ".join(command.outputs))
            inner = ["/bin/sh", "-c", script, "sh", *inner]
        status_fd = channels["status"].writer
        argv = sandbox_argv(
            self._launcher,
            inner,
            command.limits,
            inputs,
            command.read_only,
            status_fd,
            command.environment,
            command.process_files,
        )
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            process = SupervisedProcess(
                argv if group is None else group.enter(argv),
                base_environment(),
                stdin=channels["outputs"].writer if command.outputs else null,
                stdout=channels["stdout"],
                stderr=channels["stderr"],
                others=[channels["status"], channels["outputs"]],
                pass_fds=[status_fd, *inputs.values()],
                stop_on_flood=command.stop_on_flood,
            )
        except OSError as error:
            raise SandboxError(f"the sandbox could not be started: {error}") from error
        finally:
            os.close(null)
        return await process.wait(command.limits.wall_seconds)


@functools.cache
def find_sandbox() -> Sandbox:
    """The sandbox of this machine; found and tried once per process.

    Raises:
        SandboxError: none can be had; the message says why and what to do.
    """
    return Sandbox(find_launcher())


def memory_file(name: str, content: bytes) -> int:
    """An anonymous file in memory, so that inputs never touch the host's disk and vanish with the process."""
    descriptor = os.memfd_create(name.replace("/", "_"), os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _result(end: ProcessEnd, channels: Mapping[str, Channel], has_outputs: bool) -> SandboxResult:
    stdout, stderr, outputs = channels["stdout"], channels["stderr"], channels["outputs"]
    flooded = stdout.truncated or stderr.truncated
    exit_code = _exit_code(bytes(channels["status"].data))
    if exit_code is None and not end.deadline_passed and not flooded:
        text = bytes(stderr.data).decode("utf-8", "replace").strip()
        raise SandboxError(f"the sandbox could not be set up (exit code {end.returncode}): {text or 'no message'}")
    # Bubblewrap reports a death by signal n as 128 + n, as shells do.
    killed_by = exit_code - 128 if exit_code is not None and 128 < exit_code <= 128 + signal.NSIG else None
    if exit_code is None:
        killed_by = int(signal.SIGKILL)
    files = {}
    if has_outputs and exit_code is not None and not outputs.truncated:
        if not outputs.data and killed_by is None:
            text = bytes(stderr.data).decode("utf-8", "replace").strip()
            raise SandboxError(f"the sandbox could not bring out the outputs (exit code {exit_code}): {text}")
        files = _unpack(bytes(outputs.data))
    return SandboxResult(
        exit_code=exit_code if killed_by is None else None,
        signal=killed_by,
        stdout=bytes(stdout.data),
        stderr=bytes(stderr.data),
        outputs=files,
        cpu_exhausted=killed_by == signal.SIGXCPU,
        deadline_passed=end.deadline_passed,
        output_truncated=flooded or outputs.truncated,
        seconds=end.seconds,
    )


def _exit_code(status: bytes) -> int | None:
    """What bubblewrap reports about the command; None if the command never ended by itself."""
    for line in status.splitlines():
        try:
            report = json.loads(line)
        except json.JSONDecodeError:  # cut short by a kill
            continue
        if "exit-code" in report:
            return int(report["exit-code"])
    return None


def _unpack(archive: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    if not archive:
        return files
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as members:
        for member in members:
            handle = members.extractfile(member) if member.isreg() else None
            if handle is not None:
                files[member.name] = handle.read()
    return files
