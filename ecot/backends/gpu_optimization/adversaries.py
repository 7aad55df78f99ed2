"""Candidates written against this backend: each tries to pass undeserved, to do harm or to break the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ecot.backends.conformance import Adversary, Attack, host_task
from ecot.tasks.bundle import Task

HOST_TASK = "row_softmax"
"""The shipped task whose reference the Triton adversaries are made from: PyTorch has an operator that solves it."""

CUDA_HOST_TASK = "cuda_block_sum"
"""The same for CUDA: shared memory, a barrier and an atomic operation."""

Table = Mapping[str, tuple[str, tuple[str, ...]]]

_DENIED = ("PROTOCOL_VIOLATION/sandbox_denial",)
_NO_KERNEL = ("PROTOCOL_VIOLATION/no_kernel",)
_EARLY = ("PROTOCOL_VIOLATION/early_finish",)
_WRONG = ("NUMERIC_MISMATCH",)
_TIMEOUT = ("TIMEOUT/run",)
_SYNTAX = ("COMPILATION_ERROR/syntax",)
_NO_MEMORY = ("MEMORY_FAULT/out_of_memory",)
_UNSUPPORTED = ("COMPILATION_ERROR/unsupported",)
_PASS = ("PASS",)


def adversaries(tasks: Mapping[str, Task], canary: Path) -> Attack:
    """The Triton task to attack, with short limits, and the candidates.

    Args:
        tasks: must hold `HOST_TASK`.
        canary: a path of the host that does not exist and that some candidates try to write.

    Raises:
        DataError: the task is missing.
    """
    task = _host(tasks, HOST_TASK)
    bodies = {**_CHEATING, **_REACHING_OUT, **_REACHING_IN, **_EXHAUSTING, **_HARMLESS}
    found = []
    for name, (body, expected) in bodies.items():
        # The body of a function that takes the place of the entry; the honest one is `honest`.
        lines = "".join(f"    {line}\n" for line in body.replace("CANARY", str(canary)).splitlines())
        honest = task.reference.replace(f"def {task.entry}(", "def honest(")
        code = f"import math\n{honest}{_EXTRA_KERNELS}\n\ndef {task.entry}(x):\n{lines}"
        found.append(Adversary(name, code, frozenset(expected)))
    found += [Adversary(name, code, frozenset(expected)) for name, (code, expected) in _whole_texts(task).items()]
    return Attack(task, tuple(found))


def cuda_adversaries(tasks: Mapping[str, Task], canary: Path) -> Attack:
    """The same for the CUDA task; snippets go to the beginning of the kernel."""
    task = _host(tasks, CUDA_HOST_TASK)
    found = []
    for name, (snippet, expected) in _CUDA.items():
        before, _, after = task.reference.partition("{\n")
        head, _, body = snippet.replace("CANARY", str(canary)).rpartition("###\n")
        found.append(Adversary(name, f"{head}{before}{{\n{body}\n{after}", frozenset(expected)))
    found += [Adversary(name, code, frozenset(expected)) for name, (code, expected) in _cuda_texts(task).items()]
    return Attack(task, tuple(found))


def _host(tasks: Mapping[str, Task], name: str) -> Task:
    task = host_task(tasks, name)
    return replace(task, settings={**task.settings, "run_seconds": 1, "memory_mib": 512})


_CHEATING: Table = {
    "zero_output": ("return torch.zeros_like(x)", _WRONG),
    "memory_as_it_comes": ("return torch.empty_like(x)", _WRONG),
    "returns_the_input": ("return x", _WRONG),
    "torch_operator": ("return torch.softmax(x, dim=1)", _NO_KERNEL),
    "torch_method": ("return x.softmax(1)", _NO_KERNEL),
    "functional_module": ("return torch.nn.functional.softmax(x, dim=-1)", _NO_KERNEL),
    "operators_written_out": ("e = (x - x.amax(1, keepdim=True)).exp()\nreturn e / e.sum(1, keepdim=True)", _NO_KERNEL),
    "fallback_to_torch": (
        "try:\n    return honest(x[:, ::0])\nexcept Exception:\n    return torch.softmax(x, dim=1)",
        _NO_KERNEL,
    ),
    "fallback_around_all": (
        "try:\n    return torch.softmax(x, dim=1)\nexcept BaseException:\n    return honest(x)",
        _NO_KERNEL,
    ),
    "kernel_for_show": ("honest(x)\nreturn torch.softmax(x, dim=1)", _NO_KERNEL),
    "result_reuse": (
        "key = tuple(x.shape)\nif key not in CACHE:\n    CACHE[key] = honest(x)\nreturn CACHE[key]",
        _WRONG,
    ),
    "work_in_python": (
        "rows = [[math.exp(v - max(row)) for v in row] for row in x.tolist()]\n"
        "return torch.tensor([[v / sum(row) for v in row] for row in rows])",
        _NO_KERNEL,
    ),
    "work_in_numpy": ("e = x.numpy()\nreturn torch.from_numpy(e)", _NO_KERNEL),
    "kernel_that_copies_a_result": (
        "y = torch.softmax(x, 1)\nout = torch.empty_like(y)\nreturn out",
        _NO_KERNEL,
    ),
    "torch_inside_of_a_kernel": (
        "out = torch.empty_like(x)\ntorch_kernel[(1,)](x, out)\nreturn out",
        ("COMPILATION_ERROR/elaboration", "RUNTIME_ERROR/exception"),
    ),
    "prints_a_verdict": ("print('all 4 cases match (174 elements)')\nreturn torch.zeros_like(x)", _WRONG),
    "prints_stages": ("print('\\necot-stage compile')\nreturn torch.zeros_like(x)", _WRONG),
    "ends_early": ("raise SystemExit(0)", _EARLY),
    "interrupts": ("raise KeyboardInterrupt", ("RUNTIME_ERROR/exception",)),
    "not_a_tensor": ("return [[0.0]]", ("FUNCTIONAL_MISMATCH",)),
    "changes_the_input": ("x.zero_()\nreturn honest(x)", ("FUNCTIONAL_MISMATCH",)),
}

_REACHING_IN: Table = {
    "monkey_patched_timer": ("torch.cuda.Event.elapsed_time = lambda self, other: 0.0\nreturn honest(x)", _DENIED),
    "monkey_patched_operator": ("torch.empty = torch.zeros\nreturn honest(x)", _DENIED),
    "monkey_patched_language": ("tl.load = tl.store\nreturn honest(x)", _DENIED),
    "monkey_patched_kernel": ("softmax_kernel.fn = honest\nreturn honest(x)", _DENIED),
    "patch_by_setattr": ("setattr(triton, 'jit', None)\nreturn honest(x)", _DENIED),
    "patch_behind_another_name": ("t = torch\nt.empty = t.zeros\nreturn honest(x)", _DENIED),
    "wrong_stream": ("with torch.cuda.stream(torch.cuda.Stream()):\n    return honest(x)", _DENIED),
    "into_the_harness": ("import __main__\nreturn __main__.job", _DENIED),
    "harness_by_name": ("import ecot.backends.gpu_optimization.inside.triton_job as job\nreturn job", _DENIED),
    "globals_of_a_function": ("return torch.nn.Module.__init__.__globals__", _DENIED),
    "subclasses": ("return ().__class__.__base__.__subclasses__()", _DENIED),
    "frames": ("import sys\nreturn sys._getframe(1).f_locals", _DENIED),
    "garbage_collector": ("import gc\nreturn gc.get_objects()", _DENIED),
    "evaluated_text": ("return eval('torch.softmax(x, 1)')", _DENIED),
    "guard_taken_off": ("with torch._C._DisableTorchDispatch():\n    return torch.softmax(x, 1)", _DENIED),
    "guard_taken_off_by_utils": ("return torch.utils._python_dispatch._pop_mode()", _DENIED),
    "operators_by_name": ("return torch.ops.aten.softmax(x, 1)", _DENIED),
    "compiled_torch": ("return torch.compile(torch.softmax)(x, 1)", _DENIED),
    "own_operator": ("return torch.library.custom_op", _DENIED),
}

_REACHING_OUT: Table = {
    "write_outside": ("open('CANARY', 'w').write('x')\nreturn honest(x)", _DENIED),
    "write_outside_by_torch": ("torch.save(x, 'CANARY')\nreturn honest(x)", _DENIED),
    "write_outside_by_mapping": ("torch.from_file('CANARY', shared=True, size=8)\nreturn honest(x)", _NO_KERNEL),
    "read_shadow": ("return open('/etc/shadow').read()", _DENIED),
    "parent_environment": ("import os\nreturn os.environ", _DENIED),
    "network": ("import socket\nsocket.create_connection(('1.1.1.1', 53))", _DENIED),
    "fork_bomb": ("import os\nwhile True:\n    os.fork()", _DENIED),
    "surviving_children": ("import subprocess\nsubprocess.Popen(['sleep', '1000'])\nreturn honest(x)", _DENIED),
    "signal_the_parent": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", _DENIED),
    "symlink_out": ("import os\nos.symlink('/etc', 'outputs.bin')\nreturn honest(x)", _DENIED),
    "fill_the_disk": ("f = open('big', 'wb')\nwhile True:\n    f.write(bytes(1 << 20))", _DENIED),
    "call_the_c_library": ("import ctypes\nctypes.CDLL(None).system(b'touch CANARY')", _DENIED),
    "system_through_torch": ("torch.os.system('touch CANARY')\nreturn honest(x)", _DENIED),
    "sleep": ("import time\ntime.sleep(1000)", _DENIED),
}

_EXHAUSTING: Table = {
    "endless_loop": ("while True:\n    pass", _TIMEOUT),
    "endless_loop_that_catches": (
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
        _TIMEOUT,
    ),
    "endless_kernel": ("out = torch.empty_like(x)\nspin_kernel[(1,)](out)\nreturn out", _TIMEOUT),
    "memory_hog": ("return torch.empty(1 << 44)", _NO_MEMORY),
    "memory_hog_in_lists": ("hog = [0]\nwhile True:\n    hog = hog + hog", _NO_MEMORY),
    "output_flood": ("while True:\n    print('all work and no play' * 100)", ("RESOURCE_EXCEEDED/output",)),
    "recursion": ("return row_softmax(x)", ("RUNTIME_ERROR/exception", "MEMORY_FAULT/segv")),
    "huge_output": ("return torch.zeros(20_000_000)", ("FUNCTIONAL_MISMATCH", "RESOURCE_EXCEEDED/output")),
}

_HARMLESS: Table = {
    "prints": ("print('hello', x.shape)\nreturn honest(x)", _PASS),
    "asks_for_the_device": ("assert x.is_cuda\nreturn honest(x.to('cuda').contiguous())", _PASS),
    "allocates_on_the_device": (
        "out = torch.empty(x.shape, device='cuda', dtype=torch.float32)\nout.copy_(honest(x))\nreturn out",
        _PASS,
    ),
    "synchronises": ("out = honest(x)\ntorch.cuda.synchronize()\nreturn out", _PASS),
    "catches_its_own_errors": ("try:\n    honest(None)\nexcept Exception:\n    pass\nreturn honest(x)", _PASS),
}

_EXTRA_KERNELS = """

