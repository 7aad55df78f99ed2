"""The sandbox holds: nothing gets out, nothing is left over, every limit ends the command and not the caller."""

import asyncio
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecot.backends.sandbox import Limits, Sandbox, SandboxCommand, control_groups
from ecot.backends.sandbox import bubblewrap as bubblewrap_module
from ecot.backends.sandbox.control_groups import find_control_groups
from ecot.errors import SandboxError

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module", params=bubblewrap_module.MECHANISMS)
def mechanism(request):
    return request.param


@pytest.fixture(scope="module")
def sandbox(mechanism):
    """Every test of this file runs with both mechanisms."""
    try:
        return Sandbox(bubblewrap_module.find_launcher([mechanism]))
    except SandboxError as error:
        pytest.skip(str(error))


def test_inputs_go_in_and_declared_outputs_come_out(shell):
    result = shell(
        "tr a-z A-Z <sub/in.txt >out.txt; echo said; echo complained >&2; exit 3",
        inputs={"sub/in.txt": b"hello\n"},
        outputs=("out.txt", "absent.txt"),
    )
    assert (result.exit_code, result.signal) == (3, None)
    assert result.outputs == {"out.txt": b"HELLO\n"}
    assert (result.stdout, result.stderr) == (b"said\n", b"complained\n")
    assert not result.timed_out and not result.output_truncated


def test_binary_content_survives_both_ways(shell):
    content = bytes(range(256)) * 4000
    result = shell("cat in.bin | tee out.bin", inputs={"in.bin": content}, outputs=("out.bin",), limits=Limits())
    assert result.outputs["out.bin"] == content
    assert result.stdout == content


def test_a_symbolic_link_is_no_way_out(shell):
    result = shell("ln -s /etc/passwd leak; ln -s /usr/bin/env also", outputs=("leak", "also"))
    assert result.outputs == {}


