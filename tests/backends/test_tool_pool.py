"""A command in a sandbox that stays ends as in one of its own, and leaves as little behind."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from ecot.backends.sandbox import Limits, SandboxCommand, ToolPool
from ecot.errors import SandboxError

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def pool(sandbox):
    pool = ToolPool(workers=2)
    yield pool
    pool.close()


@pytest.fixture
def run(pool):
    def run(script, **options):
        return asyncio.run(pool.run(SandboxCommand(("/bin/sh", "-c", script), **options)))

    return run


SAME = {
    "files": (
        "tr a-z A-Z <sub/in >out; echo said; echo why >&2; exit 3",
        {"inputs": {"sub/in": b"x"}, "outputs": ("out", "no")},
    ),
    "script": ("./tool; ls -l tool", {"inputs": {"tool": b"#!/bin/sh\npwd\n"}}),
    "link": ("ln -s /etc/passwd out", {"outputs": ("out",)}),
    "surroundings": ("env | sort; ulimit -a | grep -v process; umask; id -u; ls -A /dev /etc /proc", {}),
    "environment": ("echo $A $TMPDIR", {"environment": {"A": "b", "TMPDIR": "/tmp/other"}}),
    "standard input": ("cat; echo end", {}),
    "signal": ("kill -SEGV $$", {}),
    "signal passed on": ("exit 137", {}),
    "broken pipe": ("(yes; echo $? >&2) | head -1", {}),
    "not there": ("exec /no/such/tool", {}),
    "processor time": ("while :; do :; done", {"limits": Limits(cpu_seconds=1)}),
    "wall time": ("sleep 600", {"limits": Limits(wall_seconds=0.3)}),
    "file size": ("head -c 9M /dev/urandom >big; echo $?; ls big", {"limits": Limits(scratch_bytes=8 * MEBIBYTE)}),
    "flood": ("while :; do echo flooding; done", {"limits": Limits(output_bytes=10_000, cpu_seconds=20)}),
    "drained flood": (
        "i=0; while [ $i -lt 3000 ]; do echo flooding; i=$((i+1)); done; exit 7",
        {"limits": Limits(output_bytes=100), "stop_on_flood": False},
    ),
    "memory": ("perl -e '$x = \"a\" x (1 << 30)'; echo $?", {"limits": Limits(memory_bytes=256 * MEBIBYTE)}),
}


@pytest.mark.parametrize("name", SAME)
def test_a_command_ends_as_in_a_sandbox_of_its_own(name, run, shell):
    script, options = SAME[name]
    ends = [replace(each(script, **options), seconds=0.0) for each in (shell, run)]
    assert ends[0] == ends[1]


def test_nothing_is_left_for_the_next_command(run, marker):
    before = run("ls -A /tmp").stdout
    first = run(f"mkdir a a/b; echo x >a/b/c; echo y >z; chmod 0 a; setsid sleep {marker} & echo $! >/dev/null")
    assert first.exit_code == 0
    assert marker.left() == []
    assert run("ls -A /tmp").stdout == before


def test_the_caps_are_those_of_each_command(sandbox, run):
    if "control groups" not in sandbox.description:
        pytest.skip("this machine lets us make no control groups")
    # Each shell holds some 64 MB, less than its own cap; six of them hold more than the small cap of all.
    grow = "x=; while [ ${#x} -lt 30000000 ]; do x=$x$x'0123456789abcdef'; done; sleep 2"
    script = f"for i in 1 2 3 4 5 6; do ({grow}) & done; wait"
    small = Limits(memory_bytes=100 * MEBIBYTE, scratch_bytes=16 * MEBIBYTE, cpu_seconds=20)
    assert run(script, limits=small).memory_exhausted
    assert not run(script, limits=replace(small, memory_bytes=1024 * MEBIBYTE)).memory_exhausted
    assert run(script, limits=small).memory_exhausted


def test_a_fork_bomb_is_contained(sandbox, run):
    if "unprivileged" not in sandbox.description:
        pytest.skip("the kernel counts processes only for an unprivileged user, and this machine allows none")
    result = run("b() { b | b & }; b; sleep 0.5", limits=Limits(processes=24, wall_seconds=5, cpu_seconds=2))
    assert b"fork" in result.stderr.lower() or result.timed_out
    assert run("echo fine").stdout == b"fine\n"


def test_a_lost_sandbox_is_an_error_and_is_replaced(run):
    with pytest.raises(SandboxError, match="killed while it ran /bin/sh"):
        run("kill -9 -1; kill -9 $PPID; sleep 600", limits=Limits(wall_seconds=30))
    assert run("echo fine").stdout == b"fine\n"


def test_cancellation_leaves_no_process(pool, marker, cancel):
    command = SandboxCommand(("/bin/sh", "-c", f"setsid sleep {marker} & sleep {marker}"))
    cancel(lambda: pool.run(command), [0.0, 0.005, 0.3])


def test_closing_leaves_nothing_behind(sandbox, nothing_left):
    with nothing_left():
        pool = ToolPool(workers=1, sandbox=sandbox)
        assert asyncio.run(pool.run(SandboxCommand(("/bin/true",)))).exit_code == 0
        pool.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"read_only": (Path("/opt"),)}, "needs /opt, which the pool's `read_only` does not show"),
        ({"process_files": True}, "make the pool with `process_files`"),
        ({"limits": Limits(scratch_bytes=1 << 30)}, "may fill 1073741824 bytes"),
    ],
)
def test_what_the_pool_was_not_made_for_is_refused(run, options, message):
    with pytest.raises(ValueError, match=message):
        run("true", **options)


def test_it_is_told_that_a_killed_tool_was_killed(run):
    assert run("kill -9 $$").signal == signal.SIGKILL
