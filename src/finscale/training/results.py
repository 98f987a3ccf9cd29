"""What a training run says of itself, while it runs and at its end."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
        Wall time; interruptions and the time that was waited before going on are left out.
    micro_batch
        Samples per forward pass at the end.
    batch_halvings
        How often it was halved because memory ran out, earlier parts of the run included.
    scoring_batch
        Validation windows scored at a time at the end.
    damaged_checkpoint
        Why the checkpoint that was there could not be used and the run began anew, if so.
    """

    weights: dict[str, Tensor]
    best_epoch: int
    curve: tuple[EpochRecord, ...]
    stop_reason: str
    n_steps: int
    duration_s: float
    micro_batch: int
    batch_halvings: int
    scoring_batch: int
    damaged_checkpoint: str | None = None

    @property
    def validation_loss(self) -> float:
        """Lowest validation loss, that of :attr:`weights`."""
        return self.curve[self.best_epoch - 1].validation_loss

    @property
    def train_loss(self) -> float:
        """Training loss (with dropout) of the best epoch."""
        return self.curve[self.best_epoch - 1].train_loss
