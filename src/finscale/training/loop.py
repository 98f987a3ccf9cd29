"""One training run: exact, resumable, stopped early on validation, best weights restored.

The order of the data and the dropout masks are pure functions of the run's seed and of the epoch
and step numbers, so a run resumed from a checkpoint is the run that was never interrupted.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from finscale.errors import RunDirectoryError, StopRequestedError
from finscale.files import hash_json
from finscale.models.patch_transformer import PatchTransformer
from finscale.seeds import derive_seed
from finscale.splits import Split
from finscale.training.checkpoint import load_tensors, save_tensors
from finscale.training.optim import learning_rate_at, make_optimizer
from finscale.training.recipe import TrainingJob
from finscale.windows import Windows

# Windows scored at a time without gradients; bounds memory, does not change a result.
_SCORING_BATCH = 1024
# A long run is checkpointed at the first end of an epoch after this time.
_CHECKPOINT_EVERY_S = 300.0


class DivergedError(Exception):
    """The loss became infinite or undefined; the message says where. A failed trial, not a bug."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a learning curve; losses are mean log-losses in nats, epochs count from 1."""

    epoch: int
    train_loss: float
    validation_loss: float


@dataclass(frozen=True)
class TrainingResult:
    """What came out of a training run.

    Attributes
    ----------
    weights
        Of the epoch with the lowest validation loss, on the CPU.
    best_epoch
        That epoch.
    curve
        Every epoch that was run.
    stop_reason
        ``"epochs"`` (all were run) or ``"patience"``.
    duration_s
        Wall time, interruptions left out.
    """

    weights: dict[str, Tensor]
    best_epoch: int
    curve: tuple[EpochRecord, ...]
    stop_reason: str
    n_steps: int
    duration_s: float

    @property
    def validation_loss(self) -> float:
        """Lowest validation loss, that of :attr:`weights`."""
        return self.curve[self.best_epoch - 1].validation_loss

    @property
    def train_loss(self) -> float:
        """Training loss (with dropout) of the best epoch."""
        return self.curve[self.best_epoch - 1].train_loss


def job_hash(job: TrainingJob) -> str:
    """Hash what a run's outcome depends on: equal on the CPU for equal hashes and data.

    The cut into micro-batches is left out: it follows the memory that is free. On a CPU the result
    does not depend on it; elsewhere dropout masks are drawn per micro-batch, and the results of two
    cuts agree in distribution.
    """
    content = asdict(job) | {"settings": job.settings.model_dump(mode="json")}
    del content["batching"]
    return hash_json(content)


