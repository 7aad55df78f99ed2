import pytest
import torch

from ecot.train.config import ScheduleConfig
from ecot.train.schedule import PlanSchedule, learning_rate_factor


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
