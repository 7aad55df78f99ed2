"""What is told about CUDA candidates: by nvcc about the target, by the emulation about what they do."""

from dataclasses import replace

from ecot.outcomes import Label, Stage


def wrong(task, name):
    return next(candidate.code for candidate in task.wrong if candidate.name == name)


def test_faults_name_array_thread_and_block(run, gpu_tasks):
    task = gpu_tasks["cuda_axpy_stride"]
    got = run(task, wrong(task, "one_too_many"))
    assert (got.label, got.subcode, got.stage) == (Label.MEMORY_FAULT, "out_of_bounds", Stage.RUN)
    place = "case 0 (x: float32[3], y: float32[3], a=1.75, n=3)"
    fault = "load out of bounds: byte offset 12 of the 12-byte array 'x', by thread (3, 0, 0) of block (0, 0, 0)"
    assert got.diagnostics == f"{place}: {fault}\n"


def test_what_ptxas_says_becomes_metrics(run, gpu_tasks):
    task = gpu_tasks["cuda_transpose_tile"]
    got = run(task, task.reference)
    assert got.passed and got.metrics["shared_bytes"] == 16 * 17 * 4
    assert 8 <= got.metrics["registers"] <= 64 and got.metrics["spill_bytes"] == 0


def test_races_show_in_one_order_of_threads_or_the_other(run, gpu_tasks):
    task = gpu_tasks["cuda_bitonic_sort"]
    # Each thread reads its right neighbour's element: in ascending order it is there still, in descending no more.
    code = task.reference.replace(
        "    __syncthreads();\n    for (int i = threadIdx.x; i < 128; i += 64) {",
        "    __syncthreads();\n"
        "    int mine = group[threadIdx.x], next = group[(threadIdx.x + 1) % 64];\n"
        "    group[threadIdx.x] = min(mine, next) == mine ? mine : next;\n"
        "    __syncthreads();\n    for (int i = threadIdx.x; i < 128; i += 64) {",
    )
    got = run(task, code)
    assert got.label is Label.FUNCTIONAL_MISMATCH


def test_signature_and_shared_memory_are_checked_before_anything_runs(run, gpu_tasks):
    task = gpu_tasks["cuda_block_sum"]
    got = run(task, task.reference.replace("const float *__restrict__ x", "const double *__restrict__ x"))
    assert (got.label, got.subcode) == (Label.COMPILATION_ERROR, "elaboration")
    assert got.diagnostics == "candidate.cu: error: the kernel must be block_sum(float *, float *, int)\n"
    got = run(task, task.reference.replace("partial[128]", "partial[100000]"))
    assert (got.label, got.subcode) == (Label.RESOURCE_EXCEEDED, "shared_memory")


def test_dynamic_shared_memory_has_the_size_of_the_launch(run, gpu_tasks):
    task = gpu_tasks["cuda_block_sum"]
    launches = [{**task.settings["launches"][0], "shared_bytes": "128 * 4"}]
    code = task.reference.replace("__shared__ float partial[128];", "extern __shared__ float partial[];")
    enough = replace(task, settings={**task.settings, "launches": launches})
    assert run(enough, code).passed
    short = replace(task, settings={**task.settings, "launches": [{**launches[0], "shared_bytes": "100 * 4"}]})
    got = run(short, code)
    assert (got.label, got.subcode) == (Label.MEMORY_FAULT, "out_of_bounds")
    assert "400-byte array 'dynamic shared memory'" in got.diagnostics


def test_shuffles_votes_and_templates(run, gpu_tasks):
    """Against numpy by way of the task's oracle: the inclusive scan in another way."""
    task = gpu_tasks["cuda_warp_scan"]
    code = """
template <int N> __device__ int scan(int value, int lane) {
    int total = 0;
    for (int source = 0; source < N; ++source) {
        int other = __shfl_sync(0xffffffffu, value, source);
        if (source <= lane) total += other;
    }
    unsigned negative = __ballot_sync(0xffffffffu, value < 0);
    int count = __popc(negative & ((2u << lane) - 1u));
    int again = __reduce_count(count, 0);
    return total + again;
}
""".replace("    int again = __reduce_count(count, 0);\n    return total + again;", "    return total + 0 * count;")
    code += task.reference.replace(
        "    for (int delta", "    value = scan<32>(value, lane);\n    for (int delta"
    ).replace("delta < 32;", "delta < 1;")
    assert run(task, code).passed
