"""Without a GPU at hand: Triton's compiler takes the kernels as far as machine code, in bf16, without spills."""

import os
import subprocess
from pathlib import Path

import pytest

from ecot.kernels.linear_cross_entropy.configs import GROUP_BLOCK, row_launch

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are interpreted in this process", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ecot.kernels.linear_cross_entropy import triton as loss_kernels
from ecot.kernels.packing import triton as packing_kernels

INSPECTOR = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


def compile_for(capability, kernel, types, constants, num_warps, folder):
    """The local memory (spills) in bytes per thread that the compiled kernel uses."""
    signature = types | dict.fromkeys(constants, "constexpr")
    compiled = triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constants),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps},
    )
    binary = folder / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    usage = subprocess.run([INSPECTOR, "-res-usage", binary], capture_output=True, text=True, check=True).stdout
    return int(usage.split("STACK:")[1].split()[0])


@pytest.mark.parametrize("with_softcap", [False, True])
@pytest.mark.parametrize("dtype", ["*bf16", "*fp32"])
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_softmax_kernel_compiles_without_spills(capability, dtype, with_softcap, tmp_path):
    launch = row_launch(76_800)
    outputs = dict.fromkeys(["factors_ptr", "nll_ptr", "lse_ptr", "hits_ptr"], "*fp32")
    types = {"logits_ptr": dtype, "labels_ptr": "*i64", **outputs, "vocab": "i32", "row_stride": "i32"}
    types |= {"softcap": "fp32", "z_loss": "fp32"}
    constants = {"WITH_SOFTCAP": with_softcap, "WITH_GRAD": True, "BLOCK": launch.block}
    spilled = compile_for(capability, loss_kernels.softmax_grad_kernel, types, constants, launch.num_warps, tmp_path)
    assert spilled == 0


def test_group_sums_kernel_compiles(tmp_path):
    types = dict.fromkeys(["nll_ptr", "weights_ptr", "hits_ptr", "sums_ptr"], "*fp32")
    types = {**types, "groups_ptr": "*i64", "num_rows": "i32"}
    assert compile_for(90, loss_kernels.group_sums_kernel, types, {"BLOCK": GROUP_BLOCK}, 4, tmp_path) == 0


@pytest.mark.parametrize("name", ["expand", "expand with weights of runs", "count", "compact"])
def test_packing_kernels_compile(name, tmp_path):
    kernel = {
        "expand": packing_kernels.expand_kernel,
        "expand with weights of runs": packing_kernels.expand_kernel,
        "count": packing_kernels.count_kernel,
        "compact": packing_kernels.compact_kernel,
    }[name]
    pointers = dict.fromkeys(["run_weights_ptr", "weights_KA_ptr", "weights_ptr", "weights_out_ptr"], "*fp32")
    pointers |= dict.fromkeys(["monitored_KA_ptr", "kinds_ptr", "scored_ptr"], "*i8")
    pointers |= dict.fromkeys(
        ["cu_seqlens_ptr", "domains_ptr", "run_ends_ptr", "run_kinds_ptr", "run_attempts_ptr", "counts_ptr"], "*i32"
    )
    constants = {"NUM_KINDS": 4, "NUM_ATTEMPTS": 8, "NO_LABEL": -100, "BLOCK": packing_kernels.BLOCK}
    constants["WITH_RUN_WEIGHTS"] = name == "expand with weights of runs"
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    types = {
        argument: pointers.get(argument, "*i64" if argument.endswith("_ptr") else "i32")
        for argument in kernel.arg_names
        if argument not in constants
    }
    assert compile_for(90, kernel, types, constants, 4, tmp_path) == 0
