"""The progress of training on a terminal of 80 columns, and in a log."""

import io
import itertools
import logging
import re
import sys

import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState

from ecot.train.progress_line import ProgressLine

LOGS = {
    "loss": 1.25,
    "loss/thinking": 1.5,
    "loss/answer": 0.75,
    "loss/observation": 2.125,
    "loss/domain/embedded": 9.0,
    "accuracy/thinking": 0.5,
    "learning_rate": 1e-5,
    "tokens_per_second_per_gpu": 12345.6,
    "data_wait_share": 0.031,
}


@pytest.fixture
def course(monkeypatch):
    """Run three steps of a course of 257, resumed at step 120; the last two log, and a step takes half a minute."""
    monkeypatch.setenv("TERM", "xterm-256color")

    def run(console, between=lambda: None, first_rank=True):
        line = ProgressLine(
            "train",
            257,
            lambda step: step * 2_100_000,
            {86: "180M", 172: "360M", 257: "540M"},
            console=console,
            clock=itertools.count(0, 30).__next__,
        )
        state, control = TrainerState(is_world_process_zero=first_rank, global_step=120), TrainerControl()
        line.on_train_begin(None, state, control)
        for step in (121, 122, 123):
            state.global_step = step
            line.on_step_end(None, state, control)
            if step > 121:
                line.on_log(None, state, control, logs={**LOGS, "loss": LOGS["loss"] + 123 - step})
            line.on_log(None, state, control, logs={"train_runtime": 1.0})
            between()
        line.on_train_end(None, state, control)

    return run


def screen(written):
    """What a terminal shows after this text: lines, of which the last are the newest."""
    lines, row = [""], 0
    for number, command, text in re.findall(r"\x1b\[\??(\d*)(?:;\d+)*([A-Za-z])|([\r\n]|[^\x1b\r\n]+)", written):
        if command == "A":
            row -= int(number)
        elif command == "K":
            lines[row] = ""
        elif text == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text and text != "\r":
            lines[row] += text
    return lines


def test_on_a_terminal_of_80_columns_everything_is_shown(course):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, record=True)
    course(console)
    bar, *figures = [line.rstrip() for line in screen(console.file.getvalue())][:3]
    assert re.fullmatch(r"train [━╸╺]+ 123/257  ETA 1:07:00", bar) and len(bar) == 80
    assert [line.split("  ") for line in figures] == [
        ["258M of 540M tokens", "milestone 360M in 49 steps", "loss 1.250", "thinking 1.500"],
        ["answer 0.750", "observation 2.125", "12.3k tokens/s/GPU", "data wait 3%"],
    ]
    # Recorded are all states one after the other: before the first row is logged the figures are missing.
    first = console.export_text()[:160]
    assert "120/257  ETA -:--:--" in first and "252M of 540M tokens  milestone 360M in 52 steps" in first


def test_messages_stand_above_the_bar(course, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("ecot.of_this_test")
    logger.addHandler(handler)
    course(Console(force_terminal=True, width=80, stderr=True), between=lambda: logger.warning("a step was skipped"))
    logger.removeHandler(handler)
    shown = screen(written.getvalue())
    assert shown[:3] == ["a step was skipped"] * 3 and shown[3].startswith("train ")
    assert handler.stream is written and sys.stderr is written
    assert written.getvalue().endswith("\x1b[?25h"), "the cursor is back"


def test_elsewhere_a_plain_line_for_every_logged_step(course):
    written = io.StringIO()
    course(Console(file=written, width=80))
    figures = "thinking 1.500  answer 0.750  observation 2.125  12.3k tokens/s/GPU  data wait 3%"
    assert written.getvalue().splitlines() == [
        f"train 122/257  256M of 540M tokens  milestone 360M in 50 steps  ETA 1:07:30  loss 2.250  {figures}",
        f"train 123/257  258M of 540M tokens  milestone 360M in 49 steps  ETA 1:07:00  loss 1.250  {figures}",
    ]


def test_only_the_first_rank_speaks(course):
    written = io.StringIO()
    course(Console(file=written), first_rank=False)
    assert written.getvalue() == ""
