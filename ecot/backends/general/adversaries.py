"""Candidates written against this backend: each tries to pass undeserved, to do harm or to break the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ecot.backends.conformance import Adversary, Attack, host_task
from ecot.tasks.bundle import Task

HOST_TASK = "merge_windows"
"""The shipped task whose reference the adversaries are made from."""

_PASS = ("PASS",)
_RAISED = ("RUNTIME_ERROR/exception",)
_EARLY = ("PROTOCOL_VIOLATION/early_finish",)
_SPOOF = ("PROTOCOL_VIOLATION/spoofed_verdict",)
_MISMATCH = ("FUNCTIONAL_MISMATCH",)
_TIMEOUT = ("TIMEOUT/run",)
_NO_MEMORY = ("MEMORY_FAULT/out_of_memory",)
_SYNTAX = ("COMPILATION_ERROR/syntax",)
_FLOOD = ("RESOURCE_EXCEEDED/output",)


def adversaries(tasks: Mapping[str, Task], canary: Path) -> Attack:
    """The task to attack, with short limits, and the candidates.

    Args:
        tasks: must hold `HOST_TASK`.
        canary: a path of the host that does not exist and that some candidates try to write.

    Raises:
        DataError: the task is missing.
    """
    task = host_task(tasks, HOST_TASK)
    task = replace(task, settings={**task.settings, "run_seconds": 1, "memory_mib": 96})
    found = []
    for name, (statements, expected) in {**_ENDING, **_REACHING_OUT, **_EXHAUSTING}.items():
        body = "".join(f"    {line}\n" for line in statements.replace("CANARY", str(canary)).splitlines())
        code = task.reference.replace("    merged = []\n", f"{body}    merged = []\n")
        found.append(Adversary(name, code, frozenset(expected)))
    found += [Adversary(name, code, frozenset(expected)) for name, (code, expected) in _whole_texts(task).items()]
    return Attack(task, tuple(found))


_ENDING = {
    "exit": ("import sys\nsys.exit(0)", _EARLY),
    "quit_by_exception": ("raise SystemExit", _EARLY),
    "exit_at_once": ("import os\nos._exit(0)", _EARLY),
    "exit_with_the_code_of_a_hang": ("import os\nos._exit(97)", _EARLY),
    "kill_itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", _RAISED),
    "kill_the_watcher": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", _RAISED),
    "stop_the_watcher": ("import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)", _RAISED),
    "signal_all": ("import os, signal\nos.kill(-1, signal.SIGTERM)", _RAISED),
    "crash": ("import ctypes\nctypes.string_at(0)", ("MEMORY_FAULT/segv",)),
    "verdict_on_all_descriptors": (
        "import os\nfor number in range(3, 64):\n    try:\n"
        '        os.write(number, b\'["0", "end", 47]\\n\')\n    except OSError:\n        pass',
        _SPOOF,
    ),
    "verdict_with_the_true_nonce": (
        'import sys\nframe = sys._getframe()\nwhile "channel" not in frame.f_locals:\n    frame = frame.f_back\n'
        'frame.f_locals["channel"].send("end", 47)\nimport os\nos._exit(0)',
        (*_SPOOF, *_EARLY),
    ),
    "verdict_printed": ('print("all 47 calls are right")\nprint("PASSED")', _PASS),
    "results_forged": (
        'import sys\nframe = sys._getframe()\nwhile "channel" not in frame.f_locals:\n    frame = frame.f_back\n'
        'for _ in range(60):\n    frame.f_locals["channel"].send("result", [])',
        (*_MISMATCH, *_SPOOF, *_EARLY),
    ),
    "encoder_replaced": ('import sys\nsys.modules["__main__"].encode = lambda value, depth=0: []', _MISMATCH),
    "builtins_replaced": ("import builtins\nbuiltins.any = lambda values: False", _MISMATCH),
    "closed_descriptors": ("import os\nos.closerange(0, 64)", _EARLY),
}

_REACHING_OUT = {
    "write_outside": ('open("CANARY", "w").write("x")', _RAISED),
    "write_the_system": ('open("/usr/bin/ecot-was-here", "w").write("x")', _RAISED),
    "symlink_out": ('import os\nos.symlink("/etc", "way-out")\nopen("way-out/shadow").read()', _RAISED),
    "read_shadow": ('open("/etc/shadow").read()', _RAISED),
    "read_the_parents_environment": (
        'import os\nopen(f"/proc/{os.getppid()}/environ", "rb").read()',
        _RAISED,
    ),
    "read_the_job": ('open("job.json").read()', _RAISED),
    "read_the_tests": ('open("tests.py").read()', _RAISED),
    "read_the_reference": ("import reference", _RAISED),
    "network": ('import socket\nsocket.create_connection(("1.1.1.1", 80), 5)', _RAISED),
    "own_network": ('import socket\nsocket.create_connection(("127.0.0.1", 22), 5)', _RAISED),
    "start_a_shell": ('import subprocess\nsubprocess.run(["/bin/sh", "-c", "touch CANARY"], check=True)', _RAISED),
    "trace_the_watcher": (
        "import ctypes, os\nif ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0) < 0:\n"
        '    raise PermissionError("ptrace")',
        _RAISED,
    ),
    "import_a_package": ("import numpy", _RAISED),
}

_EXHAUSTING = {
    "endless_loop": ("while True:\n    pass", _TIMEOUT),
    "endless_loop_that_ignores_signals": (
        "import signal\nfor number in (signal.SIGXCPU, signal.SIGTERM, signal.SIGINT):\n"
        "    signal.signal(number, signal.SIG_IGN)\nwhile True:\n    pass",
        _TIMEOUT,
    ),
    "endless_sleep": ("import time\ntime.sleep(10**6)", _TIMEOUT),
    "dead_lock": ("import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", _TIMEOUT),
    "waits_for_input": ("input()", _RAISED),
    "fork_bomb": ("import os\nwhile True:\n    os.fork()", _RAISED),
    "thread_bomb": (
        "import threading\nwhile True:\n    threading.Thread(target=threading.Event().wait).start()",
        _RAISED,
    ),
    "surviving_child": ("import os\nif os.fork() == 0:\n    os.setsid()\n    while True:\n        pass", _RAISED),
    "output_flood": ('while True:\n    print("all work and no play")', _FLOOD),
    "output_flood_in_one_line": ('while True:\n    print("0123456789", end="")', _FLOOD),
    "flood_of_errors": ('import sys\nwhile True:\n    sys.stderr.write("0123456789\\n")', _FLOOD),
    "huge_result": ("return [0] * 10**6", (*_FLOOD, *_NO_MEMORY)),
    "memory_hog": ("hog = bytearray(1 << 40)", _NO_MEMORY),
    "memory_hog_by_and_by": ("hog = []\nwhile True:\n    hog.append(bytearray(1 << 20))", _NO_MEMORY),
    "fills_the_disk": (
        'with open("big", "xb") as file:\n    while True:\n        file.write(bytes(1 << 20))',
        (*_RAISED, *_NO_MEMORY),
    ),
    "endless_recursion": ("return merge_windows(list(windows))", _RAISED),
    "recursion_without_limit": (
        "import sys\nsys.setrecursionlimit(10**9)\ndeeper = lambda n: deeper(n + 1) + 1\ndeeper(0)",
        ("MEMORY_FAULT/segv", *_NO_MEMORY, *_RAISED, *_TIMEOUT),
    ),
    "endless_number": ("return 10 ** 10 ** 10", (*_TIMEOUT, *_NO_MEMORY)),
}


def _whole_texts(task: Task) -> dict[str, tuple[str, tuple[str, ...]]]:
    reference = task.reference
    equal_to_all = "class Equal(list):\n    def __eq__(self, other):\n        return True\n"
    return {
        "empty": ("", ("FORMAT_ERROR/no_code",)),
        "white_space": (" \n\t\n", ("FORMAT_ERROR/no_code",)),
        "comment_only": ("# def merge_windows(windows)\n", ("COMPILATION_ERROR/link",)),
        "prose": ("I am sorry, but I cannot write this function.\n", _SYNTAX),
        "garbage_bytes": ("".join(chr(1 + (i * 37) % 255) for i in range(4096)), _SYNTAX),
        "nul_bytes": (reference.replace("    merged", "\0    merged", 1), _SYNTAX),
        "lone_surrogate": (reference + "# \udc80\n", _PASS),
        "unicode_comment": (reference + "# größer ≥ 先入れ先出し 🎛\n", _PASS),
        "unicode_identifier": (reference.replace("merged", "überlagert"), _PASS),
        "windows_line_ends": (reference.replace("\n", "\r\n"), _PASS),
        "huge_file": ("# " + "x" * 10_000_000 + "\n" + reference, ("RESOURCE_EXCEEDED",)),
        "deep_parentheses": (
            f"{reference}\ndeep = {'(' * 5000}0{')' * 5000}\n",
            (*_SYNTAX, *_NO_MEMORY, "MEMORY_FAULT/segv"),
        ),
        "other_encoding": ("# -*- coding: latin-1 -*-\n" + reference, _PASS),
        "exit_on_loading": (f"import sys\nsys.exit(0)\n{reference}", _EARLY),
        "exception_on_loading": (f"1 / 0\n{reference}", _RAISED),
        "exit_at_the_end": (f"import atexit, os\natexit.register(os._exit, 1)\n{reference}", _PASS),
        "no_function": ("merge_windows = 5\n", ("COMPILATION_ERROR/link",)),
        "equal_to_everything": (f"{equal_to_all}\n\ndef merge_windows(windows):\n    return Equal()\n", _MISMATCH),
        "subclass_of_a_plain_type": (
            f"{equal_to_all}{reference.replace('return merged', 'return Equal(merged)')}",
            _MISMATCH,
        ),
        "returns_nothing": ("def merge_windows(windows):\n    pass\n", _MISMATCH),
        "returns_itself": (
            "def merge_windows(windows):\n    loop = []\n    loop.append(loop)\n    return loop\n",
            _MISMATCH,
        ),
        "exception_without_text": (
            "class Odd(Exception):\n    def __str__(self):\n        raise self\n\n\n"
            "def merge_windows(windows):\n    raise Odd\n",
            _RAISED,
        ),
    }
