"""Facts that a reference must satisfy: written from the specification by hand, as an inspector would gauge a part.

They keep the reference honest: a mistake in it would otherwise become what every candidate is measured by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import Field, ValidationError

from ecot.backends.cad_3d.describing import show_box
from ecot.config import Config
from ecot.errors import DataError
from ecot.tasks.bundle import Task

FILE = "inspection.yaml"

Point = tuple[float, float, float]


class Inspection(Config):
    """What `inspection.yaml` holds; lengths in mm."""

    box_mm: tuple[float, float, float, float, float, float]
    """Least and greatest x, y and z."""
    box_tolerance_mm: float = Field(0.01, gt=0)
    """How exactly the box is known without a calculation."""
    solids: int = Field(1, gt=0)
    """How many separate bodies there are."""
    inside: tuple[Point, ...] = Field(min_length=3)
    """Points where there is material."""
    outside: tuple[Point, ...] = Field(min_length=3)
    """Points where there is none: in holes and pockets, and beyond what is rounded or cut off."""


def read_inspection(task: Task) -> Inspection:
    """Read a task's inspection plan.

    Raises:
        DataError: it is missing or malformed; the message names task and key.
    """
    if FILE not in task.hidden:
        raise DataError(f"task {task.id}: key 'hidden': there is no file {FILE!r} with the facts to inspect")
    try:
        return Inspection.model_validate(yaml.safe_load(task.hidden[FILE]))
    except yaml.YAMLError as error:
        raise DataError(f"task {task.id}: {FILE}: not valid YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"task {task.id}: {FILE}: key {key!r}: {first['msg']}") from error


def findings(plan: Inspection, found: Mapping[str, Any]) -> list[str]:
    """What contradicts the plan.

    Args:
        plan: the facts.
        found: the facts of the `reference`, and for `inside` and `outside` whether each point lies in the material.
    """
    lines = []
    solids, box = found["reference"]["solids"], found["reference"]["box"]
    if solids != plan.solids:
        lines.append(f"{solids} solids, {plan.solids} planned")
    if any(abs(a - b) > plan.box_tolerance_mm for a, b in zip(box, plan.box_mm, strict=True)):
        lines.append(f"bounding box {show_box(box)}, planned {show_box(plan.box_mm)}")
    lines += [f"no material at {point}" for point, hit in zip(plan.inside, found["inside"], strict=True) if not hit]
    lines += [f"material at {point}" for point, hit in zip(plan.outside, found["outside"], strict=True) if hit]
    return lines
