from types import SimpleNamespace

import pytest
import torch

from ecot.errors import ConfigError
from ecot.run_paths import RunPaths
from ecot.train.branches import check_branches
from ecot.train.config import ScheduleConfig, TrainConfig
from ecot.train.course import courses
from ecot.train.schedule import PlanSchedule, branch_factor, learning_rate_factor


def factors(steps=10, tokens=100, **config):
    return [learning_rate_factor(ScheduleConfig(**config), step, steps, tokens) for step in range(steps)]


def test_warmup_is_linear_in_tokens_and_never_zero():
    assert factors(type="constant", warmup_tokens=400)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_passes_its_middle_and_ends_at_the_minimum():
    values = factors(type="cosine", warmup_tokens=0, min_ratio=0.2)
    assert values[4] == pytest.approx(0.6)  # half-way: (1 + 0.2) / 2
    assert values[-1] == pytest.approx(0.2)


def test_linear_falls_evenly():
    values = factors(type="linear", warmup_tokens=0, min_ratio=0.0)
    assert values == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


def test_wsd_is_stable_until_its_decay():
    values = factors(type="wsd", warmup_tokens=200, decay_tokens=400, min_ratio=0.0)
    assert values == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])


def test_the_scheduler_follows_the_plan_step_however_often_it_is_called():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    position = {"step": 0}
    schedule = PlanSchedule(optimizer, lambda step: 1 / (1 + step), lambda: position["step"])
    assert optimizer.param_groups[0]["lr"] == 2.0
    position["step"] = 3
    for _ in range(2):
        schedule.step()
        assert schedule.get_last_lr() == [0.5] and optimizer.param_groups[0]["lr"] == 0.5


def test_a_branch_falls_from_the_stable_rate_to_the_minimum():
    values = [branch_factor(step, first_step=6, num_steps=4, min_ratio=0.2) for step in range(6, 10)]
    assert values == pytest.approx([0.8, 0.6, 0.4, 0.2])


PLAN = SimpleNamespace(
    packs_per_step=2,
    pack_tokens=50,
    num_steps=12,
    budgets=tuple(SimpleNamespace(name=n, last_step=s) for n, s in (("a", 4), ("b", 8), ("c", 12))),
)


def settings(decay=250, **schedule):
    schedule = {"type": "wsd", "decay_tokens": 300, **schedule}
    return TrainConfig.model_validate({"schedule": schedule, "milestones": {"decay_tokens": decay}})


def test_a_plan_with_branches_has_a_course_for_each(tmp_path):
    main, first, second = courses(settings(), PLAN, RunPaths(tmp_path))
    assert main.branch is None and main.last_step == 12 and main.milestones == {4: "a", 8: "b", 12: "c"}
    assert (first.branch, first.last_step, first.milestones) == ("a", 7, {7: "a-decayed"}), "three whole steps"
    assert second.origin == tmp_path / "milestones" / "b" and second.paths.root == tmp_path / "branches" / "b"
    assert len(courses(settings(decay=0), PLAN, RunPaths(tmp_path))) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup_tokens": 401}, "milestone a at 400 tokens lies in the warm-up"),
        ({"decay_tokens": 401}, "milestone b at 800 tokens lies in the run's own decay"),
        ({"decay": 401}, "milestone b at 800 tokens has 400 tokens of data after it"),
    ],
)
def test_branches_that_do_not_fit_are_refused(changes, words):
    check_branches(settings(), PLAN)
    with pytest.raises(ConfigError, match=words):
        check_branches(settings(**changes), PLAN)


def test_branches_need_a_stable_rate():
    with pytest.raises(ValueError, match=r"set schedule\.type: wsd \(it is cosine\)"):
        settings(type="cosine", decay_tokens=0)