def test_the_host_is_out_of_sight(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("ECOT_TEST_SECRET", "do-not-tell")
    (tmp_path / "host-file").write_text("host")
    script = f"""
        cat /etc/shadow; cat /etc/passwd; cat {tmp_path}/host-file; ls /home /root /proc /sys /var /run
        env; ls -A /tmp /dev
    """
    result = shell(script)
    text = result.stdout.decode()
    assert "do-not-tell" not in text and "root:" not in text and "host" not in text
    entries = [line for line in text.splitlines() if "=" not in line and line]
    names = ["null", "urandom"]
    assert entries == ["/dev:", *names, "", "/tmp:"] or entries == ["/dev:", *names, "/tmp:"]
    variables = {line.split("=")[0] for line in text.splitlines() if "=" in line}
    assert variables <= {"PATH", "HOME", "TMPDIR", "LANG", "TZ", "PWD", "OLDPWD", "SHLVL", "_"}


def test_writes_outside_do_no_harm(shell):
    name = f"ecot-test-{secrets.token_hex(8)}"
    script = f"for d in / /usr /usr/bin /dev /tmp /var/tmp; do echo x >$d/{name}; done; ls /tmp"
    result = shell(script)
    assert result.stdout.decode().split() == [name]
    for folder in ("/", "/usr", "/usr/bin", "/dev", "/tmp", "/var/tmp"):
        assert not Path(folder, name).exists()
    assert shell("ls -A /tmp").stdout == b""


def test_there_is_no_network(shell):
    # bash's /dev/tcp needs no tool; the loopback of the sandbox is its own, and nothing listens there.
    result = shell("bash -c 'echo x >/dev/tcp/127.0.0.1/22'; bash -c 'echo x >/dev/tcp/1.1.1.1/53'")
    assert result.exit_code != 0
    assert result.stderr.decode().lower().count("unreachable") >= 1


def test_processor_time_is_capped(shell):
    result = shell("while :; do :; done", limits=Limits(cpu_seconds=1))
    assert result.cpu_exhausted and not result.deadline_passed and result.signal == signal.SIGXCPU


def test_wall_time_is_capped_and_nothing_survives(shell, marker):
    result = shell(f"sleep {marker} & setsid sleep {marker} & sleep {marker}", limits=Limits(wall_seconds=0.5))
    assert result.deadline_passed and not result.cpu_exhausted
    assert result.exit_code is None and result.signal == signal.SIGKILL
    assert marker.left() == []


def test_children_do_not_outlive_the_command(shell, marker):
    result = shell(f"setsid sleep {marker} >/dev/null 2>&1 </dev/null & echo started", outputs=("x",))
    assert result.stdout == b"started\n" and result.exit_code == 0
    assert marker.left(within=5) == []


def test_memory_is_capped(shell):
    result = shell(
        "dd if=/dev/null of=x bs=1 count=0; perl -e '$x = \"a\" x (1 << 30); print length $x'",
        limits=Limits(memory_bytes=256 * MEBIBYTE),
    )
    assert result.exit_code != 0 and b"1073741824" not in result.stdout


def test_the_disk_cannot_be_filled(shell):
    script = (
        "for i in 1 2 3 4 5 6 7 8; do head -c 8M /usr/bin/perl >f$i; cat f$i f$i f$i f$i >g$i; done; du -sm . | cut -f1"
    )
    result = shell(script, limits=Limits(scratch_bytes=16 * MEBIBYTE))
    assert int(result.stdout.split()[-1]) <= 17


def test_a_fork_bomb_is_contained(sandbox, shell):
    if "unprivileged" not in sandbox.description:
        pytest.skip("the kernel counts processes only for an unprivileged user, and this machine allows none")
    result = shell("b() { b | b & }; b; sleep 0.5", limits=Limits(processes=24, wall_seconds=5, cpu_seconds=2))
    assert b"fork" in result.stderr.lower() or result.timed_out
    assert shell("echo fine").stdout == b"fine\n"


def test_a_flood_of_output_ends_the_command(shell):
    result = shell("while :; do echo flooding; done", limits=Limits(output_bytes=10_000, cpu_seconds=20))
    assert result.output_truncated and not result.timed_out
    assert result.stdout == (b"flooding\n" * 2000)[:10_000]


def test_a_flood_may_be_drained_instead(shell):
    script = "i=0; while [ $i -lt 3000 ]; do echo flooding; i=$((i+1)); done; exit 7"
    result = shell(script, limits=Limits(output_bytes=100), stop_on_flood=False)
    assert result.exit_code == 7 and result.output_truncated and len(result.stdout) == 100


def test_death_by_signal_is_told_from_an_exit_code(shell):
    assert shell("kill -SEGV $$").signal == signal.SIGSEGV
    assert shell("sh -c 'kill -ABRT $$'; exit 5", outputs=("x",)).exit_code == 5


def test_the_supervisor_and_its_descriptors_cannot_be_reached(shell):
    result = shell("kill -9 1; kill -9 -1; echo alive; ls /proc/self/fd; for i in 3 4 5 6 7 8 9; do echo x >&$i; done")
    assert result.signal == signal.SIGKILL or b"alive" in result.stdout
    assert (
        shell("for i in 3 4 5 6 7 8 9; do (echo x >&$i) 2>/dev/null && echo open $i; done", outputs=("x",)).stdout
        == b""
    )


def test_cancellation_leaves_no_process(sandbox, marker, cancel):
    """Also while the sandbox is being set up, where a plain kill of the launcher would leave its child behind."""
    command = SandboxCommand(("/bin/sh", "-c", f"setsid sleep {marker} & sleep {marker}"))
    cancel(lambda: sandbox.run(command), [0.0, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.1])


def test_a_killed_caller_takes_the_sandbox_along(mechanism, sandbox, marker):
    code = f"""
import asyncio
from ecot.backends.sandbox import Sandbox, SandboxCommand
from ecot.backends.sandbox.bubblewrap import find_launcher
command = SandboxCommand(("/bin/sh", "-c", "setsid sleep {marker} & sleep {marker}"))
asyncio.run(Sandbox(find_launcher(["{mechanism}"])).run(command))
"""
    caller = subprocess.Popen([sys.executable, "-c", code])
    assert marker.reaches(4, within=60)
    caller.kill()
    caller.wait()
    assert marker.left(within=60) == []


def test_no_descriptor_and_no_control_group_is_left(sandbox, shell, nothing_left):
    shell("true")
    with nothing_left():
        for _ in range(5):
            shell("echo x >out", inputs={"a": b"1", "b": b"2"}, outputs=("out",))
        with pytest.raises(SandboxError):
            asyncio.run(sandbox.run(SandboxCommand(("/bin/true",), read_only=(Path("/no/such/path"),))))
        shell("sleep 30", limits=Limits(wall_seconds=0.3))


def test_commands_run_side_by_side(sandbox, marker):
    """All four are seen alive at once; one after the other none would ever see its three companions."""

    async def all_at_once():
        command = SandboxCommand(("/bin/sleep", str(marker)), limits=Limits(wall_seconds=600))
        runs = [asyncio.create_task(sandbox.run(command)) for _ in range(4)]
        while sum(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in marker.left()) < 4:
            assert not any(run.done() for run in runs)
            await asyncio.sleep(0.01)
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    asyncio.run(all_at_once())
    assert marker.left() == []


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "-x", "a b", ".x", "a//b", ""])
def test_file_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="file name"):
        SandboxCommand(("/bin/true",), inputs={name: b""})


