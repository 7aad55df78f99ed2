"""How far training is: rewritten in place on a terminal, a line per logged step everywhere else, as in Slurm's logs."""

from __future__ import annotations

import atexit
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

PACE_STEPS = 20
"""The time that is left is judged by so many last steps, saving included."""


class ProgressLine(TrainerCallback):
    """Rank 0 says where a course stands: steps, tokens, the next milestone, losses, throughput and what is left.

    Args:
        name: of the course.
        num_steps: the plan step at which it ends.
        tokens_until: plan step to the tokens trained by then.
        milestones: plan step to the name of the milestone that stands there.
        console: where to write; standard error without it.
        clock: seconds.
    """

    def __init__(
        self,
        name: str,
        num_steps: int,
        tokens_until: Callable[[int], int],
        milestones: Mapping[int, str],
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.num_steps = name, num_steps
        self.tokens_until, self.milestones = tokens_until, milestones
        self.console, self.clock = console or Console(stderr=True), clock
        self.figures: list[str] = []
        """Of the last logged row."""
        self._ends: deque[float] = deque(maxlen=PACE_STEPS + 1)
        self._live: Live | None = None
        self._moved: list[tuple[logging.StreamHandler[Any], TextIO]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the display, on a terminal, at the step resumed from."""
        if not state.is_world_process_zero:
            return
        self._ends.append(self.clock())
        if self.console.is_interactive:
            self._open(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance."""
        if state.is_world_process_zero:
            self._ends.append(self.clock())
            self._refresh(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the figures of a logged row."""
        if logs is None or "loss" not in logs or not state.is_world_process_zero:
            return
        self.figures = list(_figures(logs))
        self._refresh(state.global_step)
        if self._live is None:
            line = [f"{self.name} {state.global_step}/{self.num_steps}", *self._position(state.global_step)]
            line += [f"ETA {self._left(state.global_step)}", *self.figures]
            self.console.print("  ".join(line), markup=False, highlight=False, soft_wrap=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the last state on the terminal."""
        self.close()

    def close(self) -> None:
        """Give the terminal back; also called when the process ends in an error."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            atexit.unregister(self.close)
        while self._moved:
            handler, stream = self._moved.pop()
            handler.setStream(stream)

    def _open(self, step: int) -> None:
        """No thread repaints: a step ends often enough, and training shares its process with nothing else."""
        before = sys.stderr
        self._live = Live(console=self.console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
        self._live.start()
        atexit.register(self.close)
        # Messages appear above the display, which would otherwise be torn by them.
        for handler in _handlers():
            if handler.stream is before:
                self._moved.append((handler, before))
                handler.setStream(sys.stderr)
        self._refresh(step)

    def _refresh(self, step: int) -> None:
        if self._live is not None:
            self._live.update(self._render(step), refresh=True)

    def _render(self, step: int) -> Group:
        first = Table.grid(padding=(0, 1), expand=True)
        first.add_column(no_wrap=True)
        first.add_column(ratio=1)
        first.add_column(no_wrap=True)
        steps = f"{step}/{self.num_steps}  ETA {self._left(step)}"
        first.add_row(Text(self.name), ProgressBar(total=self.num_steps, completed=step), Text(steps))
        rest = _folded([*self._position(step), *self.figures], self.console.width)
        return Group(first, *[Text(line, no_wrap=True) for line in rest])

    def _position(self, step: int) -> list[str]:
        words = [f"{_short(self.tokens_until(step))} of {_short(self.tokens_until(self.num_steps))} tokens"]
        following = min((at for at in self.milestones if at > step), default=None)
        if following is not None:
            words.append(f"milestone {self.milestones[following]} in {following - step} steps")
        return words

    def _left(self, step: int) -> str:
        """Hours, minutes and seconds until the course is done, if the pace stays."""
        if len(self._ends) < 2:
            return "-:--:--"
        pace = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        minutes, seconds = divmod(round(pace * (self.num_steps - step)), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _figures(logs: Mapping[str, float]) -> Iterator[str]:
    """What is shown of a logged row: the losses by kind, the rate, and the share of time spent waiting for data."""
    yield f"loss {logs['loss']:.3f}"
    for name, value in logs.items():
        if name.startswith("loss/") and name.count("/") == 1:
            yield f"{name.removeprefix('loss/')} {value:.3f}"
    if "tokens_per_second_per_gpu" in logs:
        yield f"{_short(logs['tokens_per_second_per_gpu'])} tokens/s/GPU"
    if "data_wait_share" in logs:
        yield f"data wait {logs['data_wait_share']:.0%}"


def _short(count: float) -> str:
    """Three digits and a unit."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


def _folded(parts: list[str], width: int) -> list[str]:
    """Lines of whole parts, two spaces apart."""
    lines = [parts[0]]
    for part in parts[1:]:
        joined = f"{lines[-1]}  {part}"
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def _handlers() -> Iterator[logging.StreamHandler[Any]]:
    """Every handler of this process that writes to a stream."""
    known = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in known:
        if isinstance(logger, logging.Logger):
            yield from (handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler))
