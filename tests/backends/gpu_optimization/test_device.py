"""What surrounds the path on a GPU; the path itself needs one."""

import pytest

from ecot.backends.gpu_optimization.backend import GpuBackend
from ecot.backends.gpu_optimization.device import choose_device, device_files, launch_plan, server, with_speed
from ecot.backends.gpu_optimization.settings import GpuSettings, read_settings
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage
from ecot.tasks.registry import load_tasks


def test_device_files_are_those_of_nvidia(tmp_path):
    assert device_files(tmp_path) == []
    for name in ("nvidiactl", "nvidia-uvm", "null", "nvidia-modeset"):
        (tmp_path / name).touch()
    assert device_files(tmp_path) == []  # a driver without a card
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia1").touch()
    assert [path.name for path in device_files(tmp_path)] == ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"]


def test_auto_takes_a_gpu_that_can_be_used(tmp_path):
    card = [tmp_path / "nvidia0"]
    assert [choose_device("auto", files, build) for files in ([], card) for build in (False, True)] == [
        "cpu",
        "cpu",
        "cpu",
        "cuda",
    ]
    assert choose_device("cpu", card, True) == "cpu" and choose_device("cuda", card, True) == "cuda"
    with pytest.raises(ToolError, match="no /dev/nvidia0"):
        choose_device("cuda", [], True)
    with pytest.raises(ToolError, match="CPU build"):
        choose_device("cuda", card, False)


def test_servers_see_the_card_and_nothing_interprets(tmp_path):
    spec = server([tmp_path / "nvidia0"], 1 << 20)
    assert spec.devices == (tmp_path / "nvidia0",) and "TRITON_INTERPRET" not in spec.environment
    assert not any("address_check" in name or "triton_job" in name for name in spec.modules)


def test_launch_plan_holds_the_sizes_of_every_case():
    task = load_tasks("builtin:gpu_optimization")["cuda_dot_two_pass"]
    case = {"x": 0, "y": 0, "partial": 0, "result": 0, "n": 100, "blocks": 2}
    first, second = launch_plan([case], read_settings(task))[0]
    assert (first["kernel"], first["grid"], first["block"]) == ("dot_partial", (2, 1, 1), (64, 1, 1))
    assert second["arguments"] == ["partial", "result", "blocks"] and second["shared_bytes"] == 0


def test_speed_is_told_and_decides_only_where_the_task_asks():
    def timed(microseconds, label=Label.PASS):
        return Execution(label, "", Stage.CHECK, "all match\n", {"microseconds": microseconds})

    assert with_speed(timed(20.0), timed(50.0), GpuSettings()).metrics["speedup"] == 2.5
    slow = with_speed(timed(40.0), timed(50.0), GpuSettings(min_speedup=1.5))
    assert slow.label is Label.NOT_IMPROVED and slow.metrics["speedup"] == 1.25
    wrong = timed(1.0, Label.NUMERIC_MISMATCH)
    assert with_speed(wrong, timed(50.0), GpuSettings(min_speedup=1.5)) == wrong


def test_a_gpu_that_is_not_there_is_refused_in_words():
    if device_files():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ToolError, match="device 'cuda': this machine shows no"):
        GpuBackend(device="cuda")
