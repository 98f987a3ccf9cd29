"""What has to be true of a run that is done, whatever happened to it on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from finscale.files import read_json
from finscale.rundir import RunDirectory
from finscale.search.slots import FORCED, MAX_RETRIES, RECORD
from finscale.search.storage import open_storage
from tiny import raw_records

_SIZES = ("d_model", "n_layers", "n_heads", "d_ff")
_RECIPE = ("learning_rate", "weight_decay", "dropout", "warmup_steps", "epochs")


@dataclass(frozen=True)
class Planned:
    """The trials of a run that is done.

    Attributes
    ----------
    n_attempts
        How many trials were begun, those that were interrupted among them.
    """

    trials: list[dict[str, Any]]
    n_attempts: int


def assert_exactly_the_planned_trials(
    directory: RunDirectory, *, n_experiments: int, n_trials: int, storage: str | None = None
) -> Planned:
    """Check that every planned trial is there once, and is the same wherever it is written.

    Parameters
    ----------
    storage
        The URL of the search storage; by default it is in the directory.
    """
    content = directory.ledger.read()
    assert content.damaged_lines == []
    records = raw_records(directory.ledger)
    assert len({record["uid"] for record in records}) == len(records)
    trials = [record for record in records if record["kind"] == "trial"]
    names = {trial["experiment"] for trial in trials}
    assert len(names) == n_experiments
    n_attempts = 0
    with open_storage(storage or directory.storage) as opened:
        studies = {one.partition("@")[0]: one for one in optuna.get_all_study_names(opened)}
        assert set(studies) == names
        for name in names:
            stored = optuna.load_study(study_name=studies[name], storage=opened).trials
            n_attempts += len(stored)
            found = [trial for trial in trials if trial["experiment"] == name]
            _assert_search(directory, name, found, stored, n_trials)
    return Planned(trials, n_attempts)


def _assert_search(
    directory: RunDirectory,
    name: str,
    found: list[dict[str, Any]],
    stored: list[optuna.trial.FrozenTrial],
    n_trials: int,
) -> None:
    # Every planned trial is there exactly once, in the ledger and in the storage.
    assert sorted(trial["trial"] for trial in found) == list(range(n_trials))
    finished = [one for one in stored if RECORD in one.user_attrs]
    assert all(one.state.is_finished() for one in stored)
    in_storage = {one.user_attrs[RECORD]["trial"]: one for one in finished}
    assert len(in_storage) == len(finished) == n_trials
    files = directory.experiment(name)
    for record in found:
        frozen = in_storage[record["trial"]]
        assert frozen.user_attrs[RECORD] == record
        assert read_json(files.trial(record["trial"])) == record
        _assert_parameters(frozen, record)
        assert record["retries"] <= MAX_RETRIES
    complete = [trial for trial in found if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: (trial["validation_loss"], trial["trial"]))
    assert read_json(files.best) == best
    assert read_json(files.all_trials) == sorted(found, key=lambda trial: trial["trial"])
    assert list(files.root.glob("checkpoints/*")) == []


def _assert_parameters(frozen: optuna.trial.FrozenTrial, record: Mapping[str, Any]) -> None:
    sizes = {key.partition("@")[0]: value for key, value in frozen.params.items()}
    assert {key: sizes[key] for key in _SIZES} == {key: record[key] for key in _SIZES}
    assert {key: sizes[key] for key in _RECIPE} == {key: record["recipe"][key] for key in _RECIPE}
    assert frozen.user_attrs.get(FORCED, {}).get("reasons", []) == record["forced"]
