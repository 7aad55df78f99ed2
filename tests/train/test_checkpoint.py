import json

import pytest

from ecot.errors import CheckpointError
from ecot.run_paths import RunPaths
from ecot.train.checkpoint import (
    Progress,
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
