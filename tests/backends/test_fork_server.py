"""A fork server's requests are as contained as any command, and one leaves no trace for the next."""

import asyncio
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecot.backends.sandbox import Limits, Sandbox, fork_server
from ecot.backends.sandbox.bubblewrap import MECHANISMS, find_launcher
from ecot.backends.sandbox.fork_server import ForkCommand, ForkPool, ForkServerSpec
from ecot.errors import SandboxError

MEBIBYTE = 1 << 20
LIMITS = Limits(cpu_seconds=2, wall_seconds=60, memory_bytes=128 * MEBIBYTE, scratch_bytes=16 * MEBIBYTE, processes=8)


@pytest.fixture(autouse=True)
def probe_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture(scope="module")
def pool(sandbox):
    pool = ForkPool(ForkServerSpec(("fork_probe",), scratch_bytes=16 * MEBIBYTE, process_files=True), workers=1)
    yield pool
    pool.close()


@pytest.fixture
def run(pool):
    """Run a text in a child of the server."""

    def run(code, *, limits=LIMITS, **options):
        return asyncio.run(pool.run(ForkCommand("fork_probe:run", code, limits=limits, **options)))

    return run


def test_files_go_in_and_come_out(run):
    code = "import sys; open('sub/out', 'wb').write(open('in', 'rb').read() * 2); print('said'); sys.stderr.write('x')"
    content = bytes(range(256)) * 1000
    result = run(code, inputs={"in": content, "sub/other": b""}, outputs=("sub/out", "absent"))
    assert (result.exit_code, result.signal, result.stdout, result.stderr) == (0, None, b"said\n", b"x")
    assert result.outputs == {"sub/out": content * 2}
    assert not (result.timed_out or result.output_truncated or result.server_lost or result.memory_exhausted)


def test_every_kind_of_end_is_told(run):
    assert run("code = 7").exit_code == 7
    assert run("raise SystemExit(9)").exit_code == 9
    assert run("raise SystemExit('why')").exit_code == 1
    assert run("import os; os._exit(5)").exit_code == 5
    raised = run("1 / 0")
    assert raised.exit_code == 70 and b"ZeroDivisionError" in raised.stderr
    killed = run("import ctypes; ctypes.string_at(0)")
    assert (killed.exit_code, killed.signal, killed.server_lost) == (None, signal.SIGSEGV, False)
    assert run("import os; os.kill(os.getpid(), 9)").signal == signal.SIGKILL


def test_nothing_is_carried_over(run):
    leave = """
import os, random, fork_probe
traces.append('seen')
fork_probe.extra = 1
os.environ['LEFT'] = 'behind'
os.mkdir('/tmp/elsewhere'); open('/tmp/elsewhere/file', 'w').write('x'); open('here', 'w').write('x')
os.mkdir('closed'); open('closed/file', 'w').write('x'); os.chmod('closed', 0); os.mkfifo('pipe')
os.symlink('/etc', 'link')
print(random.random())
"""
    look = """
import os, random, fork_probe
print(random.random())
print(traces, vars(fork_probe).get('extra'), os.environ.get('LEFT'), sorted(os.listdir()), sorted(os.listdir('/tmp')))
"""
    first, second = run(leave).stdout.split(b"\n"), run(look).stdout.split(b"\n")
    assert first[0] == second[0]  # the same random numbers for everyone
    assert second[1].startswith(b"[] None None [] [")
    assert b"elsewhere" not in second[1]


def test_no_trace_of_earlier_files_is_left_in_memory(run):
    """A child inherits the server's memory, freed pieces included; it may search all of it."""
    search = """
import ctypes, gc
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
class Vector(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
size = 1 << 16
buffer = ctypes.create_string_buffer(size)
ours = Vector(ctypes.addressof(buffer), size)
needle, read, hits = bytes([b ^ 1 for b in MASKED]), 0, 0
# All of the heap, and wherever there are objects.
top = libc.sbrk(0)
starts = {top - number * size for number in range(1, 200)}
for thing in (*gc.get_objects(), *globals().values()):
    starts |= {(id(thing) >> 20 << 20) + number * size for number in range(16)}
for start in starts:
    theirs = Vector(start, size)
    if libc.process_vm_readv(os.getpid(), ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0) > 0:
        read += 1
        # Not the needle itself, which lies in this process too.
        hits += buffer.raw.count(needle + TAIL)
print(read, hits)
"""
    secret = secrets.token_bytes(24)
    masked = f"import os\nTAIL = b'more'\nMASKED = {bytes(byte ^ 1 for byte in secret)!r}"
    for size in (1, 50, 2000):
        files = {"small": secret + b"more", "large": (secret + b"more") * size}
        result = run("import os; os.rename('large', 'out')", inputs=files, outputs=("small", "out"))
        assert result.outputs == {"small": files["small"], "out": files["large"]}
    found = run(masked + search).stdout.split()
    assert int(found[0]) >= 10 and found[1] == b"0"
    own = run(f"kept = bytes(bytearray({secret!r} + b'more'))\n" + masked + search).stdout.split()
    assert int(own[1]) >= 1  # the search finds what is there


