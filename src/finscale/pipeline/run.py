"""A run: the stages of a study in order, continued where they were left."""

from __future__ import annotations

import errno
import fnmatch
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from optuna.storages import BaseStorage

from finscale.dataset.sources import keep_pins, pin_versions
from finscale.errors import FinscaleError, RunDirectoryError, StopRequestedError, StudyError
from finscale.experiments import Experiment, code_hash, code_version
from finscale.files import (
    exclusive_lock,
    log_to,
    remove_leftovers,
    utc_now,
    write_json_atomic,
    write_text_atomic,
)
from finscale.machine.device import choose_device, use_threads
from finscale.machine.environment import describe_environment
from finscale.machine.guard import StopSignal
from finscale.pipeline.baselines import score_baselines
from finscale.pipeline.book import RecordBook
from finscale.pipeline.finals import evaluate_finals, train_finals
from finscale.pipeline.prepare import PreparedStudy, prepare
from finscale.pipeline.results import fit_laws, write_report
from finscale.progress import ExperimentStart, Progress, Tee, TextProgress
from finscale.records import TrialRecord
from finscale.rundir import RunDirectory
from finscale.search.objective import ExperimentRun
from finscale.search.storage import open_storage
from finscale.search.worker import search
from finscale.study import Study
from finscale.study_file import load_study

Stage = Literal["search", "train", "evaluate", "fit", "report"]
# Errors after which no experiment can be recorded, so that there is no point in going on.
_NO_MORE_WRITES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_MAKE_RESULTS = {"search", "train", "evaluate"}
STAGES: tuple[Stage, ...] = ("search", "train", "evaluate", "fit", "report")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to.

    Attributes
    ----------
    summary
        The content of ``summary.json``; None if the report stage was not asked for.
    failures
        Experiment to the reason it failed.
    """

    directory: RunDirectory
    summary: dict[str, Any] | None
    failures: dict[str, str]


def run_study(
    study: Study,
    out: Path | str,
    *,
    stages: Sequence[Stage] = STAGES,
    only: str = "*",
    start_from: int = 1,
    progress: Progress | None = None,
) -> RunOutcome:
    """Run a study, or go on with it: what is finished is kept and not run twice.

    Parameters
    ----------
    out
        The run directory; made if it is not there.
    stages
        Which stages to run, in their fixed order.
    only
        Experiments to run, as a file name pattern such as ``"20K_h1_*"``.
    start_from
        Number of the first experiment to run, from 1, in the order of the matrix.

    Raises
    ------
    FinscaleError
        If the study, its data or the directory is unusable; nothing is written then.
    StopRequestedError
        If the user asked to stop; everything finished is kept.
    """
    progress = Tee(TextProgress(log.info), progress or Progress())
    directory = RunDirectory(Path(out))
    directory.require_usable()
    _require_same_study(study, directory)
    study = _pin(study, directory, progress)
    prepared = prepare(study)
    chosen = _choose(prepared.experiments, only, start_from)
    # A run made elsewhere can be fitted and reported here: only making results needs its device.
    device = choose_device(study.machine) if _MAKE_RESULTS & set(stages) else None
    use_threads(study.machine)
    with exclusive_lock(directory.lock), log_to(directory.log):
        remove_leftovers(directory.root)
        # Read before anything is written: a ledger of another version is refused untouched.
        run = _Run(prepared, directory, RecordBook(directory, prepared.identities), progress)
        run.write_inputs()
        failures: dict[str, str] = {}
        if device is not None:
            write_json_atomic(directory.environment, describe_environment(device, code_hash()))
            stop = StopSignal(directory.stop_file)
            with stop.listening():
                failures = run.experiments(chosen, stages, device, stop)
        if "fit" in stages:
            fit_laws(study, directory, run.book)
        summary = None
        if "report" in stages:
            summary = write_report(prepared, directory, run.book)
    return RunOutcome(directory, summary, failures)


@dataclass(frozen=True)
class _Run:
    """One process at work in a run directory."""

    prepared: PreparedStudy
    directory: RunDirectory
    book: RecordBook
    progress: Progress

    def write_inputs(self) -> None:
        """Write what the run is made from, and say what of it has changed or is damaged."""
        write_text_atomic(self.directory.study, self.prepared.study.to_yaml())
        cells = {name: cell.describe() for name, cell in self.prepared.cells.items()}
        write_json_atomic(self.directory.data, self.prepared.market.describe() | {"cells": cells})
        for symbol in self.prepared.market.symbols:
            for warning in symbol.loaded.warnings:
                self.progress.message(f"{symbol.symbol}: {warning.message} (see the report)")
        for name, parts in self.book.stale().items():
            self.progress.message(
                f"{name}: earlier records were made with other {', '.join(parts)}; "
                "they are kept, and not used"
            )
        if self.book.damaged_lines:
            self.progress.message(self.book.describe_damage())

    def experiments(
        self,
        chosen: Sequence[Experiment],
        stages: Sequence[Stage],
        device: torch.device,
        stop: StopSignal,
    ) -> dict[str, str]:
        """Run the chosen experiments' stages; a failure is recorded and the rest goes on."""
        if "evaluate" in stages:
            score_baselines(self.prepared, self.directory, self.book, self.progress)
        failures = {}
        with open_storage(self.directory.storage) as storage:
            for number, experiment in enumerate(chosen, start=1):
                failure_file = self.directory.experiment(experiment.name).failure
                try:
                    self._announce(experiment, number, len(chosen))
                    self._run_one(experiment, stages, device, storage, stop)
                except StopRequestedError:
                    raise
                except Exception as error:  # one experiment must not take the others down
                    if isinstance(error, OSError) and error.errno in _NO_MORE_WRITES:
                        raise
                    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                    log.exception("%s failed", experiment.name)
                    failures[experiment.name] = reason
                    write_json_atomic(failure_file, {"reason": reason, "at": utc_now()})
                    self.progress.experiment_failed(experiment.name, reason)
                else:
                    failure_file.unlink(missing_ok=True)
        return failures

    def _announce(self, experiment: Experiment, number: int, n_experiments: int) -> None:
        self.progress.experiment_started(
            ExperimentStart(
                name=experiment.name,
                number=number,
                n_experiments=n_experiments,
                n_trials_done=len(self.book.trials(experiment.name)),
                n_trials=self.prepared.study.search.n_trials,
                n_finals=self.prepared.study.final.n_seeds,
                best=self.book.best_trial(experiment.name),
            )
        )

    def _run_one(
        self,
        experiment: Experiment,
        stages: Sequence[Stage],
        device: torch.device,
        storage: BaseStorage,
        stop: Callable[[], bool],
    ) -> None:
        run = ExperimentRun(
            study=self.prepared.study,
            experiment=experiment,
            data=self.prepared.cells[experiment.cell_name],
            identity=self.prepared.identities[experiment.name],
            code_version=code_version(),
            device=device,
            files=self.directory.experiment(experiment.name),
            progress=self.progress,
            should_stop=stop,
        )
        if "search" in stages:
            search(run, storage, self._take, recorded=self.book.trials(experiment.name))
            self.book.refresh(experiment.name)
        best = self.book.best_trial(experiment.name)
        if best is None:
            if "search" not in stages:
                return
            raise FinscaleError("no trial was completed; see the trials' reasons in the ledger")
        if "train" in stages:
            train_finals(run, best)
        if "evaluate" in stages:
            evaluate_finals(run, best, self.book)

    def _take(self, record: TrialRecord) -> None:
        if self.book.add(record):
            self.progress.run_finished(record)


