"""What is told about Triton candidates, and that none of them reaches the next."""

from dataclasses import replace

from ecot.outcomes import Label, Stage


def test_out_of_bounds_names_place_and_tensor(run, gpu_tasks):
    task = gpu_tasks["saxpy"]
    got = run(task, next(wrong.code for wrong in task.wrong if wrong.name == "store_unmasked"))
    assert (got.label, got.subcode, got.stage) == (Label.MEMORY_FAULT, "out_of_bounds", Stage.RUN)
    assert "store out of bounds: 127 lanes, first at byte offset 4 of the 4-byte tensor 'out_ptr'" in got.diagnostics
    assert "candidate.py:12: in saxpy_kernel" in got.diagnostics


def test_compilation_shows_the_source_line_without_paths(run, gpu_tasks):
    task = gpu_tasks["row_softmax"]
    got = run(task, next(wrong.code for wrong in task.wrong if wrong.name == "block_not_power_of_two"))
    assert (got.label, got.stage) == (Label.COMPILATION_ERROR, Stage.COMPILE)
    assert "col = tl.arange(0, BLOCK)\n          ^\n" in got.diagnostics
    assert "power of 2" in got.diagnostics and "/" not in got.diagnostics


def test_resources_of_the_target_are_metrics(run, gpu_tasks):
    got = run(gpu_tasks["layer_norm"], gpu_tasks["layer_norm"].reference)
    assert got.passed and 8 <= got.metrics["registers"] <= 255
    # The sum over four warps passes through shared memory.
    assert got.metrics["shared_bytes"] > 0 and got.metrics["local_bytes"] == 0


def test_a_mismatch_tells_the_first_place(run, gpu_tasks):
    task = gpu_tasks["row_argmax"]
    got = run(task, task.reference.replace("dtype=torch.int32", "dtype=torch.int64"))
    assert got.label is Label.FUNCTIONAL_MISMATCH
    expected = "case 0 (x: float32[3, 5]): output 'out': dtype int64 instead of int32\n3 of 3 cases fail\n"
    assert got.diagnostics == expected


def test_autotuned_kernels_run_in_every_configuration(run, gpu_tasks):
    task = gpu_tasks["saxpy"]
    configurations = "triton.Config({'BLOCK': 64}), triton.Config({'BLOCK': 128}, num_warps=2)"
    code = task.reference.replace("@triton.jit", f"@triton.autotune([{configurations}], key=['n'])\n@triton.jit")
    code = code.replace("(triton.cdiv(n, 128),)", "lambda meta: (triton.cdiv(n, meta['BLOCK']),)").replace(
        ", BLOCK=128", ""
    )
    assert run(task, code).passed
    # The second configuration is as wrong as if it had been the only one.
    assert run(task, code.replace("{'BLOCK': 128}", "{'BLOCK': 100}")).label is Label.COMPILATION_ERROR


def test_helpers_of_ones_own_are_compiled_too(run, gpu_tasks):
    task = gpu_tasks["sobel_magnitude"]
    assert run(task, task.reference).passed
    broken = task.reference.replace(
        "    row = tl.minimum(tl.maximum(row, 0), height - 1)", "    row = tl.minimun(row, 0)"
    )
    got = run(task, broken)
    assert (got.label, got.subcode) == (Label.COMPILATION_ERROR, "elaboration")


def test_no_state_passes_from_one_candidate_to_the_next(run, gpu_tasks):
    task = gpu_tasks["saxpy"]
    honest = run(task, task.reference)
    meddling = "torch.set_default_dtype(torch.float64)\ntorch.manual_seed(5)\ntorch.set_num_threads(3)\n"
    assert run(task, task.reference + meddling).passed
    after = run(task, task.reference)
    assert replace(after, seconds=0.0) == replace(honest, seconds=0.0)


def test_memory_that_no_kernel_has_written_is_not_a_result(run, gpu_tasks):
    task = gpu_tasks["residual_rms_norm"]
    # Right values, but one of them made by copying: allowed, since the copy comes from a kernel's output.
    assert run(task, task.reference.replace("return out, new", "return out.clone(), new")).passed
    identity = gpu_tasks["batched_transpose"]
    got = run(identity, identity.reference.replace("    return out", "    return x.transpose(1, 2).contiguous()"))
    assert (got.label, got.subcode) == (Label.PROTOCOL_VIOLATION, "no_kernel")
    assert "memory that no kernel has written" in got.diagnostics


def test_bounds_of_the_task_hold(run, gpu_tasks):
    task = gpu_tasks["layer_norm"]
    tight = replace(task, settings={**task.settings, "max_registers": 8})
    got = run(tight, tight.reference)
    assert (got.label, got.subcode) == (Label.RESOURCE_EXCEEDED, "registers")
    assert "kernel 'layer_norm_kernel' takes" in got.diagnostics and "the limit is 8" in got.diagnostics


def test_a_compilation_without_end_is_stopped(run, gpu_tasks):
    task = replace(gpu_tasks["saxpy"], settings={"compile_seconds": 1, "run_seconds": 2})
    # Unrolled 200,000 times.
    code = task.reference.replace(
        "    mask = offsets < n\n",
        "    mask = offsets < n\n    for i in tl.static_range(200000):\n        offsets += i\n",
    )
    got = run(task, code)
    assert (got.label, got.subcode, got.stage) == (Label.TIMEOUT, "compile", Stage.COMPILE)