def test_the_same_hashes_everywhere(run):
    assert run("print(hash('text'))").stdout == run("print(hash('text'))").stdout
    other = subprocess.run(
        [sys.executable, "-c", "print(hash('text'))"], env={"PYTHONHASHSEED": "0"}, capture_output=True, check=True
    )
    assert run("print(hash('text'))").stdout == other.stdout


def test_daemons_do_not_outlive_their_request(run, marker):
    code = f"""
import os, subprocess
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        subprocess.Popen(['/bin/sleep', '{marker}'], start_new_session=True)
        os._exit(0)
"""
    result = run(code)
    assert result.exit_code == 0 and not result.server_lost
    assert marker.left() == []


def test_who_kills_everything_loses_only_its_own_request(run):
    for code in ("import os; os.kill(-1, 9)", "import os; os.kill(os.getppid(), 9); import time; time.sleep(60)"):
        lost = run(code)
        assert lost.server_lost and lost.exit_code is None and lost.signal == signal.SIGKILL
        assert run("code = 3").exit_code == 3


def test_who_stops_the_server_loses_only_its_own_request(run, monkeypatch):
    monkeypatch.setattr(fork_server, "_GRACE_SECONDS", 1.0)
    limits = Limits(wall_seconds=1)
    assert run("import os; os.kill(os.getppid(), 19)", limits=limits).server_lost
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert run("code = 3").exit_code == 3


def test_the_first_process_cannot_be_killed(run):
    result = run("import os; os.kill(1, 9); print('alive')")
    assert result.stdout == b"alive\n" and not result.server_lost


