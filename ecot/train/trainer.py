"""One training step, in the order it happens.

`SFTTrainer` gives the loop: fetch the micro-batches of a step -> `get_batch_samples` sums the weights of the *global*
batch -> for each micro-batch `compute_loss` and backward (DeepSpeed reduces and, at the last one, clips and steps) ->
`PlanSchedule` sets the next rate -> `PlanCallback` says whether this step logs or saves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import set_seed
from trl import SFTTrainer

from ecot.data_mix.spans import expand_inputs
from ecot.train.checkpoint import Progress
from ecot.train.config import LossConfig
from ecot.train.distributed import sum_over_ranks
from ecot.train.head import install_scoring_head
from ecot.train.metering import Meter, workload_of
from ecot.train.restore import restore_engine
from ecot.train.schedule import PlanSchedule
from ecot.train.skipping import check_every_gradient
from ecot.train.statistics import LossStatistics


class EcotTrainer(SFTTrainer):
    """Full-parameter SFT over a pack plan, with a loss that is the same at any world size and accumulation."""

    def __init__(
        self,
        *args: Any,
        loader: DataLoader[dict[str, Any]],
        factor: Callable[[int], float],
        save: Callable[[EcotTrainer], None],
        on_skip: Callable[[int], None],
        start: Progress,
        meter: Meter,
        heldout: Callable[[torch.nn.Module, int], dict[str, float]],
        loss: LossConfig,
        **kwargs: Any,
    ) -> None:
        """Build on `SFTTrainer`.

        Args:
            args: as for `SFTTrainer`.
            loader: this rank's micro-batches, from the step to start at.
            factor: plan step -> share of the peak learning rate.
            save: writes a checkpoint of the present step; called by all ranks.
            on_skip: told the number (from 1) of a step that was skipped; called by all ranks.
            start: where in the plan this process begins, and how many ranks wrote the checkpoint that it begins from.
            meter: times the steps.
            heldout: (engine, step) -> losses on held-out documents, where they are due; called by all ranks.
            loss: which loss runs at the head, and in how much memory.
            kwargs: as for `SFTTrainer`.
        """
        super().__init__(*args, **kwargs)
        # After SFTTrainer's own patch of the model's forward, which it replaces.
        install_scoring_head(self.model, loss.workspace_bytes, impl=loss.impl, z_loss=loss.z_loss)
        self.loader = loader
        self.factor = factor
        self.save = save
        self.on_skip = on_skip
        self.start = start
        self.meter = meter
        self.meter.workload = workload_of(self.model, self.model.config)
        self.heldout = heldout
        self.statistics = LossStatistics(self.args.device)
        # The loss is normalised over the global batch here, so nothing may divide it by the accumulation again.
        self.model_accepts_loss_kwargs = True

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The plan's packs of this rank; accelerate must neither shard nor skip them."""
        return self.loader

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor]:
        """The micro-batches of one step and the sum of weights over the global batch (accumulation x ranks)."""
        self.meter.begin_step()
        micro_batches = list(itertools.islice(epoch_iterator, num_batches))
        self.meter.have_data()
        local = sum((batch.pop("weight_sum") for batch in micro_batches), 0.0)
        return micro_batches, sum_over_ranks(torch.tensor(local, dtype=torch.float64, device=device))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Sum of this micro-batch's weighted token losses / sum of weights over the global batch.

        DeepSpeed averages gradients over ranks, hence the factor `world_size`.
        """
        assert num_items_in_batch is not None and not return_outputs
        scale = torch.where(num_items_in_batch > 0, self.args.world_size / num_items_in_batch, 0.0).float()
        loss, stats_G5 = model(**inputs, scale=scale)
        self.statistics.add(loss, stats_G5)
        return loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Forward and backward of one micro-batch; at the last one of a step DeepSpeed also clips and steps.

        Returns zero: the loss is reported from the statistics, since one that is not finite would stay in the
        parent's running sum for ever.
        """
        return torch.zeros_like(super().training_step(*args, **kwargs))

    def begin(self) -> None:
        """Once DeepSpeed is there: have it look for gradients that are not finite."""
        check_every_gradient(self.model_wrapped.optimizer)

    def finish_step(self) -> None:
        """After each optimizer step: count it, or forget its statistics when it was skipped."""
        skipped = bool(self.model_wrapped.optimizer.overflow)
        self.meter.finish_step()
        self.statistics.finish_step(counts=not skipped)
        if skipped:
            self.on_skip(self.state.global_step)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Move tensors to the device as they are: under DeepSpeed the parent would round the weights to bf16.

        Packs that came as span tables are expanded there.
        """
        device = self.args.device
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in inputs.items()
        }
        return expand_inputs(moved)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The rate follows the plan step and has no state of its own."""
        self.lr_scheduler = PlanSchedule(optimizer or self.optimizer, self.factor, lambda: self.state.global_step)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the losses per kind, domain and attempt since the last log, summed over ranks, and held-out ones."""
        if "loss" in logs:
            del logs["loss"]
            logs.update(self.statistics.drain(self.args.world_size))
            logs.update(self.meter.drain(self.state.global_step, self.args.device))
            logs.update(self.heldout(self.model_wrapped, self.state.global_step))
        super().log(logs, start_time)

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        self.save(self)

    def write_state(self, folder: Path) -> None:
        """Write this rank's share of the state: DeepSpeed's shards, RNG, and from rank 0 the trainer's state."""
        self.model_wrapped.save_checkpoint(str(folder))
        self._save_rng_state(str(folder))
        if self.args.should_save:
            self.state.save_to_json(str(folder / "trainer_state.json"))

    def state_bytes(self) -> int:
        """Bytes of this rank's share of a checkpoint: float32 master weights and two moments."""
        return sum(12 * flat.numel() for flat in self.model_wrapped.optimizer.fp32_partitioned_groups_flat)

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader[dict[str, Any]], resume_from_checkpoint: str | None
    ) -> Any:
        """Build DeepSpeed's engine and restore it ourselves: DeepSpeed would refuse another number of ranks."""
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)
        if resume_from_checkpoint is not None:
            restore_engine(self.model_wrapped, Path(resume_from_checkpoint))
        return prepared

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Each rank's own state; at another number of ranks one that is new, and the same whenever this is repeated."""
        if self.start.num_ranks == self.args.world_size:
            super()._load_rng_state(checkpoint)
        else:
            set_seed(hash((self.args.seed, self.start.plan_step, self.args.process_index)) % 2**32)
