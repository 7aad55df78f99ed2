"""Triton and CUDA kernels: compiled for a real GPU, run on this machine's processor, or on a GPU where there is one."""
