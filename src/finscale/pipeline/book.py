"""The run's records: the ledger, and the files derived from it after every record."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finscale.errors import RunDirectoryError
from finscale.files import read_json, waiting_lock, write_json_atomic, write_text_atomic
from finscale.records import (
    FinalRecord,
    Identity,
    MachineUse,
    Record,
    SupplementaryRecord,
    TrialRecord,
    append_record,
    best_trial,
    read_ledger,
)
from finscale.rundir import RunDirectory

_RECIPE = ("learning_rate", "weight_decay", "dropout", "warmup_steps", "epochs")
_MACHINE = tuple(MachineUse.model_fields)
_COLUMNS = (
    *("created_at", "experiment", "kind", "budget", "horizon_bars", "task", "model"),
    *("trial", "run", "state", "forced", "reason"),
    *("d_model", "n_layers", "n_heads", "d_ff", "n_parameters"),
    *_RECIPE,
    *(
        "effective_batch",
        "micro_batch",
        "activation_checkpointing",
        "precision",
        "seed",
        "best_epoch",
        "n_epochs",
    ),
    *("train_loss", "validation_loss", "validation_skill", "test_loss", "test_skill"),
    *("duration_s", "flops", "retries", "batch_halvings", "n_folds"),
    *_MACHINE,
    *("fingerprint", "uid"),
)


class RecordBook:
    """All records of a run directory, current or not.

    Parameters
    ----------
    directory
        The run directory; its ledger is read once.
    identities
        Experiment or cell name to the identity of current records.

    Attributes
    ----------
    identities
        As given.
    damaged_lines
        Numbers of the ledger's lines that cannot be read, from 1.

    Raises
    ------
    RunDirectoryError
        If the ledger holds records of another version of finscale.
    """

    def __init__(self, directory: RunDirectory, identities: Mapping[str, Identity]) -> None:
        self._directory = directory
        self.identities = identities
        self._all: list[Record] = []
        self._uids: set[str] = set()
        self._size = 0
        self.damaged_lines: list[int] = []
        self.sync()

    def sync(self) -> list[Record]:
        """Take in what other processes have added to the ledger, and return it."""
        path = self._directory.ledger.path
        size = path.stat().st_size if path.exists() else 0
        if size == self._size:
            return []
        self._size = size
        content, self.damaged_lines = read_ledger(self._directory.ledger)
        new = [record for record in content if record.uid not in self._uids]
        self._all = content
        self._uids |= {record.uid for record in new}
        return new

    @property
    def current(self) -> list[Record]:
        """Records of the current study, data, grid and code."""
        return [r for r in self._all if self.identities.get(r.experiment) == r.identity]

    def stale(self) -> dict[str, tuple[Identity, Identity]]:
        """Return the experiments whose records are all outdated: newest identity, and ours."""
        current = {record.experiment for record in self.current}
        return {
            record.experiment: (record.identity, self.identities[record.experiment])
            for record in self._all
            if record.experiment in self.identities and record.experiment not in current
        }

    @property
    def all(self) -> tuple[Record, ...]:
        """Every record, stale ones too."""
        return tuple(self._all)

    def describe_damage(self) -> str:
        """Say which lines are damaged, and what to do."""
        lines = ", ".join(map(str, self.damaged_lines))
        return (
            f"{self._directory.ledger.path}: line {lines} is damaged and not used; "
            "finscale run makes what is missing again"
        )

    def __contains__(self, uid: str) -> bool:
        return uid in self._uids

    def add(self, record: Record) -> bool:
        """Append a record to the ledger if it is new, and bring the derived files up to date."""
        if record.uid in self._uids or not append_record(self._directory.ledger, record):
            return False
        # Others write the same files from the same ledger: whoever is last has seen every record.
        with waiting_lock(self._directory.records_lock):
            self.sync()
            if isinstance(record, TrialRecord):
                self._write_trial(record)
                self._write_trials(record.experiment)
            self._write_results()
        return True

    def trials(self, experiment: str) -> list[TrialRecord]:
        """Return an experiment's current trials, by number."""
        trials = [
            record
            for record in self.current
            if isinstance(record, TrialRecord) and record.experiment == experiment
        ]
        return sorted(trials, key=lambda record: record.trial)

    def best_trial(self, experiment: str) -> TrialRecord | None:
        """Return the complete trial of the lowest validation loss; the earliest of equals."""
        return best_trial(self.trials(experiment))

    def refresh(self, experiment: str) -> None:
        """Write the files derived from an experiment's records.

        A crash may have kept some from being written, or a stale record may have taken the place.
        """
        with waiting_lock(self._directory.records_lock):
            self.sync()
            for record in self.trials(experiment):
                path = self._directory.experiment(experiment).trial(record.trial)
                if not _holds(path, record):
                    self._write_trial(record)
            self._write_trials(experiment)
            self._write_results()

    def _write_trials(self, experiment: str) -> None:
        """Write ``all_trials.json`` and ``best.json`` of an experiment."""
        files, trials = self._directory.experiment(experiment), self.trials(experiment)
        if trials:
            write_json_atomic(files.all_trials, [one.model_dump(mode="json") for one in trials])
        best = self.best_trial(experiment)
        if best is not None:
            write_json_atomic(files.best, best.model_dump(mode="json"))

    def _write_results(self) -> None:
        """Write ``experiment_results.csv``: a row for every record, stale ones too."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(map(_row, self._all))
        write_text_atomic(self._directory.results, text.getvalue())

    def _write_trial(self, record: TrialRecord) -> None:
        path = self._directory.experiment(record.experiment).trial(record.trial)
        write_json_atomic(path, record.model_dump(mode="json"))


def _holds(path: Path, record: TrialRecord) -> bool:
    """Return whether a file derived from a record is that: there, undamaged and of its values."""
    try:
        return bool(read_json(path) == record.model_dump(mode="json"))
    except RunDirectoryError:
        return False


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = record.model_dump(
        mode="json", exclude={"curve", "identity", "scores", "machine"}
    )
    row["fingerprint"] = record.identity.fingerprint
    if isinstance(record, TrialRecord | FinalRecord | SupplementaryRecord):
        row |= {name: record.recipe[name] for name in _RECIPE}
        row["n_epochs"] = len(record.curve)
        row |= {} if record.machine is None else record.machine.model_dump(mode="json")
    if isinstance(record, TrialRecord):
        row |= {"forced": "; ".join(record.forced), "n_folds": len(record.folds) or 1}
    if not isinstance(record, TrialRecord) and record.scores is not None:
        for part in ("validation", "test"):
            scores = getattr(record.scores, part)
            row |= {f"{part}_loss": scores["log_loss"], f"{part}_skill": scores["skill"]}
    return row
