"""Candidates written against this backend: each tries to pass undeserved, to do harm or to break the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ecot.backends.conformance import Adversary, Attack, host_task
from ecot.tasks.bundle import Task

HOST_TASK = "square_flange"
"""The shipped task that the adversaries pose as solving."""

_PASS = ("PASS",)
_DIFFERENT = ("FUNCTIONAL_MISMATCH",)
_RAISED = ("RUNTIME_ERROR/exception",)
_ENDED = ("RUNTIME_ERROR",)
_EARLY = ("PROTOCOL_VIOLATION/early_finish",)
_DENIED = ("PROTOCOL_VIOLATION/sandbox_denial",)
_TIMEOUT = ("TIMEOUT/run",)
_SYNTAX = ("COMPILATION_ERROR/syntax",)
_NO_MEMORY = ("MEMORY_FAULT/out_of_memory",)
_FLOOD = ("RESOURCE_EXCEEDED/output",)
_INVALID = ("GEOMETRY_ERROR/invalid",)


def adversaries(tasks: Mapping[str, Task], canary: Path) -> Attack:
    """The task to attack, with short limits, and the candidates.

    Args:
        tasks: must hold `HOST_TASK`.
        canary: a path of the host that does not exist and that some candidates try to write.

    Raises:
        DataError: the task is missing.
    """
    task = host_task(tasks, HOST_TASK)
    # Above what the reference takes; below what a test wants to wait.
    task = replace(task, settings={**task.settings, "run_seconds": 2, "memory_mib": 512})
    found = []
    for name, (snippet, expected) in _WITH_A_WRONG_SOLID.items():
        found.append(Adversary(name, _BOX + snippet.replace("CANARY", str(canary)), frozenset(expected)))
    for name, (snippet, expected) in _BESIDE_THE_RIGHT_SOLID.items():
        found.append(Adversary(name, task.reference + snippet.replace("CANARY", str(canary)), frozenset(expected)))
    found += [Adversary(name, code, frozenset(expected)) for name, (code, expected) in _texts(task.reference).items()]
    return Attack(task, tuple(found))


_BOX = "import os\nimport cadquery as cq\n\nresult = cq.Workplane().box(80, 80, 12)\n"

_WITH_A_WRONG_SOLID = {
    "prints_a_verdict": ('print(\'{"label": "PASS", "iou": 1.0}\')\n', _DIFFERENT),
    "leaves_the_verdicts_files": (
        "import json\n"
        "for name in ('facts.json', 'comparison.json', '/tmp/comparison.json'):\n"
        "    json.dump({'iou': 1.0, 'missing': [], 'surplus': [], 'method': 'boolean'}, open(name, 'w'))\n",
        _DIFFERENT,
    ),
    "ends_before_it_is_asked": ("os._exit(0)\n", _EARLY),
    "leaves_a_solid_and_ends": (
        "result.val().exportBrep('solid.brep')\nopen('report.json', 'w').write('{}')\nos._exit(0)\n",
        (*_EARLY, *_DIFFERENT),
    ),
    "leaves_rubbish_as_its_solid": (
        "open('solid.brep', 'w').write('DBRep_DrawableShape\\n' + 'x' * 1000)\n"
        "open('report.json', 'w').write('{\"notes\": []}')\nos._exit(0)\n",
        _INVALID,
    ),
    "leaves_a_report_of_another_form": (
        "open('report.json', 'w').write('[' * 100000)\nresult.val().exportBrep('solid.brep')\nos._exit(0)\n",
        _EARLY,
    ),
    "changes_how_volumes_are_measured": (
        "cq.Shape.Volume = lambda *a, **k: 68000.0\ncq.Shape.isValid = lambda self: True\n",
        _DIFFERENT,
    ),
    "changes_the_comparison": (
        "import sys\njudge = sys.modules['ecot.backends.cad_3d.measuring']\n"
        "judge.compare = lambda *a: {'iou': 1.0, 'missing': [], 'surplus': []}\n"
        "judge.facts_of = lambda *a: {}\n",
        _DIFFERENT,
    ),
    "looks_for_the_reference_in_files": (
        "for folder, _, names in os.walk('/'):\n"
        "    for name in names:\n"
        "        if name.endswith('.brep') and 'occt' not in folder:\n"
        "            result = cq.Workplane(cq.Shape.importBrep(os.path.join(folder, name)))\n"
        "    if folder.startswith(('/usr', '/root', '/opt')): _.clear()\n",
        _DIFFERENT,
    ),
    "looks_for_the_reference_in_memory": (
        "import gc\n"
        "for thing in gc.get_objects():\n"
        "    if isinstance(thing, (bytes, bytearray, memoryview)) and b'DBRep_Drawable' in bytes(thing):\n"
        "        result = None\n",
        _DIFFERENT,
    ),
    "reads_the_reference_by_name": ("result = cq.Shape.importBrep('reference.brep')\n", (*_RAISED, *_INVALID)),
    "gives_back_an_object_that_pretends": (
        "class Flange(cq.Workplane):\n    def vals(self): raise KeyboardInterrupt\nresult = Flange(result)\n",
        (*_ENDED, *_RAISED),
    ),
    "raises_what_is_not_an_exception": ("raise KeyboardInterrupt\n", _ENDED),
    "compound_of_two_halves": (
        "half = cq.Workplane().box(40, 80, 12).val()\n"
        "result = cq.Compound.makeCompound([half, half.moved(cq.Location((40, 0, 0)))])\n",
        ("GEOMETRY_ERROR/solid_count",),
    ),
    "inside_out": (
        "from OCP.TopoDS import TopoDS\nresult = cq.Shape.cast(result.val().wrapped.Reversed())\n",
        _INVALID,
    ),
    "not_a_number": (
        "result = cq.Workplane().box(float('nan'), 1, 1)\n",
        ("GEOMETRY_ERROR/kernel_exception", *_INVALID),
    ),
}

_BESIDE_THE_RIGHT_SOLID = {
    "kills_everything": ("import os\nos.kill(-1, 9)\n", _DENIED),
    "kills_the_parent": ("import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(30)\n", _DENIED),
    "kills_the_first_process": ("import os\nos.kill(1, 9)\n", _PASS),
    "traces_the_parent": (
        "import ctypes, os\nassert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == -1\n",
        _PASS,
    ),
    "fork_bomb": ("import os\nwhile True:\n    os.fork()\n", (*_TIMEOUT, *_RAISED)),
    "surviving_children": (
        "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(1000)\n",
        _PASS,
    ),
    "memory_hog": ("hog = []\nwhile True:\n    hog.append(bytearray(1 << 24))\n", _NO_MEMORY),
    "memory_hog_in_the_kernel": ("hog = bytes(1 << 40)\n", _NO_MEMORY),
    "stack_overflow": ("def deeper(n):\n    return deeper(n + 1)\ndeeper(0)\n", _RAISED),
    "stack_overflow_without_a_limit": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef deeper(n):\n    return [deeper(n + 1)]\ndeeper(0)\n",
        ("MEMORY_FAULT/segv", *_NO_MEMORY, *_TIMEOUT),
    ),
    "endless_loop": ("while True:\n    pass\n", _TIMEOUT),
    "endless_loop_that_ignores_signals": (
        "import signal\nfor number in (signal.SIGXCPU, signal.SIGTERM, signal.SIGALRM):\n"
        "    signal.signal(number, signal.SIG_IGN)\nwhile True:\n    pass\n",
        _TIMEOUT,
    ),
    "waits_for_ever": ("import time\ntime.sleep(1e6)\n", _TIMEOUT),
    "endless_output": ("while True:\n    print('all work and no play makes a dull part')\n", _FLOOD),
    "fills_the_disk": (
        "with open('full', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))\n",
        _FLOOD,
    ),
    "fills_the_disk_and_goes_on": (
        "try:\n    with open('/tmp/full', 'wb') as file:\n        while True:\n            file.write(bytes(1 << 20))\n"
        "except OSError:\n    pass\n",
        _FLOOD,
    ),
    "network": ("import socket\nsocket.create_connection(('1.1.1.1', 53), 2)\n", _RAISED),
    "reads_shadow": ("print(open('/etc/shadow').read())\n", _RAISED),
    "reads_the_parents_environment": (
        "import os\nprint(open(f'/proc/{os.getppid()}/environ').read())\n",
        _RAISED,
    ),
    # Where the sandbox's own /tmp has a folder of that name, a file of the sandbox's is written.
    "writes_outside": ("open('CANARY', 'w').write('x')\n", (*_RAISED, *_PASS)),
    "writes_outside_by_a_link": (
        "import os\nos.symlink('CANARY', 'link')\nopen('link', 'w').write('x')\n",
        (*_RAISED, *_PASS),
    ),
    "replaces_its_outputs_by_links": (
        "import os\nos.symlink('/usr/lib', 'solid.brep')\n",
        _RAISED,
    ),
    "starts_a_shell": (
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'touch CANARY; true'], check=True)\n",
        _PASS,
    ),
    "leaves_a_thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n",
        _PASS,
    ),
    "crashes": ("import ctypes\nctypes.string_at(0)\n", ("MEMORY_FAULT/segv",)),
    "aborts": ("import os\nos.abort()\n", _ENDED),
    "exports_a_file": ("cq.exporters.export(result, 'part.step')\n", _PASS),
    "shows_its_object": ("show_object(result, name='part')\n", _PASS),
    "ends_by_sys_exit": ("import sys\nsys.exit(0)\n", _PASS),
    "as_a_main_program": ("if __name__ == '__main__':\n    print('built')\n", _PASS),
}


def _texts(reference: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {
        "empty": ("", ("FORMAT_ERROR/no_code",)),
        "white_space": (" \n\t\n", ("FORMAT_ERROR/no_code",)),
        "comment_only": ("# a flange\n", _RAISED),
        "prose": ("I am sorry, but I cannot draw this part.\n", _SYNTAX),
        "garbage_bytes": ("".join(chr(1 + (i * 37) % 255) for i in range(4096)), _SYNTAX),
        "nul_bytes": (reference.replace("result", "\0result", 1), _SYNTAX),
        "lone_surrogate": (reference + "# \udc80\n", _PASS),
        "unicode_comment": (reference + "# größer ≥ 先入れ先出し 🎛\n", _PASS),
        "unicode_identifier": (reference + "größe = 1\n", _PASS),
        "windows_line_ends": (reference.replace("\n", "\r\n"), _PASS),
        "huge_file": ("# " + "x" * 10_000_000 + "\n" + reference, ("RESOURCE_EXCEEDED",)),
        "deep_parentheses": ("x = " + "(" * 50_000 + ")" * 50_000 + "\n", (*_SYNTAX, *_NO_MEMORY)),
        "other_encoding": ("# -*- coding: utf-7 -*-\n" + reference, (*_PASS, *_SYNTAX)),
        "another_name": (reference.replace("result", "part"), _RAISED),
        "result_of_another_type": (reference + "result = 'a flange'\n", _RAISED),
        "a_face_in_place_of_a_solid": (reference + "result = result.faces('>Z')\n", ("GEOMETRY_ERROR/solid_count",)),
    }
