"""The state of one training run, and what one step and one epoch do to it.

The order of the data and the dropout masks are pure functions of the run's seed and of the epoch
and step numbers, so a run resumed from a checkpoint is the run that was never interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from finscale.errors import RunDirectoryError
from finscale.seeds import derive_seed
from finscale.splits import Split
from finscale.training.checkpoint import DamagedWeightsError, load_tensors, save_tensors
from finscale.training.jobs import build_model, job_hash
from finscale.training.memory import is_out_of_memory, release_memory
from finscale.training.objective import mean_loss, summed_loss
from finscale.training.optim import learning_rate_at, make_optimizer
from finscale.training.recipe import TrainingJob
from finscale.training.results import DivergedError, EpochRecord, TrainingResult
from finscale.training.scoring import score_fitting, scoring_batch
from finscale.windows import Windows

_log = logging.getLogger(__name__)

# To look at a loss is to wait for a GPU; on the CPU it is free, and done at every step.
_LOOK_EVERY_STEPS = 32
# What AdamW keeps of a parameter.
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}


@dataclass
class RunProgress:
    """The part of a run's state that is plain numbers.

    Attributes
    ----------
    step
        Optimiser steps taken of the epoch that is not finished.
    micro_batch, batch_halvings
        Samples per forward pass, and how often memory that ran out has halved them.
    """

    micro_batch: int
    curve: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    patience_loss: float | None = None
    n_stale: int = 0
    step: int = 0
    batch_halvings: int = 0
    duration_s: float = 0.0

    def add(self, record: EpochRecord, min_delta: float) -> bool:
        """Take in an epoch, and return whether it is the best so far."""
        self.curve.append(record)
        self.step = 0
        mark = math.inf if self.patience_loss is None else self.patience_loss
        if record.validation_loss < mark - min_delta:
            self.patience_loss = record.validation_loss
            self.n_stale = 0
        else:
            self.n_stale += 1
        best = self.curve[self.best_epoch - 1].validation_loss if self.best_epoch else math.inf
        if record.validation_loss < best:
            self.best_epoch = record.epoch
            return True
        return False


class TrainingRun:
    """One run, step by step and epoch by epoch; :func:`finscale.training.loop.train` drives it.

    Parameters
    ----------
    windows, split, job
        Data, anchors, and everything else that decides the outcome.
    """

    def __init__(self, windows: Windows, split: Split, job: TrainingJob) -> None:
        self.windows, self.job = windows, job
        self.train_rows = torch.from_numpy(split.train).to(windows.device)
        self.validation_rows = torch.from_numpy(split.validation).to(windows.device)
        self.validation_labels = windows.labels(self.validation_rows).cpu().double()
        self.steps_per_epoch = math.ceil(len(split.train) / job.settings.effective_batch)
        self.model = build_model(job, windows.device)
        self.optimizer: AdamW = make_optimizer(self.model, job.recipe)
        self.best_weights: dict[str, Tensor] = {}
        self.progress = RunProgress(job.batching.micro_batch)
        self.scoring_batch = scoring_batch(job.architecture, job.shape)
        self._loss_sum = torch.zeros((), device=windows.device)
        self._loss_is_free = windows.device.type == "cpu"
        self._coming: Iterator[Tensor] | None = None

    @property
    def finished(self) -> bool:
        """Whether all epochs were run or the patience is used up."""
        return len(self.progress.curve) >= self.job.recipe.epochs or self._out_of_patience

    @property
    def _out_of_patience(self) -> bool:
        return self.progress.n_stale >= self.job.settings.patience

    @property
    def _epoch(self) -> int:
        return len(self.progress.curve) + 1

    def step(self) -> bool:
        """Take the next optimiser step of the epoch; return False if none is left.

        Raises
        ------
        DivergedError
            If the loss is not finite; off the CPU this may be noticed some steps later.
        """
        if self._coming is None:
            self.model.train()
            self._coming = islice(self.batches(self._epoch), self.progress.step, None)
        batch = next(self._coming, None)
        if batch is None:
            return False
        first_step = (self._epoch - 1) * self.steps_per_epoch
        self._loss_sum += self.optimizer_step(batch, first_step + self.progress.step)
        self.progress.step += 1
        if self._loss_is_free or self.progress.step % _LOOK_EVERY_STEPS == 0:
            place = f"epoch {self._epoch}, step {self.progress.step} of {self.steps_per_epoch}"
            _require_finite("train_loss", self._loss_sum.item(), place)
        return True

    def epoch(self) -> EpochRecord:
        """Run what is left of an epoch: every training anchor once, then every validation anchor.

        Raises
        ------
        DivergedError
            If a loss is not finite.
        """
        while self.step():
            pass
        number = self._epoch
        record = EpochRecord(
            epoch=number,
            train_loss=self._loss_sum.item() / len(self.train_rows),
            validation_loss=self._validation_loss(),
        )
        for name in ("train_loss", "validation_loss"):
            _require_finite(name, getattr(record, name), f"epoch {number}")
        self._coming = None
        self._loss_sum.zero_()
        if self.progress.add(record, self.job.settings.min_delta):
            self.best_weights = {
                name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()
            }
        return record

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield an epoch's effective batches of anchors: shuffled, of equal size give or take one.

        A short last batch would weigh its few samples many times over.
        """
        generator = torch.Generator().manual_seed(derive_seed(self.job.seed, "order", epoch))
        order = torch.randperm(len(self.train_rows), generator=generator)
        yield from self.train_rows[order.to(self.windows.device)].tensor_split(self.steps_per_epoch)

    def optimizer_step(self, batch: Tensor, step: int) -> Tensor:
        """Take one step on the mean loss of ``batch``; return the sum of its losses.

        When memory runs out, the micro-batch is halved and the step's gradients are made anew.
        Nothing else changes: the effective batch and, on the CPU, the dropout masks are the same.
        """
        n_steps = self.steps_per_epoch * self.job.recipe.epochs
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, n_steps=n_steps, recipe=self.job.recipe)
        while (loss_sum := self._add_gradients(batch, step)) is None:
            self._halve_micro_batch()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.job.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss_sum

    def _add_gradients(self, batch: Tensor, step: int) -> Tensor | None:
        """Return the sum of the batch's losses; None if memory ran out and may suffice for less."""
        self.model.seed_dropout(derive_seed(self.job.seed, "dropout", step))
        loss_sum = torch.zeros((), device=self.windows.device)
        try:
            for micro_batch in batch.split(self.progress.micro_batch):
                with self._autocast():
                    outputs = self.model(self.windows.inputs(micro_batch))
                loss = summed_loss(outputs.float(), self.windows.labels(micro_batch))
                # Divided by the effective batch, so that the gradient is that of its mean loss
                # however it is cut into micro-batches.
                (loss / len(batch)).backward()
                loss_sum += loss.detach()
        except (RuntimeError, MemoryError) as error:
            if self.progress.micro_batch == 1 or not is_out_of_memory(error):
                raise
            # Leaving drops the error, and with it the activations that it holds on to.
            return None
        return loss_sum

    def _halve_micro_batch(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        release_memory(self.windows.device)
        self.progress.micro_batch //= 2
        self.progress.batch_halvings += 1
        _log.warning(
            "out of memory: %s goes on with micro-batches of %d",
            self.job.architecture.label,
            self.progress.micro_batch,
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.job.precision == "bf16":
            return torch.autocast(self.windows.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _validation_loss(self) -> float:
        outputs, self.scoring_batch = score_fitting(
            self.model, self.windows, self.validation_rows, self.scoring_batch
        )
        return mean_loss(outputs, self.validation_labels)

    def result(self) -> TrainingResult:
        """Return what came out so far."""
        progress = self.progress
        return TrainingResult(
            weights={name: tensor.cpu() for name, tensor in self.best_weights.items()},
            best_epoch=progress.best_epoch,
            curve=tuple(progress.curve),
            stop_reason="patience" if self._out_of_patience else "epochs",
            n_steps=self.steps_per_epoch * len(progress.curve),
            duration_s=progress.duration_s,
            micro_batch=progress.micro_batch,
            batch_halvings=progress.batch_halvings,
            scoring_batch=self.scoring_batch,
        )

    def save(self, path: Path) -> None:
        """Write everything the rest of the run depends on; between any two steps."""
        state = self.optimizer.state_dict()["state"]
        tensors = {
            **{f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"best.{name}": tensor for name, tensor in self.best_weights.items()},
            **{
                f"optimizer.{index}.{name}": tensor
                for index, values in state.items()
                for name, tensor in values.items()
            },
            "loss_sum": self._loss_sum,
        }
        save_tensors(path, tensors, {"job": job_hash(self.job), "progress": asdict(self.progress)})

    def restore(self, path: Path) -> None:
        """Take up a run where :meth:`save` left it; this one has to be fresh.

        Raises
        ------
        DamagedWeightsError
            If the checkpoint is damaged; this run cannot be used then.
        RunDirectoryError
            If it belongs to another job.
        """
        tensors, header = load_tensors(path)
        if header.get("job") != job_hash(self.job):
            raise RunDirectoryError(f"{path}: checkpoint of another run; remove it to train again")
        try:
            self._take_up(tensors, header["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DamagedWeightsError(
                f"{path}: not a checkpoint of this version ({type(error).__name__}); "
                "remove it to train again"
            ) from error

    def _take_up(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        curve = [EpochRecord(**record) for record in values["curve"]]
        progress = RunProgress(**(values | {"curve": curve}))
        # A cut that memory once forced is kept; any other is chosen anew by whoever made the job.
        if not progress.batch_halvings:
            progress.micro_batch = self.job.batching.micro_batch
        progress.micro_batch = min(progress.micro_batch, self.job.batching.micro_batch)
        self.model.load_state_dict(_below("model.", tensors))
        self.best_weights = {
            name: tensor.to(self.windows.device)
            for name, tensor in _below("best.", tensors).items()
        }
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", tensors).items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
        n_parameters = len(list(self.model.parameters()))
        if state and any(state[index].keys() != _MOMENTS for index in range(n_parameters)):
            raise KeyError("optimizer")
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        self._loss_sum = tensors["loss_sum"].to(self.windows.device)
        self.progress = progress


def _require_finite(name: str, loss: float, place: str) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"{name} is {loss} in {place}")


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