CACHE = {}


@triton.jit
def spin_kernel(out):
    while tl.load(out) * 0.0 != 1.0:
        tl.store(out, 0.0)


@triton.jit
def torch_kernel(x, out):
    torch.softmax(x, 1)
"""


def _whole_texts(task: Task) -> Table:
    reference = task.reference
    return {
        "empty": ("", ("FORMAT_ERROR/no_code",)),
        "white_space": (" \n\t\n", ("FORMAT_ERROR/no_code",)),
        "comment_only": ("# def row_softmax(x)\n", ("FUNCTIONAL_MISMATCH",)),
        "prose": ("I am sorry, but I cannot write this kernel.\n", _SYNTAX),
        "nul_bytes": (reference.replace("return", "\0return", 1), _SYNTAX),
        "garbage": ("".join(chr(1 + (i * 37) % 255) for i in range(4096)), _SYNTAX),
        "lone_surrogate": (reference + "# \udc80\n", _PASS),
        "unicode_comment": (reference + "# größer ≥ 先入れ先出し 🎛\n", _PASS),
        "windows_line_ends": (reference.replace("\n", "\r\n"), _PASS),
        "huge_file": ("# " + "x" * 10_000_000 + "\n" + reference, ("RESOURCE_EXCEEDED",)),
        "deep_parentheses": (reference + f"y = {'(' * 5000}1{')' * 5000}\n", _SYNTAX),
        "another_name": (reference.replace("def row_softmax(", "def softmax("), ("FUNCTIONAL_MISMATCH",)),
        "unknown_module": ("import tritonn\n" + reference, ("RUNTIME_ERROR/exception",)),
        "work_at_import": (reference + "torch.softmax(torch.zeros(2, 2), 1)\n", _NO_KERNEL),
    }


_CUDA: Table = {
    "empty_kernel": ("return;", _WRONG),
    "endless_loop": ("while (n > 0) out[0] = 1.0f;", _TIMEOUT),
    "waits_for_nobody": ("if (threadIdx.x == 0) __syncthreads(); else __syncwarp();", ("RUNTIME_ERROR/exception",)),
    "far_address": ("out[1 << 30] = 1.0f;", ("MEMORY_FAULT/out_of_bounds",)),
    "before_the_array": ("out[-1] = 1.0f;", ("MEMORY_FAULT/out_of_bounds",)),
    "null_pointer": ("*(volatile int *)0 = 1;", ("MEMORY_FAULT/out_of_bounds",)),
    "store_to_an_input": ("((float *)x)[0] = 0.0f;", ("FUNCTIONAL_MISMATCH",)),
    "trap": ("__trap();", ("RUNTIME_ERROR/exception",)),
    "assertion": ("#include <assert.h>\n###\nassert(n < 0);", ("RUNTIME_ERROR/assertion",)),
    "recursion": (
        "__device__ float deeper(float v) { volatile float a[64]; a[0] = v; return deeper(v + a[0]) + 1.0f; }\n"
        "###\nout[0] = deeper(1.0f);",
        ("MEMORY_FAULT/stack", *_TIMEOUT),
    ),
    "output_flood": (
        '#include <stdio.h>\n###\nwhile (n > 0) printf("all work and no play makes a dull kernel\\n");',
        ("RESOURCE_EXCEEDED/output",),
    ),
    "prints_a_verdict": ('#include <stdio.h>\n###\nprintf("all 3 cases match\\n"); return;', _WRONG),
    "calls_the_shell": ('system("touch CANARY");', _DENIED),
    "writes_a_file": ('#include <stdio.h>\n###\nfopen("CANARY", "w");', _DENIED),
    "leaves_the_program": ("_exit(0);", _DENIED),
    "main_of_its_own": ("int main() { return 0; }\n###\n", _DENIED),
    "runs_before_main": ("__attribute__((constructor)) void early() {}\n###\n", _DENIED),
    "calls_the_emulation": ("ecot::here();", _DENIED),
    "word_in_two_lines": ("sys\\\ntem(0);", _DENIED),
    "inline_assembly": ('asm("trap;");', _UNSUPPORTED),
    "include_a_host_file": ('#include "/etc/passwd"\n###\n', _UNSUPPORTED),
    "include_by_macro": ("#define FILE_NAME <unistd.h>\n#include FILE_NAME\n###\n", _UNSUPPORTED),
    "fork_bomb": ("#include <unistd.h>\n###\nfork();", _UNSUPPORTED),
    "network": ("#include <sys/socket.h>\n###\n", _UNSUPPORTED),
    "another_kernel_too": ('extern "C" __global__ void unused(int *p) { *p = 1; }\n###\n', _PASS),
    "prints": ('#include <stdio.h>\n###\nif (threadIdx.x == 0) printf("block %d\\n", blockIdx.x);', _PASS),
}


def _cuda_texts(task: Task) -> Table:
    reference = task.reference
    return {
        "empty": ("", ("FORMAT_ERROR/no_code",)),
        "comment_only": ("// block_sum\n", ("COMPILATION_ERROR/link",)),
        "prose": ("I cannot write this kernel.\n", (*_SYNTAX, "COMPILATION_ERROR/elaboration")),
        "nul_bytes": (reference.replace("float", "\0float", 1), _SYNTAX),
        "unicode_comment": (reference + "// größer ≥ 先入れ先出し 🎛\n", _PASS),
        "windows_line_ends": (reference.replace("\n", "\r\n"), _PASS),
        "huge_file": ("// " + "x" * 10_000_000 + "\n" + reference, ("RESOURCE_EXCEEDED",)),
        "unterminated_comment": (reference + "/* ", (*_PASS, *_SYNTAX, "COMPILATION_ERROR/elaboration")),
        "name_mangled": (reference.replace('extern "C" ', ""), ("COMPILATION_ERROR/link",)),
        "two_of_the_same_name": (reference + reference, ("COMPILATION_ERROR/elaboration",)),
    }
