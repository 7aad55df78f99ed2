import gc
import json
import shutil
import subprocess

import pytest
import torch

from ecot.errors import CheckpointError
from ecot.run_paths import RunPaths
from ecot.train.checkpoint import (
    Progress,
    check_space,
    find_checkpoint,
    find_damage,
    list_checkpoints,
    read_progress,
    rotate_checkpoints,
    sweep_leftovers,
    write_checkpoint,
)


@pytest.fixture
def paths(tmp_path):
    return RunPaths(tmp_path)


def write(paths, step, milestone=None, plan="p", ranks=1):
    final = paths.milestones / milestone if milestone else paths.checkpoints / f"checkpoint-{step}"

    def fill(folder):
        (folder / "deep").mkdir()
        (folder / "deep" / "weights").write_bytes(bytes(range(256)) * 50)

    write_checkpoint(final, fill, Progress(step, plan, ranks, milestone=milestone))
    return final


def test_a_checkpoint_is_complete_and_verified(paths):
    final = write(paths, 4)
    assert find_damage(final) is None
    assert read_progress(final) == Progress(4, "p", 1)
    assert set(json.loads((final / "manifest.json").read_text())["files"]) == {"deep/weights", "progress.json"}
    assert [path.name for path in paths.checkpoints.iterdir()] == ["checkpoint-4"]


def test_a_writer_that_dies_leaves_no_checkpoint(paths):
    def die(folder):
        (folder / "weights").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(paths.checkpoints / "checkpoint-1", die, Progress(1, "p", 1))
    assert list_checkpoints(paths) == []
    assert find_checkpoint(paths, "p") is None
    assert find_damage(write(paths, 1)) is None, "the leftover does not disturb the next writer"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-1]), "12799 bytes instead of 12800"),
        (lambda f: f.write_bytes(b"x" + f.read_bytes()[1:]), "SHA-256"),
        (lambda f: f.unlink(), "missing"),
    ],
)
def test_damage_names_the_file_and_falls_back(paths, harm, words):
    good, bad = write(paths, 2), write(paths, 4)
    harm(bad / "deep" / "weights")
    damage = find_damage(bad)
    assert "checkpoint-4/deep/weights" in damage and words in damage
    assert find_checkpoint(paths, "p") == good
    harm(good / "deep" / "weights")
    with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
        find_checkpoint(paths, "p")


def test_the_furthest_is_taken_and_milestones_are_never_rotated(paths):
    write(paths, 3, milestone="180M")
    for step in (2, 4, 6, 8):
        write(paths, step)
    assert find_checkpoint(paths, "p").name == "checkpoint-8"
    rotate_checkpoints(paths, keep=2, step=8)
    assert [path.name for path in list_checkpoints(paths)] == ["checkpoint-8", "checkpoint-6", "180M"]


def test_checkpoints_of_another_plan_are_refused(paths):
    write(paths, 4)
    with pytest.raises(CheckpointError, match="this run's plan is q"):
        find_checkpoint(paths, "q")


def test_a_step_reached_again_replaces_its_damaged_checkpoint(paths):
    final = write(paths, 4)
    (final / "deep" / "weights").write_bytes(b"")
    write(paths, 4)
    assert find_damage(final) is None
    assert [path.name for path in paths.checkpoints.iterdir()] == ["checkpoint-4"]


def test_a_damaged_one_that_was_passed_over_does_not_displace_good_ones(paths):
    write(paths, 8)
    write(paths, 5)
    rotate_checkpoints(paths, keep=1, step=5)
    assert [path.name for path in list_checkpoints(paths)] == ["checkpoint-5"]


def test_a_half_removed_checkpoint_does_not_block_the_run(paths):
    good = write(paths, 2)
    (write(paths, 4) / "progress.json").unlink()
    assert find_checkpoint(paths, "p") == good


def test_leftovers_of_killed_saves_are_swept(paths):
    write(paths, 2)
    (paths.checkpoints / ".checkpoint-4.tmp").mkdir()
    sweep_leftovers(paths)
    assert [path.name for path in paths.checkpoints.iterdir()] == ["checkpoint-2"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield RunPaths(disk)
    gc.collect()
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("writer", ["bytes", "torch.save"])
def test_a_full_disk_is_told_and_the_checkpoint_before_stands(small_disk, writer):
    good = write(small_disk, 2)

    def fill(folder):
        if writer == "bytes":
            (folder / "weights").write_bytes(bytes(2**21))
        else:
            torch.save(torch.zeros(2**19), folder / "weights")

    with pytest.raises(CheckpointError, match=r"checkpoint-4 cannot be written by rank 0: .*make room") as caught:
        write_checkpoint(small_disk.checkpoints / "checkpoint-4", fill, Progress(4, "p", 1))
    assert " 0 bytes are free there" in str(caught.value)
    del caught  # its frames hold torch's file open
    gc.collect()
    assert shutil.disk_usage(small_disk.root).free > 2**19, "what was written is gone"
    assert [path.name for path in small_disk.checkpoints.iterdir()] == ["checkpoint-2"]
    assert find_checkpoint(small_disk, "p") == good


def test_a_save_that_cannot_fit_is_not_begun(small_disk):
    check_space(small_disk.root, 2**19)
    with pytest.raises(CheckpointError, match=r"needs 2,097,152 bytes and [\d,]+ are free"):
        check_space(small_disk.root, 2**21)


def test_a_checkpoint_that_is_being_uploaded_is_rotated_later(paths):
    slow = write(paths, 2)
    for step in (4, 6):
        write(paths, step)
    rotate_checkpoints(paths, keep=1, step=6, spare=[slow])
    assert [path.name for path in list_checkpoints(paths)] == ["checkpoint-6", "checkpoint-2"]
    rotate_checkpoints(paths, keep=1, step=6)
    assert [path.name for path in list_checkpoints(paths)] == ["checkpoint-6"]