def test_the_server_can_be_neither_traced_nor_read(run):
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
server = os.getppid()
print(libc.ptrace(16, server, 0, 0), libc.ptrace(0x4206, server, 0, 0))
buffer = ctypes.create_string_buffer(8)
class Vector(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
ours, theirs = Vector(ctypes.addressof(buffer), 8), Vector(id(os), 8)
print(libc.process_vm_readv(server, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
for name in ('mem', 'environ', 'fd/0', 'maps', 'root'):
    try:
        open(f'/proc/{server}/{name}', 'rb').read(1)
        print('read', name)
    except OSError:
        pass
try:
    os.open(f'/proc/{server}/mem', os.O_RDWR)
    print('open for writing')
except OSError:
    print('closed')
"""
    assert run(code).stdout.split() == [b"-1", b"-1", b"-1", b"closed"]


def test_a_child_holds_no_descriptor_of_the_server(run):
    code = """
import os
found = []
for number in range(3, 4096):
    try:
        os.fstat(number)
        found.append(number)
    except OSError:
        pass
print(found, os.read(0, 10))
"""
    assert run(code).stdout == b"[] b''\n"


def test_processor_time_is_capped_even_for_who_ignores_the_signal(run):
    limits = Limits(cpu_seconds=1, wall_seconds=120)
    result = run("while True: pass", limits=limits)
    assert result.cpu_exhausted and not result.deadline_passed and result.signal == signal.SIGXCPU
    ignoring = run("import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", limits=limits)
    assert ignoring.cpu_exhausted and not ignoring.deadline_passed and ignoring.signal == signal.SIGKILL


def test_waiting_for_nothing_is_told_from_a_busy_machine(run):
    code = "import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(1000)"
    result = run(code, limits=Limits(wall_seconds=6))
    assert result.deadline_passed and result.idle and not result.cpu_exhausted
    assert result.outputs == {}


def test_a_deadline_in_the_midst_of_work_is_not_its_own_doing(run):
    result = run("while True: pass", limits=Limits(cpu_seconds=1000, wall_seconds=1))
    assert result.deadline_passed and not result.idle and not result.cpu_exhausted


def test_memory_is_capped_above_what_the_server_holds(run):
    assert run("x = bytearray(64 << 20); print(len(x))").stdout == b"67108864\n"
    result = run("x = bytearray(256 << 20)")
    assert result.exit_code == 70 and b"MemoryError" in result.stderr


def test_a_flood_of_output_ends_the_request(run):
    result = run("while True: print('flooding')", limits=Limits(output_bytes=10_000))
    assert result.output_truncated and not result.timed_out and result.stdout == (b"flooding\n" * 2000)[:10_000]


def test_the_disk_cannot_be_filled(run):
    code = """
written = 0
for number in range(64):
    try:
        written += open(f'/tmp/{number}', 'wb').write(bytes(1 << 20))
    except OSError:
        break
print(written >> 20)
"""
    assert 8 <= int(run(code).stdout) <= 16
    assert int(run(code).stdout) >= 8


def test_an_output_above_the_cap_is_left_behind(run):
    code = "open('a', 'wb').truncate(900); open('b', 'wb').truncate(200)"
    result = run(code, outputs=("a", "b"), limits=Limits(scratch_bytes=1000))
    assert result.output_truncated and set(result.outputs) == {"a"}


def test_outputs_that_are_no_files_stay_behind(run):
    code = """
import os
os.symlink('/usr/bin/env', 'link'); os.mkfifo('pipe'); os.mkdir('folder'); os.symlink('/usr', 'sub')
open('secret', 'w').write('x'); os.chmod('secret', 0)
"""
    result = run(code, outputs=("link", "pipe", "folder", "sub/bin/env", "secret"))
    assert result.exit_code == 0 and result.outputs == {}
    moved = run("import os; os.chdir('/tmp'); os.rmdir('work'); os.symlink('/usr/bin', 'work')", outputs=("env",))
    assert moved.exit_code == 0 and moved.outputs == {}
    assert run("code = 3").exit_code == 3


def test_what_cannot_be_wiped_ends_the_server_and_no_more(run):
    deep = """
import os
for _ in range(3000):
    os.mkdir('d'); os.chdir('d')
"""
    assert run(deep).exit_code == 0
    assert run("import os; print(os.listdir())").stdout == b"[]\n"


def test_a_fork_bomb_is_contained(run, sandbox):
    if "unprivileged" not in sandbox.description:
        pytest.skip("the kernel counts processes only for an unprivileged user, and this machine allows none")
    code = """
import os
try:
    while True:
        os.fork()
except OSError as error:
    print(error.strerror)
"""
    result = run(code, limits=Limits(cpu_seconds=2, wall_seconds=30, processes=8))
    assert b"Resource temporarily unavailable" in result.stdout and not result.server_lost
    assert run("code = 3").exit_code == 3


def test_nothing_of_the_host_is_there(run, monkeypatch):
    code = """
import os, socket
for path in ('/etc/shadow', '/etc/passwd', '/root/.bashrc', '/tmp/server'):
    try:
        print(open(path).read())
    except OSError as error:
        print(type(error).__name__)
try:
    socket.create_connection(('1.1.1.1', 53), 1)
except OSError as error:
    print('no network')
print('DO_NOT_TELL' in os.environ)
"""
    monkeypatch.setenv("DO_NOT_TELL", "a secret")
    lines = run(code).stdout.split()
    assert lines[-3:] == [b"no", b"network", b"False"]
    assert set(lines[:-3]) <= {b"FileNotFoundError", b"PermissionError"}


def test_cancelling_leaves_no_process(pool, marker, cancel):
    code = f"import subprocess; subprocess.run(['/bin/sleep', '{marker}'])"
    cancel(lambda: pool.run(ForkCommand("fork_probe:run", code, limits=LIMITS)), [0.0, 0.01, 0.5], within=10)


def test_closing_leaves_nothing_behind(sandbox, nothing_left):
    pool = ForkPool(ForkServerSpec(("fork_probe",)), workers=2)

    async def four():
        jobs = [pool.run(ForkCommand("fork_probe:run", "code = 3")) for _ in range(4)]
        return [result.exit_code for result in await asyncio.gather(*jobs)]

    with nothing_left():
        assert asyncio.run(four()) == [3, 3, 3, 3]
        pool.close()
        assert asyncio.run(four()) == [3, 3, 3, 3]  # a closed pool starts anew
        pool.close()


def test_a_killed_caller_takes_its_servers_along(sandbox, marker):
    code = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from ecot.backends.sandbox.fork_server import ForkCommand, ForkPool, ForkServerSpec
pool = ForkPool(ForkServerSpec(("fork_probe",), environment={{"MARKER": "{marker}"}}), workers=1)
run = "import subprocess; subprocess.run(['/bin/sleep', '{marker}'])"
asyncio.run(pool.run(ForkCommand("fork_probe:run", run)))
"""
    caller = subprocess.Popen([sys.executable, "-c", code])
    assert marker.reaches(3, within=60)
    caller.kill()
    caller.wait()
    assert marker.left(within=60) == []


def test_it_works_where_there_is_no_bubblewrap(sandbox):
    try:
        other = Sandbox(find_launcher([MECHANISMS[1]]))
    except SandboxError as error:
        pytest.skip(str(error))
    pool = ForkPool(ForkServerSpec(("fork_probe",)), workers=1, sandbox=other)

    def run(code):
        return asyncio.run(pool.run(ForkCommand("fork_probe:run", code, outputs=("out",))))

    assert run("open('out', 'w').write('x')").outputs == {"out": b"x"}
    assert run("import os; os.kill(-1, 9)").server_lost
    assert run("import os; print(os.listdir())").stdout == b"[]\n"
    pool.close()


def test_an_import_that_fails_is_an_error_of_the_tool(tmp_path, monkeypatch, sandbox):
    (tmp_path / "broken_probe.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = ForkPool(ForkServerSpec(("broken_probe",)), workers=1)
    with pytest.raises(SandboxError, match="No module named 'no_such_library'"):
        asyncio.run(pool.run(ForkCommand("broken_probe:run")))


def test_what_does_not_fit_is_refused(run, pool):
    with pytest.raises(ValueError, match="MODULE:FUNCTION"):
        asyncio.run(pool.run(ForkCommand("os:system", "ls")))
    with pytest.raises(ValueError, match="exceed the servers' scratch_bytes"):
        run("", inputs={"x": bytes(17 * MEBIBYTE)})
    with pytest.raises(ValueError, match="file name"):
        run("", inputs={"../x": b""})