def _require_same_study(study: Study, directory: RunDirectory) -> None:
    """Refuse to bury one study's run under another's."""
    if directory.study.exists():
        known = load_study(directory.study).name
        if known != study.name:
            raise RunDirectoryError(
                f"{directory.root}: holds a run of study {known!r}, and this one is "
                f"{study.name!r}; choose another --out"
            )


def _pin(study: Study, directory: RunDirectory, progress: Progress) -> Study:
    """Return the study with the data versions that its run began with, or the newest at its start.

    A version that the study file names itself is left as it is.
    """
    newest = pin_versions(study)
    if not directory.study.exists():
        return newest
    pinned = pin_versions(keep_pins(study, load_study(directory.study)))
    if pinned != newest:
        progress.message(
            "the catalogue has newer data than this run began with; it goes on with its own "
            "(name versions in the study file, or choose another --out, for the new ones)"
        )
    return pinned


def _choose(
    experiments: tuple[Experiment, ...], only: str, start_from: int
) -> tuple[Experiment, ...]:
    if not 1 <= start_from <= len(experiments):
        raise StudyError(f"--from {start_from}: the study has experiments 1 to {len(experiments)}")
    chosen = tuple(
        one for one in experiments[start_from - 1 :] if fnmatch.fnmatchcase(one.name, only)
    )
    if not chosen:
        names = ", ".join(one.name for one in experiments)
        raise StudyError(f"--only {only}: matches no experiment; there are {names}")
    return chosen
