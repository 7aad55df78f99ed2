"""Runs the tests of Triton kernels under `TRITON_INTERPRET=1`, in a process where nothing has imported triton yet."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run compiled here")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the kernels run in the interpreter already")
def test_kernels_pass_their_tests_in_the_interpreter():
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", str(folder), "-q", "-m", "triton and not gpu", "-p", "no:cacheprovider"]
    run = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=500
    )
    assert run.returncode == 0, run.stdout[-5000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed and int(passed[1]) > 50
