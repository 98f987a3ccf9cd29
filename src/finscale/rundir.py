"""The layout of a run directory: the one place that knows which file lies where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finscale.errors import RunDirectoryError
from finscale.files import Ledger, require_writable


@dataclass(frozen=True)
class ExperimentFiles:
    """The files of one experiment."""

    root: Path

    @property
    def best(self) -> Path:
        """Record of the best trial."""
        return self.root / "best.json"

    @property
    def all_trials(self) -> Path:
        """Records of all trials."""
        return self.root / "all_trials.json"

    @property
    def model_card(self) -> Path:
        """What is needed to use the final weights: architecture, features, scaler."""
        return self.root / "model.json"

    @property
    def predictions(self) -> Path:
        """Predictions of the final models."""
        return self.root / "predictions.parquet"

    @property
    def walk_forward(self) -> Path:
        """Losses of the winner on the blocks of history before test."""
        return self.root / "walk_forward.json"

    @property
    def failure(self) -> Path:
        """Why the experiment failed, if it did."""
        return self.root / "failure.json"

    def trial(self, number: int) -> Path:
        """Record of one trial."""
        return self.root / "trials" / f"trial_{number:04d}.json"

    def checkpoint(self, run: str) -> Path:
        """State of a training run that was interrupted."""
        return self.root / "checkpoints" / f"{run}.safetensors"

    @property
    def finals_lock(self) -> Path:
        """Held by the worker that trains and scores the final models."""
        return self.root / ".finals.lock"

    def weights(self, run: str) -> Path:
        """Weights of a final training run."""
        return self.root / "models" / f"{run}.safetensors"


@dataclass(frozen=True)
class RunDirectory:
    """A run directory; every file name in it is spelled out here.

    Attributes
    ----------
    root
        ``runs/<study>`` unless the user chose another.
    """

    root: Path

    @property
    def study(self) -> Path:
        """The study with every default written out."""
        return self.root / "study.yaml"

    @property
    def environment(self) -> Path:
        """Versions, hashes, machine."""
        return self.root / "environment.json"

    @property
    def data(self) -> Path:
        """What the report shows of the data."""
        return self.root / "data.json"

    @property
    def data_inputs(self) -> Path:
        """The data hash of every cell, and the files, settings and code that it came from."""
        return self.root / "identities" / "data_inputs.json"

    def identity_part(self, part: str, digest: str) -> Path:
        """Return where it is written what a part of an identity stands for."""
        return self.root / "identities" / f"{part}_{digest[:16]}.json"

    def machine_logs(self) -> list[Path]:
        """Return the logs of all workers' machines, sorted."""
        return sorted((self.root / "logs").glob("machine_*.csv"))

    @property
    def storage(self) -> Path:
        """Optuna's storage."""
        return self.root / "search.db"

    @property
    def ledger(self) -> Ledger:
        """Every record."""
        return Ledger(self.root / "ledger.jsonl")

    @property
    def imported(self) -> Ledger:
        """Past results of other laboratories, apart from every record of its own."""
        return Ledger(self.root / "imported.jsonl")

    @property
    def imported_page(self) -> Path:
        """Imported results as a page, where there is no run whose report could show them."""
        return self.root / "imported.html"

    @property
    def results(self) -> Path:
        """Trials as a table, derived from the ledger."""
        return self.root / "experiment_results.csv"

    @property
    def scaling(self) -> Path:
        """Fits and verdicts."""
        return self.root / "scaling.json"

    @property
    def evidence(self) -> Path:
        """Intervals, comparisons, calibration, stability and backtests of every cell."""
        return self.root / "evidence.json"

    @property
    def points(self) -> Path:
        """What laws can be fitted to, a row per final run."""
        return self.root / "points.csv"

    @property
    def epochs(self) -> Path:
        """The same along the final runs, a row per epoch."""
        return self.root / "epochs.csv"

    @property
    def averages(self) -> Path:
        """Every budget's averaged forecast with all that was measured of it."""
        return self.root / "averages.csv"

    @property
    def summary(self) -> Path:
        """The results in one JSON document."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def log(self) -> Path:
        """The log."""
        return self.root / "logs" / "finscale.log"

    @property
    def jobs(self) -> Path:
        """What a scheduler such as SLURM keeps of the jobs that it runs."""
        return self.root / "logs" / "jobs"

    @property
    def stop_file(self) -> Path:
        """A file whose presence asks a run to stop."""
        return self.root / "stop"

    @property
    def queue(self) -> Path:
        """The order in which experiments are run, one to a line; read again before every trial."""
        return self.root / "queue.txt"

    @property
    def workers(self) -> Path:
        """What each worker says of itself."""
        return self.root / "workers"

    def machine_log(self, worker: str) -> Path:
        """Return where a worker's readings of its machine's sensors go."""
        return self.root / "logs" / f"machine_{worker.replace(':', '_')}.csv"

    @property
    def lock(self) -> Path:
        """Held by the process that leads the work in the directory."""
        return self.root / ".lock"

    @property
    def records_lock(self) -> Path:
        """Held while the files derived from the ledger are written."""
        return self.root / ".records.lock"

    @property
    def claims_lock(self) -> Path:
        """Held while a trial is handed out."""
        return self.root / ".claims.lock"

    def experiment(self, name: str) -> ExperimentFiles:
        """Return the files of an experiment."""
        return ExperimentFiles(self.root / "experiments" / name)

    def baseline_predictions(self, cell: str, fingerprint: str) -> Path:
        """Return where the baselines' predictions of a cell are, by the identity of its records."""
        return self.root / "baselines" / cell / f"{fingerprint}_predictions.parquet"

    def oracle_predictions(self, cell: str, fingerprint: str) -> Path:
        """Return where the true probabilities of a cell of a simulated market are."""
        return self.root / "baselines" / cell / f"{fingerprint}_oracle.parquet"

    def require_usable(self) -> None:
        """Check that a run can be made or continued here, leaving nothing behind.

        Raises
        ------
        RunDirectoryError
            If the directory cannot be written, or holds something that is not a run.
        """
        require_writable(self.root)
        # Lock and log come first: a run that was killed in between is still a run. Results may have
        # been imported before the run is made.
        ours = {
            *(self.lock.name, self.records_lock.name, self.claims_lock.name),
            self.log.parent.name,
            self.imported.path.name,
            self.imported_page.name,
        }
        held = {file.name for file in self.root.iterdir()} if self.root.is_dir() else set()
        marks = {self.study.name, self.ledger.path.name, self.storage.name}
        if held - ours and not held & marks:
            raise RunDirectoryError(
                f"{self.root}: holds files that are not a finscale run; choose another --out"
            )
        if self.stop_file.is_dir():
            raise RunDirectoryError(
                f"{self.stop_file}: is a directory; remove it, for a file of that name asks a run "
                "to stop"
            )

    def require_run(self) -> None:
        """Check that this is a run directory.

        Raises
        ------
        RunDirectoryError
            If it is not.
        """
        if not self.study.is_file():
            raise RunDirectoryError(
                f"{self.root}: no finscale run here; start one with finscale run STUDY.yaml"
            )
