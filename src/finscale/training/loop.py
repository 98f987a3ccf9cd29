"""One training run: exact, resumable, stopped early on validation, best weights restored."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

from finscale.errors import LadderError, StopRequestedError
from finscale.splits import Split
from finscale.training.checkpoint import DamagedWeightsError
from finscale.training.jobs import build_model, job_hash
from finscale.training.memory import is_out_of_memory
from finscale.training.recipe import TrainingJob
from finscale.training.results import DivergedError, EpochRecord, TrainingResult
from finscale.training.run import TrainingRun
from finscale.training.scoring import score
from finscale.windows import Windows

__all__ = [
    "DivergedError",
    "EpochRecord",
    "TrainingResult",
    "TrainingRun",
    "build_model",
    "job_hash",
    "score",
    "train",
]

_log = logging.getLogger(__name__)

# On with it; finish the epoch and leave; leave after this step.
GoOn = Literal["go", "finish_epoch", "stop"]


def train(
    windows: Windows,
    split: Split,
    job: TrainingJob,
    *,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    may_go_on: Callable[[], GoOn] = lambda: "go",
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint: Path | None = None,
    resume_from: Path | None = None,
    checkpoint_every_s: float = 300.0,
) -> TrainingResult:
    """Train one model on the training anchors, watching the validation anchors.

    Parameters
    ----------
    on_epoch
        Called after every epoch, and again for those before a resumption; what it raises ends
        the run (pruning).
    may_go_on
        Asked after every optimiser step and every epoch, so it has to be quick; it may wait, and
        the time does not count as the run's. On ``"stop"`` the run is checkpointed and left at
        once, on ``"finish_epoch"`` if that is still the answer at the end of the epoch.
    should_stop
        Asked after every epoch; if true, the run is checkpointed and left.
    checkpoint
        Where to save the run to when it is left before its end and every few minutes. What cannot
        be written is reported to the log.
    resume_from
        Where to resume from if the file is there; by default ``checkpoint``. A damaged file is
        reported to the log and in the result, and the run begins anew.
    checkpoint_every_s
        Time between two checkpoints; they are taken between any two steps.

    Raises
    ------
    DivergedError
        If a loss is not finite.
    LadderError
        If memory runs out and smaller micro-batches would not help.
    RunDirectoryError
        If the checkpoint is that of another job.
    StopRequestedError
        If the run was to be left, the last epoch included.
    """
    source = checkpoint if resume_from is None else resume_from
    try:
        run, damage = _begin(windows, split, job, source)
        for record in run.progress.curve:
            on_epoch(record)
        keeper = _Keeper(run, may_go_on, checkpoint, checkpoint_every_s)
        while not run.finished:
            while run.step():
                keeper.after_step()
            record = run.epoch()
            keeper.tick()
            on_epoch(record)
            keeper.after_epoch(should_stop)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise LadderError(
            f"architecture {job.architecture.label}: out of memory, and smaller micro-batches "
            "would not help; free memory or take a smaller budget"
        ) from error
    return replace(run.result(), damaged_checkpoint=damage)


def _begin(
    windows: Windows, split: Split, job: TrainingJob, source: Path | None
) -> tuple[TrainingRun, str | None]:
    """Return the run, resumed if it can be, and what is wrong with a damaged checkpoint."""
    run = TrainingRun(windows, split, job)
    if source is None or not source.exists():
        return run, None
    try:
        run.restore(source)
    except DamagedWeightsError as error:
        damage = str(error)
    else:
        return run, None
    _log.warning("training begins anew: %s", damage)
    return TrainingRun(windows, split, job), damage


class _Keeper:
    """Keeps a run's time and its checkpoint, and asks whether it may go on."""

    def __init__(
        self,
        run: TrainingRun,
        may_go_on: Callable[[], GoOn],
        checkpoint: Path | None,
        checkpoint_every_s: float,
    ) -> None:
        self._run, self._may_go_on = run, may_go_on
        self._checkpoint, self._every_s = checkpoint, checkpoint_every_s
        self._saved_s = time.monotonic()
        self._began_s = self._saved_s - run.progress.duration_s

    def tick(self) -> None:
        """Bring the run's duration up to date."""
        self._run.progress.duration_s = time.monotonic() - self._began_s

    def after_step(self) -> None:
        """Save the run if it is time; leave if that is asked for."""
        if self._ask() == "stop":
            self._leave()
        self._save_if_due()

    def after_epoch(self, should_stop: Callable[[], bool]) -> None:
        """Save the run if it is time; leave if that is asked for in either way."""
        if self._ask() != "go" or should_stop():
            self._leave()
        self._save_if_due()

    def _ask(self) -> GoOn:
        asked_s = time.monotonic()
        answer = self._may_go_on()
        self._began_s += time.monotonic() - asked_s
        return answer

    def _leave(self) -> NoReturn:
        self._save()
        raise StopRequestedError("stopped on request")

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_s >= self._every_s:
            self._save()

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        self.tick()
        try:
            self._run.save(self._checkpoint)
        except (OSError, MemoryError) as error:
            # A full disk may have room again at the next time; training goes on meanwhile.
            _log.warning("%s: the checkpoint could not be written (%s)", self._checkpoint, error)
        self._saved_s = time.monotonic()