def test_wrong_limits_are_refused():
    with pytest.raises(ValueError, match="cpu_seconds is 0"):
        Limits(cpu_seconds=0)
    with pytest.raises(ValueError, match="absolute path"):
        SandboxCommand(("true",))


def test_without_bubblewrap_the_namespaces_of_the_kernel_serve(monkeypatch):
    which = shutil.which
    monkeypatch.setattr(bubblewrap_module.shutil, "which", lambda name: None if name == "bwrap" else which(name))
    try:
        assert bubblewrap_module.find_launcher().name == "kernel namespaces"
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture
def no_namespaces(monkeypatch):
    """A machine whose kernel refuses the second choice."""
    monkeypatch.setattr(bubblewrap_module, "interpreters", lambda: ["/bin/false"])


def test_without_any_sandbox_there_is_a_refusal_that_says_what_to_do(monkeypatch, no_namespaces):
    which = shutil.which
    monkeypatch.setattr(bubblewrap_module.shutil, "which", lambda name: None if name == "bwrap" else which(name))
    with pytest.raises(SandboxError, match=r"apt install bubblewrap.*kernel namespaces: exit code 1"):
        bubblewrap_module.find_launcher()


def fake_bwrap(tmp_path, monkeypatch, version, rest="exit 1"):
    (tmp_path / "bwrap").write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap {version} && exit 0\n{rest}\n')
    (tmp_path / "bwrap").chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_an_old_bubblewrap_is_refused(tmp_path, monkeypatch, no_namespaces):
    fake_bwrap(tmp_path, monkeypatch, "0.4.1")
    with pytest.raises(SandboxError, match=r"bubblewrap 0\.4\.1 is too old"):
        bubblewrap_module.find_launcher()


def test_forbidden_namespaces_are_named_with_the_remedy(tmp_path, monkeypatch, no_namespaces):
    fake_bwrap(tmp_path, monkeypatch, "0.9.0", "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1")
    with pytest.raises(SandboxError, match=r"No permissions to create a new namespace.*max_user_namespaces"):
        bubblewrap_module.find_launcher()


def test_a_broken_set_up_is_an_error_of_the_tool(sandbox):
    with pytest.raises(SandboxError, match="no/such/path"):
        asyncio.run(sandbox.run(SandboxCommand(("/bin/true",), read_only=(Path("/no/such/path"),))))


def test_the_memory_of_all_processes_together_is_capped(sandbox, shell):
    if "control groups" not in sandbox.description:
        pytest.skip("this machine lets us make no control groups")
    # Each shell holds some 64 MB, less than its own cap; six of them hold more than the cap of all.
    grow = "x=; while [ ${#x} -lt 30000000 ]; do x=$x$x'0123456789abcdef'; done; sleep 2"
    script = f"for i in 1 2 3 4 5 6; do ({grow}) & done; wait"
    limits = Limits(memory_bytes=100 << 20, scratch_bytes=16 << 20, cpu_seconds=20)
    result = shell(script, limits=limits)
    assert result.memory_exhausted
    assert not shell("echo fine").memory_exhausted


def test_a_plain_folder_is_no_control_group(monkeypatch, tmp_path):
    """As the common folder of the controllers of version 1 is: files that are written there cap nothing."""
    for name in ("memory", "pids"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(control_groups, "ROOT", tmp_path)
    assert find_control_groups.__wrapped__() is None
    assert sorted(folder.name for folder in tmp_path.rglob("*")) == ["memory", "pids"]


def test_process_files_show_the_sandbox_alone_and_cannot_be_written(shell, monkeypatch, marker):
    monkeypatch.setenv("ECOT_TEST_SECRET", "do-not-tell")
    before = Path("/proc/sys/kernel/core_uses_pid").read_text()
    script = """
        for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do [ $f = /proc/1/cmdline ] || cat $f; done
        ls -d /proc/[0-9]*; head -1 /proc/self/maps; ls -A /proc/1/root/home
        echo 1 >/proc/sys/kernel/core_uses_pid; echo 1 >/proc/self/oom_score_adj
    """
    host = subprocess.Popen(["sleep", str(marker)])
    try:
        result = shell(script, process_files=True)
    finally:
        host.kill()
        host.wait()
    text = result.stdout.decode()
    assert str(marker) not in text and "do-not-tell" not in text
    assert 1 <= len([line for line in text.splitlines() if line.startswith("/proc/")]) < 8
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+ r.*", text.splitlines()[-1])
    assert result.stderr.count(b"Read-only file system") == 2
    assert Path("/proc/sys/kernel/core_uses_pid").read_text() == before
