"""One process at work on the matrix: trials first, then final models, until nothing is left."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from optuna.storages import RDBStorage

from finscale.errors import FinscaleError, StopRequestedError
from finscale.experiments import Experiment, code_version
from finscale.files import try_lock, utc_now, write_json_atomic
from finscale.machine.sampler import Sampler
from finscale.pipeline.book import RecordBook
from finscale.pipeline.finals import evaluate_finals, train_finals
from finscale.pipeline.prepare import PreparedStudy
from finscale.pipeline.queue import Queue
from finscale.pipeline.supplementary import train_listed
from finscale.pipeline.walk_forward import walk_forward
from finscale.progress import ExperimentStart, Progress
from finscale.records import TrialRecord
from finscale.rundir import RunDirectory
from finscale.search.experiment_run import ExperimentRun
from finscale.search.storage import STORAGE_ERRORS
from finscale.search.worker import Search
from finscale.training.loop import GoOn

Stage = Literal["search", "train", "evaluate", "supplementary", "fit", "report"]
Outcome = Literal["worked", "busy", "done"]

# Errors after which no experiment can be recorded, so that there is no point in going on.
_NO_MORE_WRITES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
# How long a worker that has nothing to do waits for the others' last trials.
_POLL_S = 2.0
# What is done once an experiment's search is over, by one worker.
_AFTER_SEARCH: set[Stage] = {"train", "evaluate", "supplementary"}

log = logging.getLogger(__name__)


@dataclass
class Worker:
    """Takes work from the matrix; any number of them may share a run directory.

    Attributes
    ----------
    chosen
        The experiments to work on; their order is that of the queue file.
    failures
        Experiment to the reason why it failed here; it is left alone from then on.
    """

    prepared: PreparedStudy
    directory: RunDirectory
    book: RecordBook
    progress: Progress
    storage: RDBStorage
    device: torch.device
    stages: Sequence[Stage]
    chosen: Sequence[Experiment]
    should_stop: Callable[[], bool]
    name: str
    memory_share: float = 1.0
    control: Callable[[], GoOn] = lambda: "go"
    sampler: Sampler | None = None
    failures: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._searches: dict[str, Search] = {}
        self._done: set[str] = set()
        self._announced = ""
        self._n_outages = 0

    def work(self) -> None:
        """Work until every chosen experiment is finished or has failed.

        Raises
        ------
        StopRequestedError
            If the user asked to stop; everything finished is kept.
        OSError
            If nothing can be written any more.
        SQLAlchemyError, StorageInternalError
            If the search storage can no more be read or written.
        """
        by_name = {one.name: one for one in self.chosen}
        names = [one.name for one in self.prepared.experiments]
        queue = Queue(self.directory.queue, names, self.progress.message)
        while True:
            outcomes: list[Outcome] = []
            for name in queue.order():
                if name not in by_name or name in self._done or name in self.failures:
                    continue
                outcome = self._advance_or_fail(by_name[name])
                outcomes.append(outcome)
                # After every piece of work the order is looked up again.
                if outcome == "worked":
                    break
            else:
                if "busy" not in outcomes:
                    return
                self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _POLL_S
        while time.monotonic() < until:
            if self.should_stop():
                raise StopRequestedError("stopped on request")
            time.sleep(0.1)

    def _advance_or_fail(self, experiment: Experiment) -> Outcome:
        """Do one piece of an experiment's work; a failure is recorded and the rest goes on."""
        failure_file = self.directory.experiment(experiment.name).failure
        try:
            outcome = self._advance(experiment)
        except StopRequestedError:
            raise
        except STORAGE_ERRORS:
            # A server that is restarted cuts off what is under way; the next step waits for it, and
            # takes up again what was left. A storage that fails twice in a row is gone.
            self._n_outages += 1
            if self._n_outages > 1:
                raise
            self.progress.message("the search storage was cut off; what was under way is repeated")
            return "worked"
        except Exception as error:  # one experiment must not take the others down
            if isinstance(error, OSError) and error.errno in _NO_MORE_WRITES:
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.exception("%s failed", experiment.name)
            self.failures[experiment.name] = reason
            write_json_atomic(failure_file, {"reason": reason, "at": utc_now()})
            self.progress.experiment_failed(experiment.name, reason)
            return "done"
        self._n_outages = 0
        if outcome == "done":
            self._done.add(experiment.name)
            failure_file.unlink(missing_ok=True)
        return outcome

    def _advance(self, experiment: Experiment) -> Outcome:
        run = self._experiment_run(experiment)
        if "search" in self.stages:
            search = self._searches.get(experiment.name) or self._open(run)
            self._announce(experiment)
            step = search.step()
            if step == "trial":
                return "worked"
            if step == "busy":
                return "busy"
            search.publish()
        self.book.sync()
        self.book.refresh(experiment.name)
        if _AFTER_SEARCH & set(self.stages):
            self._announce(experiment)
            with try_lock(self.directory.experiment(experiment.name).finals_lock) as ours:
                if not ours:
                    return "busy"
                self._finish(run)
        if "search" in self.stages and self.book.best_trial(experiment.name) is None:
            raise FinscaleError(_why_no_winner(self.book.trials(experiment.name)))
        return "done"

    def _finish(self, run: ExperimentRun) -> None:
        """Train and score the winner, then what is listed to be trained beside the search."""
        best = self.book.best_trial(run.experiment.name)
        if best is not None and "train" in self.stages:
            train_finals(run, best)
        if best is not None and "evaluate" in self.stages:
            self.book.sync()
            evaluate_finals(run, best, self.book)
            if run.study.evidence.walk_forward_blocks:
                walk_forward(run, best, self.prepared.market)
        if "supplementary" in self.stages:
            self.book.sync()
            train_listed(run, self.book)

    def _open(self, run: ExperimentRun) -> Search:
        name = run.experiment.name
        self._searches[name] = Search(
            run,
            self.storage,
            self.directory.claims_lock,
            self._take,
            recorded=self.book.trials(name),
        )
        return self._searches[name]

    def _take(self, record: TrialRecord) -> None:
        if self.book.add(record):
            self.progress.run_finished(record)

    def _announce(self, experiment: Experiment) -> None:
        if experiment.name == self._announced:
            return
        self._announced = experiment.name
        self.progress.experiment_started(
            ExperimentStart(
                name=experiment.name,
                number=1 + self.chosen.index(experiment),
                n_experiments=len(self.chosen),
                n_trials_done=len(self.book.trials(experiment.name)),
                n_trials=self.prepared.study.search.n_trials,
                n_finals=self.prepared.study.final.n_seeds,
                best=self.book.best_trial(experiment.name),
            )
        )

    def _experiment_run(self, experiment: Experiment) -> ExperimentRun:
        return ExperimentRun(
            study=self.prepared.study,
            experiment=experiment,
            data=self.prepared.cells[experiment.cell_name],
            identity=self.prepared.identities[experiment.name],
            code_version=code_version(),
            device=self.device,
            files=self.directory.experiment(experiment.name),
            progress=self.progress,
            should_stop=self.should_stop,
            worker=self.name,
            make_folds=lambda: self.prepared.cells.folds(experiment.cell_name),
            control=self.control,
            sampler=self.sampler,
            memory_share=self.memory_share,
        )


def _why_no_winner(trials: Sequence[TrialRecord]) -> str:
    reasons = [one.reason for one in trials if one.state == "failed"]
    said = f"; the last failed: {reasons[-1]}" if reasons else ""
    return (
        f"none of {len(trials)} trials was completed{said}; change the search space or the "
        "training settings, for the same ones would fail again"
    )
