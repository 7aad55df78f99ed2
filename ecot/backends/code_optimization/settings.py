"""What a code optimisation task sets: limits and threshold, and the plan by which test inputs are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

import yaml
from pydantic import Field

from ecot.backends.task_settings import task_settings, validated
from ecot.config import Config
from ecot.errors import DataError
from ecot.tasks.bundle import Task

MEBIBYTE = 1 << 20
PLAN_FILE = "tests.yaml"
BASELINE_FILE = "baseline.c"

IntegerType = Literal["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"]
NumberType = Literal["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64"]
Count = Annotated[int, Field(ge=0)]


class CodeSettings(Config):
    """The `settings` of a task."""

    max_ratio: float = Field(0.9, gt=0, le=1)
    """A candidate may execute at most this share of the baseline's instructions."""
    compile_seconds: int = Field(10, gt=0)
    """Processor time of the compiler, seconds."""
    run_seconds: int = Field(2, gt=0)
    """Processor time of all tests together, seconds; ten times that under valgrind."""
    memory_mib: int = Field(256, gt=0)
    """Address space of a candidate, MiB."""


class Scalar(Config):
    """A number handed over in a register."""

    name: str
    type: NumberType
    values: tuple[float | int, ...] = ()
    """Corner cases: the k-th of the first tests takes the k-th of them."""
    low: float | int = 0
    """Smallest random value."""
    high: float | int | None = None
    """Largest random value; without it that of the type."""
    log: bool = False
    """Draw the number of bits first, so that small values are as frequent as large ones."""


class Buffer(Config):
    """An array behind a pointer."""

    name: str
    type: NumberType
    count: int | str
    """Elements: a number, or an expression of scalar arguments with + - * // and parentheses."""
    role: Literal["in", "out", "inout"] = "in"
    """`in` must come back unchanged, `out` starts as garbage."""
    low: float | int | None = None
    """Smallest random element; without it that of the type (-1 for floating point)."""
    high: float | int | None = None
    values: tuple[float | int, ...] = ()
    """Corner cases, strewn in."""
    share: float = Field(0.1, ge=0, le=1)
    """How many elements are corner cases, on average."""
    alphabet: str = ""
    """Draw characters from this text."""
    pattern: Literal["random", "sorted", "nearly_sorted", "runs", "same", "text", "utf8", "broken_utf8"] = "random"
    """`nearly_sorted` has one element out of place, in half of the cases; `runs` repeats elements, `same` is one value
    throughout; `text` and the two of UTF-8 are for bytes."""
    like: str = ""
    """Start as a copy of this earlier buffer and change up to two elements."""
    terminated: bool = False
    """The last element is 0 and no other is (unless drawn from `values`)."""
    align: int = Field(0, ge=0, le=64)
    """Bytes to which the address is a multiple; without it the size of an element."""
    written: Literal["all", "returned"] = "all"
    """Of an output, what is compared: all of it, or as many elements as the function returns."""


class Argument(Config):
    """One argument of the function, in order of its declaration: exactly one of the two."""

    scalar: Scalar | None = None
    buffer: Buffer | None = None


class Plan(Config):
    """`tests.yaml`: how the function is called."""

    returns: NumberType | Literal["void"]
    tests: int = Field(ge=8, le=500)
    arguments: tuple[Argument, ...] = Field(min_length=1, max_length=10)
    relative: float = Field(0.0, ge=0)
    """Allowed error of floating point results, relative to the expected value."""
    absolute: float = Field(0.0, ge=0)


def read_settings(task: Task) -> CodeSettings:
    """Validate a task's settings.

    Raises:
        DataError: names the task and the key.
    """
    return task_settings(CodeSettings, task)


def read_plan(task: Task) -> Plan:
    """Validate a task's plan of tests.

    Raises:
        DataError: names the task and the key.
    """
    place = f"task {task.id}: {PLAN_FILE}"
    if PLAN_FILE not in task.hidden:
        raise DataError(f"task {task.id}: no hidden file {PLAN_FILE!r}")
    try:
        values = yaml.safe_load(task.hidden[PLAN_FILE])
    except yaml.YAMLError as error:
        raise DataError(f"{place}: not valid YAML: {error}") from error
    plan = validated(Plan, values, place)
    for index, argument in enumerate(plan.arguments):
        if (argument.scalar is None) == (argument.buffer is None):
            raise DataError(f"{place} key 'arguments.{index}': holds either a scalar or a buffer")
    return plan
