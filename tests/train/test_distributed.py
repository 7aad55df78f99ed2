import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecot.errors import ConfigError, TrainingError
from ecot.train.launch import launch_local_ranks
from ecot.train.rank_environment import RankEnvironment, rank_environment


def test_ranks_are_read_from_torchrun_and_srun():
    address = {"MASTER_ADDR": "n1", "MASTER_PORT": "29"}
    torchrun = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", **address}
    srun = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", **address}
    expected = RankEnvironment(3, 8, 1, "n1", 29)
    assert rank_environment(torchrun) == rank_environment(srun) == expected
    assert rank_environment({}) is None
    assert rank_environment({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) is None, "a lone batch step is no rank"


def test_incomplete_variables_are_named():
    with pytest.raises(ConfigError, match="MASTER_ADDR, MASTER_PORT is not"):
        rank_environment({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"})


def test_a_failing_rank_ends_the_others_and_is_named(tmp_path):
    began = time.monotonic()
    with pytest.raises(TrainingError, match=r"rank [01] of 2 ended with exit status 2"):
        launch_local_ranks(2, ["no-such-verb"])
    assert time.monotonic() - began < 60


def test_a_rank_that_ends_at_once_has_said_and_done_everything():
    code = (
        "import atexit, sys\nfrom ecot.train.distributed import end_process\n"
        "class Slow:\n    def __del__(self): print('taken apart')\n"
        "slow = Slow()\natexit.register(print, 'told at the end')\n"
        "print('said')\nprint('warned', file=sys.stderr)\nend_process()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout) == (0, "said\ntold at the end\n")
    assert ended.stderr.endswith("warned\n")


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ranks_die_with_a_killed_launcher(tmp_path):
    """The kernel ends the ranks, so nothing is left to hold a GPU or a port."""
    stub = tmp_path / "ecot" / "__main__.py"
    stub.parent.mkdir()
    (stub.parent / "__init__.py").touch()
    stub.write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    code = (
        "import sys; from ecot.train.launch import launch_local_ranks\n"
        f"import os; os.chdir(r'{tmp_path}'); launch_local_ranks(2, [])"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not all((tmp_path / str(rank)).exists() and (tmp_path / str(rank)).read_text() for rank in range(2)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pids = [int((tmp_path / str(rank)).read_text()) for rank in range(2)]
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    for pid in pids:
        while is_alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