def build_model(job: TrainingJob, device: torch.device) -> PatchTransformer:
    """Build the untrained model of a job; its weights are a pure function of the job's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(job.seed, "weights"))
        model = PatchTransformer(
            job.architecture,
            job.shape,
            dropout=job.recipe.dropout,
            head_bias=math.log(job.base_rate / (1 - job.base_rate)),
        )
    return model.to(device)


def train(
    windows: Windows,
    split: Split,
    job: TrainingJob,
    *,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    may_go_on: Callable[[], bool] = lambda: True,
    checkpoint: Path | None = None,
) -> TrainingResult:
    """Train one model on the training anchors, watching the validation anchors.

    Parameters
    ----------
    on_epoch
        Called after every epoch, and again for those before a resumption; what it raises ends
        the run (pruning).
    should_stop
        Asked after every epoch; if true, the run is checkpointed and left.
    may_go_on
        Asked after every optimiser step, so it has to be quick; it may wait. If false, the run is
        left at once, and the epoch in progress is lost.
    checkpoint
        Where to resume from if the file is there, and to save to on a stop and every few minutes.

    Raises
    ------
    DivergedError
        If a loss is not finite.
    StopRequestedError
        If ``should_stop`` said so after an epoch, the last one included.
    """
    run = TrainingRun(windows, split, job)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
        for record in run.progress.curve:
            on_epoch(record)
    started = saved = time.monotonic()
    earlier_s = run.progress.duration_s
    while not run.finished:
        record = run.epoch(may_go_on)
        now = time.monotonic()
        run.progress.duration_s = earlier_s + now - started
        on_epoch(record)
        stopping = should_stop()
        if checkpoint is not None and (stopping or now - saved > _CHECKPOINT_EVERY_S):
            run.save(checkpoint)
            saved = now
        if stopping:
            raise StopRequestedError("stopped on request")
    return run.result()


@torch.no_grad()
def score(model: PatchTransformer, windows: Windows, rows_B: Tensor) -> Tensor:
    """Return the logits of every row in ``rows_B``, float32, dropout off."""
    model.eval()
    logits = [model(windows.inputs(chunk)) for chunk in rows_B.split(_SCORING_BATCH)]
    return torch.cat(logits)


@dataclass
class _Progress:
    """The part of a run's state that is plain numbers."""

    curve: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    patience_loss: float = math.inf
    n_stale: int = 0
    duration_s: float = 0.0

    def add(self, record: EpochRecord, min_delta: float) -> bool:
        """Take in an epoch, and return whether it is the best so far."""
        self.curve.append(record)
        if record.validation_loss < self.patience_loss - min_delta:
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
    """The state of one run, epoch by epoch; :func:`train` drives it.

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
        self.progress = _Progress()

    @property
    def finished(self) -> bool:
        """Whether all epochs were run or the patience is used up."""
        return len(self.progress.curve) >= self.job.recipe.epochs or self._out_of_patience

    @property
    def _out_of_patience(self) -> bool:
        return self.progress.n_stale >= self.job.settings.patience

    def epoch(self, may_go_on: Callable[[], bool] = lambda: True) -> EpochRecord:
        """Run one epoch: every training anchor once, then every validation anchor."""
        number = len(self.progress.curve) + 1
        self.model.train()
        loss_sum = torch.zeros((), device=self.windows.device)
        for step, batch in enumerate(self.batches(number), (number - 1) * self.steps_per_epoch):
            loss_sum += self.optimizer_step(batch, step)
            if not may_go_on():
                raise StopRequestedError("stopped at once")
        record = EpochRecord(
            epoch=number,
            train_loss=loss_sum.item() / len(self.train_rows),
            validation_loss=self._validation_loss(),
        )
        for name in ("train_loss", "validation_loss"):
            if not math.isfinite(getattr(record, name)):
                raise DivergedError(f"{name} is {getattr(record, name)} in epoch {number}")
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
        """Take one step on the mean loss of ``batch``; return the sum of its losses."""
        n_steps = self.steps_per_epoch * self.job.recipe.epochs
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, n_steps=n_steps, recipe=self.job.recipe)
        self.model.seed_dropout(derive_seed(self.job.seed, "dropout", step))
        loss_sum = torch.zeros((), device=self.windows.device)
        for micro_batch in batch.split(self.job.batching.micro_batch):
            with self._autocast():
                logits_B = self.model(self.windows.inputs(micro_batch))
            loss = functional.binary_cross_entropy_with_logits(
                logits_B.float(), self.windows.labels(micro_batch), reduction="sum"
            )
            # Divided by the effective batch, so that the gradient is that of its mean loss
            # however it is cut into micro-batches.
            (loss / len(batch)).backward()
            loss_sum += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.job.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss_sum

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.job.precision == "bf16":
            return torch.autocast(self.windows.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _validation_loss(self) -> float:
        logits_B = score(self.model, self.windows, self.validation_rows)
        return functional.binary_cross_entropy_with_logits(
            logits_B.cpu().double(), self.validation_labels
        ).item()

    def result(self) -> TrainingResult:
        """Return what came out so far."""
        return TrainingResult(
            weights={name: tensor.cpu() for name, tensor in self.best_weights.items()},
            best_epoch=self.progress.best_epoch,
            curve=tuple(self.progress.curve),
            stop_reason="patience" if self._out_of_patience else "epochs",
            n_steps=self.steps_per_epoch * len(self.progress.curve),
            duration_s=self.progress.duration_s,
        )

    def save(self, path: Path) -> None:
        """Write everything the rest of the run depends on."""
        state = self.optimizer.state_dict()["state"]
        tensors = {
            **{f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"best.{name}": tensor for name, tensor in self.best_weights.items()},
            **{
                f"optimizer.{index}.{name}": tensor
                for index, values in state.items()
                for name, tensor in values.items()
            },
        }
        save_tensors(path, tensors, {"job": job_hash(self.job), "progress": asdict(self.progress)})

    def restore(self, path: Path) -> None:
        """Take up a run where :meth:`save` left it.

        Raises
        ------
        RunDirectoryError
            If the checkpoint is damaged or belongs to another job.
        """
        tensors, header = load_tensors(path)
        if header["job"] != job_hash(self.job):
            raise RunDirectoryError(f"{path}: checkpoint of another run; remove it to train again")
        progress = header["progress"]
        progress["curve"] = [EpochRecord(**record) for record in progress["curve"]]
        self.progress = _Progress(**progress)
        self.model.load_state_dict(_below("model.", tensors))
        self.best_weights = {
            name: tensor.to(self.windows.device)
            for name, tensor in _below("best.", tensors).items()
        }
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", tensors).items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
