"""KernelBench and TritonBench-T in their own layouts: read, reduced, and run with the reference as the baseline."""

import ast
import asyncio
import json
from pathlib import Path

import pytest

from ecot.errors import DataError
from ecot.outcomes import Label
from ecot.tasks.importers import import_tasks
from ecot.tasks.importers.kernelbench import reduce_sizes
from ecot.tasks.registry import load_tasks

PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "data"

# Written for this test in the layout of KernelBench.
MODULE = '''import torch
import torch.nn as nn


class Model(nn.Module):
    """A scaled square."""

    def __init__(self, features):
        super(Model, self).__init__()
        self.scale = nn.Parameter(torch.randn(features))

    def forward(self, x):
        return self.scale * x * x


batch_size = 4096
features = 1000


def get_inputs():
    return [torch.rand(batch_size, features)]


def get_init_inputs():
    return [features]'''

WITH_KERNEL = """
import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def square_kernel(scale_ptr, x_ptr, out_ptr, features, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    col = tl.arange(0, BLOCK)
    mask = col < features
    x = tl.load(x_ptr + row * features + col, mask=mask)
    tl.store(out_ptr + row * features + col, tl.load(scale_ptr + col, mask=mask) * x * x, mask=mask)


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(features))

    def forward(self, x):
        out = torch.empty_like(x)
        square_kernel[(x.shape[0],)](self.scale, x, out, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]))
        return out
"""

# Written for this test in the layout of TritonBench-T.
FUNCTION = """import torch

def shifted_relu(input, shift=1.0):
    return torch.relu(input - shift)

"""
FUNCTION_TEST = """

import torch

def test_shifted_relu():
    results = {}
    x = torch.tensor([-1.0, 0.5, 3.0, 2.0], device='cuda')
    results["test_case_1"] = shifted_relu(x)
    results["test_case_2"] = shifted_relu(torch.randn(3, 4).cuda(), shift=0.25)
    return results

test_results = test_shifted_relu()
"""
FUNCTION_KERNEL = """
import torch
import triton
import triton.language as tl


@triton.jit
def relu_kernel(x_ptr, out_ptr, n, shift, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, tl.maximum(tl.load(x_ptr + i, mask=i < n) - shift, 0.0), mask=i < n)


def shifted_relu(input, shift=1.0):
    out = torch.empty_like(input)
    relu_kernel[(1,)](input, out, input.numel(), shift, BLOCK=16)
    return out
"""


@pytest.fixture
def run(started):
    backend = started("gpu", device="cpu")
    return lambda task, code: asyncio.run(backend.execute(task, code))


@pytest.fixture
def kernelbench(tmp_path):
    (tmp_path / "public" / "level1").mkdir(parents=True)
    (tmp_path / "public" / "level1" / "7_Scaled_Square_.py").write_text(MODULE)
    return tmp_path / "public"


def test_kernelbench_runs_with_its_module_as_the_baseline(kernelbench, tmp_path, run):
    assert import_tasks("kernelbench", kernelbench, tmp_path / "tasks") == ["level1_7_scaled_square"]
    task = load_tasks(str(tmp_path / "tasks"))["level1_7_scaled_square"]
    assert task.entry == "ModelNew" and "class Model(nn.Module)" in task.spec and task.tags == ("kernelbench", "level1")
    assert run(task, task.reference).passed
    got = run(task, WITH_KERNEL)
    assert got.passed and got.metrics["launches"] == 3
    # The module as the specification shows it, under the wanted name.
    assert run(task, MODULE.replace("Model", "ModelNew")).label is Label.NOT_IMPROVED
    assert run(task, WITH_KERNEL.replace("* x * x", "* x")).label is Label.NUMERIC_MISMATCH
    assert run(task, WITH_KERNEL.replace("col < features", "col < features + 9")).label is Label.MEMORY_FAULT


def test_sizes_are_reduced_on_request_alone(kernelbench, tmp_path):
    for format, sizes in (("kernelbench", (32, 125)), ("kernelbench_full", (4096, 1000))):
        import_tasks(format, kernelbench, tmp_path / format)
        oracle = load_tasks(str(tmp_path / format))["level1_7_scaled_square"].hidden["oracle.py"]
        assert f"batch_size = {sizes[0]}\nfeatures = {sizes[1]}\n" in oracle


def test_reduction_keeps_everything_but_whole_numbers_at_the_top():
    code = "a, b = 64, (128, 3)\nc = 0.5\nd = True\ndef f():\n    return 4096\nbatch_size = 64\n"
    assert reduce_sizes(code, ast.parse(code), batch_only=False) == code.replace("128", "32").replace(
        "64,", "32,"
    ).replace("= 64\n", "= 32\n")
    assert reduce_sizes(code, ast.parse(code), batch_only=True) == code.replace("= 64\n", "= 2\n")


def test_tritonbench_runs_the_calls_of_its_test(tmp_path, run):
    root = tmp_path / "data"
    (root / "TritonBench_T_v1").mkdir(parents=True)
    (root / "TritonBench_T_v1" / "shifted_relu.py").write_text(FUNCTION + "#" * 146 + FUNCTION_TEST)
    row = {"name": "shifted_relu", "file": "shifted_relu.py", "description": "Shifts, then cuts at zero."}
    (root / "TritonBench_T_v1.jsonl").write_text(json.dumps([row]))
    assert import_tasks("tritonbench", tmp_path, tmp_path / "tasks") == ["tritonbench_shifted_relu"]
    task = load_tasks(str(tmp_path / "tasks"))["tritonbench_shifted_relu"]
    assert "Shifts, then cuts at zero." in task.spec and task.entry == "shifted_relu"
    got = run(task, task.reference)
    assert got.passed and got.metrics["cases"] == 3  # two calls, and the first again
    assert run(task, FUNCTION_KERNEL).passed
    assert run(task, FUNCTION).label is Label.NOT_IMPROVED
    assert run(task, FUNCTION_KERNEL.replace("- shift, 0.0", "+ shift, 0.0")).label is Label.NUMERIC_MISMATCH


def test_other_files_are_refused_by_name(tmp_path):
    (tmp_path / "level1").mkdir()
    (tmp_path / "level1" / "1_x.py").write_text("class Model: pass\n")
    with pytest.raises(DataError, match=r"1_x\.py: defines no get_init_inputs, get_inputs"):
        import_tasks("kernelbench", tmp_path, tmp_path / "out")
    (tmp_path / "TritonBench_T_v1").mkdir()
    (tmp_path / "TritonBench_T_v1" / "y.py").write_text("def y(): pass\n")
    (tmp_path / "TritonBench_T_v1.jsonl").write_text("[]")
    with pytest.raises(DataError, match=r"y\.py: 1 parts"):
        import_tasks("tritonbench", tmp_path, tmp_path / "out")


def test_the_public_kernelbench_is_read_whole(tmp_path):
    source = PUBLIC / "kernelbench"
    if not source.is_dir():
        pytest.skip("KernelBench is not at hand")
    assert len(import_tasks("kernelbench", source, tmp_path)) == len(list(source.glob("level*/*.py"))) >= 100
