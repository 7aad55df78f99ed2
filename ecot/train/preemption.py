"""Leave in good order: a signal to any rank saves and stops all of them at the same step; a hang leaves stacks.

Slurm sends USR1 some minutes before it takes a node away (`--signal=B:USR1@300`), other schedulers TERM.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from types import FrameType
from typing import Any, Self

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class PreemptionCallback(TrainerCallback):
    """Turns USR1 or TERM, received by any rank, into a checkpoint and an end of training on all ranks.

    The ranks ask each other after every step, before every pack of held-out documents and after every save: they must
    enter a collective save at the same step. A signal in a save lets it finish, and no other is made.
    """

    def __init__(self) -> None:
        self.received = 0
        self.agreed = False
        """Whether any rank had received a signal when all last asked: the same on all of them."""
        self.stopped = False
        """Whether training ended early because of a signal."""

    def install(self) -> Self:
        """Catch the signals; what a rank is doing goes on until the ranks ask each other. Returns itself."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def poll(self, device: torch.device) -> bool:
        """Whether any rank was told to stop: a collective call of all ranks."""
        self.agreed = self.agreed or _any_rank(self.received != 0, device)
        return self.agreed

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask after the step; a save follows."""
        self.poll(args.device)
        return self._stop(state, control, save=True)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """The ranks may have agreed while they scored held-out documents; a save follows."""
        return self._stop(state, control, save=True)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask after a save, which may have taken minutes."""
        self.poll(args.device)
        return self._stop(state, control, save=False)

    def _stop(self, state: TrainerState, control: TrainerControl, *, save: bool) -> TrainerControl:
        if self.agreed and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = control.should_save or save
            control.should_training_stop = True
        return control


class WatchdogCallback(TrainerCallback):
    """Ends a rank that makes no step for too long, with the stacks of all its threads on standard error."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def _rearm(self) -> None:
        if self.seconds > 0:
            faulthandler.dump_traceback_later(self.seconds, exit=True, file=sys.stderr)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start the clock."""
        self._rearm()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start it again: a step, or the save that follows it, may take `seconds`."""
        self._rearm()

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start it again."""
        self._rearm()

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop it."""
        faulthandler.cancel_dump_traceback_later()


def _any_rank(mine: bool, device: torch.device) -> bool:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine
    flag = torch.tensor(int(mine), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())
