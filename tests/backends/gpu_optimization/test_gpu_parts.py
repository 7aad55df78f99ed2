"""The parts that need no tool: exchange, comparison, screening, text of CUDA, launch sizes, settings."""

import ast
from dataclasses import replace

import numpy as np
import pytest

from ecot.backends.gpu_optimization.comparison import compare
from ecot.backends.gpu_optimization.cuda_plan import dimensions, evaluate
from ecot.backends.gpu_optimization.cuda_source import for_the_cpu, screen_cuda
from ecot.backends.gpu_optimization.inside import exchange
from ecot.backends.gpu_optimization.screening import screen
from ecot.backends.gpu_optimization.settings import read_settings
from ecot.backends.gpu_optimization.trials import derive_seed
from ecot.errors import DataError
from ecot.tasks.registry import load_tasks

TASKS = load_tasks("builtin:gpu_optimization")


def test_exchange_gives_back_what_it_was_given():
    cases = [
        {"x": np.arange(6, dtype=np.int32).reshape(2, 3), "a": 1.5, "flag": True, "none": None, "list": [1, [2, 3]]},
        {"empty": np.zeros((0, 4), np.float16), "half": np.array([1.5, -2], np.float16), "scalar": np.array(7.0)},
    ]
    back = exchange.unpack(exchange.pack(cases))
    assert [list(case) for case in back] == [list(case) for case in cases]
    for before, after in zip(cases, back, strict=True):
        for name, value in before.items():
            if isinstance(value, np.ndarray):
                assert after[name].dtype == value.dtype and after[name].shape == value.shape
                assert np.array_equal(after[name], value)
            else:
                assert after[name] == value


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"[]",
        b"{}\n",
        b"not json\n",
        b'[[{"name": "x", "dtype": "float32", "shape": [2]}]]\n1234',
        b'[[{"name": "x", "dtype": "object", "shape": [1]}]]\n12345678',
        b'[[{"name": "x", "dtype": "float32", "shape": [-1, -1]}]]\n1234',
        b'[[{"name": "x", "dtype": "float32", "shape": [1]}]]\n12345',
    ],
)
def test_malformed_exchange_is_refused(block):
    with pytest.raises(ValueError):
        exchange.unpack(block)


def test_comparison_counts_and_points():
    want = {"y": np.array([[1.0, np.nan], [np.inf, 4.0]], np.float32)}
    same = compare(["case 0"], [want], [{"0": want["y"].copy()}], 0.0, 0.0)
    assert (same.text, same.mismatches, same.elements) == ("", 0, 4)
    other = want["y"].copy()
    other[1, 0], other[1, 1] = -np.inf, 4.5
    found = compare(["case 0"], [want], [{"0": other}], 1e-3, 0.0)
    assert found.numeric and found.mismatches == 2
    assert "2 of 4 elements differ; first at [1, 0]: expected inf, got -inf" in found.text
    close = compare(["case 0"], [{"y": np.array([100.0])}], [{"0": np.array([100.09])}], 1e-3, 0.0)
    assert close.text == "" and compare(["c"], [{"y": np.array([100.0])}], [{"0": np.array([100.2])}], 1e-3, 0.0).text


def test_shape_dtype_and_count_are_no_numeric_mismatch():
    want = {"y": np.zeros((2, 3), np.float32)}
    for got in ({"0": np.zeros((3, 2), np.float32)}, {"0": np.zeros((2, 3))}, {}):
        found = compare(["case 0"], [want], [got], 1.0, 1.0)
        assert found.text and not found.numeric and found.mismatches == 6


@pytest.mark.parametrize("task", [t for t in TASKS.values() if t.language == "python"], ids=lambda task: task.id)
def test_honest_code_passes_the_screen(task):
    assert screen(ast.parse(task.reference)) is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os", "module 'os'"),
        ("from torch.utils.cpp_extension import load", "torch.utils"),
        ("import triton.runtime.interpreter", "triton.runtime.interpreter"),
        ("import torch as t\nt.cuda.Event.record = None", "may not be changed"),
        ("from torch import cuda\ncuda.synchronize = None", "may not be changed"),
        ("import torch\nx = torch", "as a value"),
        ("import torch\nf = [torch.cuda]", "as a value"),
        ("import torch\ntorch = None", "bound anew"),
        ("x = (1).__class__.__mro__", "__mro__"),
        ("getattr(1, 'real')", "'getattr'"),
        ("from . import x", "relative"),
        ("import torch\ntorch.ops.aten.relu", "torch.ops"),
    ],
)
def test_ways_into_the_harness_are_refused(code, message):
    denial = screen(ast.parse(code))
    assert denial is not None and message in denial.message


def test_cuda_text_keeps_its_lines():
    lines = ["#include <cuda_runtime.h>", "__global__ void k() {", "extern __shared__ float s[];"]
    code = "\n".join([*lines, "s[0] = 1; // extern __shared__ int t[];", "}", ""])
    emulated = for_the_cpu(code)
    assert emulated.count("\n") == code.count("\n")
    assert "float *s = static_cast<float *>(::ecot::dynamic_shared());" in emulated
    assert "// extern __shared__ int t[];" in emulated and "#include" not in emulated
    assert for_the_cpu("extern __shared__ float s[];\n__global__ void k() {}\n") is None


def test_words_in_comments_and_strings_are_no_reason():
    assert screen_cuda('// system("x") main\n/* fork */ __device__ int f() { return "exit"[0]; }\n') is None
    refused = screen_cuda("__device__ int a;\n#define X system\n")
    assert refused is not None and refused.diagnostics == "candidate.cu(2): error: 'system' may not be used\n"


def test_launch_sizes():
    case = {"n": 300, "x": np.zeros(3), "a": 2.5}
    assert dimensions("(n + 127) // 128", case) == (3, 1, 1)
    assert dimensions("n % 7, min(n, 4), 2", case) == (6, 4, 2)
    for text in ("x", "a", "n ** 2", "__import__('os')", "n // 0", "n +", "m"):
        with pytest.raises(DataError):
            evaluate(text, case)


def test_settings_name_what_is_wrong():
    task = TASKS["cuda_block_sum"]
    for settings, message in (
        ({**task.settings, "speed": 1}, "'speed'"),
        ({**task.settings, "launches": []}, "'launches'"),
        ({**task.settings, "outputs": []}, "'outputs'"),
    ):
        with pytest.raises(DataError, match=message):
            read_settings(replace(task, settings=settings))


def test_seeds_depend_on_secret_task_and_code():
    a, b = TASKS["saxpy"], TASKS["rope"]
    seeds = [derive_seed(b"s", a, "x"), derive_seed(b"t", a, "x"), derive_seed(b"s", b, "x"), derive_seed(b"s", a, "y")]
    assert len(set(seeds)) == 4 and seeds[0] == derive_seed(b"s", a, "x")
