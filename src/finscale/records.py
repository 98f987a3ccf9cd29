"""Ledger records: what was run, with which code, data, grid and seed, and what came out.

Records are written by the search and the final stage, and read by the scaling fit and the report.
Reading them needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from finscale.errors import RunDirectoryError
from finscale.files import Ledger, hash_json
from finscale.study_rows import ALL_DATA, DataSize, cell_name

_LineT = TypeVar("_LineT")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Identity(_Record):
    """What has to be equal for two records to be comparable; each a SHA-256."""

    settings: str = Field(description="of the settings that a run's result depends on")
    data: str = Field(description="of the feature matrix and labels")
    grid: str = Field(description="of the budget's architectures and the input shape")
    code: str = Field(description="of the source that makes results")

    @property
    def fingerprint(self) -> str:
        """One hash over all four, 16 hexadecimal digits."""
        return hash_json(self.model_dump())[:16]

    def differences(self, other: Identity) -> tuple[str, ...]:
        """Name the parts in which two identities differ."""
        return tuple(
            name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)
        )


class CellRecord(_Record):
    """What every record says of the experiment it belongs to."""

    uid: str = Field(description="unique in the ledger; a record is appended once")
    experiment: str = Field(description="{budget}_{cell}; a baseline's has no budget")
    budget: str | None
    horizon_bars: int
    task: str
    data_size: DataSize = ALL_DATA
    identity: Identity
    code_version: str
    created_at: str = Field(description="UTC, ISO 8601")

    @property
    def cell_name(self) -> str:
        """What it shares with other budgets: ``h1_threshold_1pct``."""
        return cell_name(self.horizon_bars, self.task, self.data_size)


class ModelFields(_Record):
    """The built model and how it was trained."""

    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    n_parameters: int = Field(description="counted on the built model")
    recipe: dict[str, float | int] = Field(description="exactly what was trained")
    effective_batch: int
    micro_batch: int = Field(description="samples per forward pass, at the end of the run")
    activation_checkpointing: bool = False
    precision: str
    seed: int

    @property
    def architecture(self) -> str:
        """The architecture's label, as in the command line."""
        return f"{self.d_model}x{self.n_layers}x{self.n_heads}x{self.d_ff}"


class MachineUse(_Record):
    """What a training run took of its machine; None where no sensor says."""

    worker: str = Field(description="host, process and start time of the worker")
    cpu_mean_frac: float | None = Field(default=None, description="of the cores it may use")
    peak_memory_gib: float | None = None
    gpu_peak_memory_gib: float | None = None
    max_temperature_c: float | None = None
    energy_kwh: float | None = Field(default=None, description="of the GPU")


class CurvePoint(_Record):
    """One epoch; mean log-losses in nats."""

    epoch: int
    train_loss: float
    validation_loss: float


class FoldRecord(_Record):
    """What a trial reached on one walk-forward fold; mean log-losses in nats."""

    fold: int = Field(description="from 1, the oldest first")
    n_rows: int
    base_loss: float = Field(description="of the fold's own training base rate")
    validation_loss: float
    train_loss: float
    best_epoch: int
    curve: tuple[CurvePoint, ...]


class TrialRecord(CellRecord, ModelFields):
    """One finished training run of a search."""

    kind: Literal["trial"] = "trial"
    trial: int = Field(description="its place in the search; a repeated trial keeps its place")
    forced: tuple[str, ...] = Field(description="the extremes it stands for; empty if sampled")
    independent: bool | None = Field(
        default=None, description="drawn at random, whatever the others came to; None: not recorded"
    )
    state: Literal["complete", "pruned", "failed"]
    reason: str = Field(description="why it was pruned or failed, or how it ended")
    validation_loss: float | None = Field(description="lowest over epochs; None if there was none")
    validation_skill: float | None
    train_loss: float | None = Field(description="at the epoch of the lowest validation loss")
    best_epoch: int | None
    curve: tuple[CurvePoint, ...]
    duration_s: float
    flops: float | None = Field(default=None, description="training FLOPs spent; None: unknown")
    retries: int = Field(default=0, description="times it was taken up again after a lost worker")
    batch_halvings: int = Field(
        default=0, description="times the micro-batch was halved when memory ran out"
    )
    folds: tuple[FoldRecord, ...] = Field(
        default=(), description="with walk-forward validation; the losses above are pooled"
    )
    machine: MachineUse | None = None


class Scores(_Record):
    """Metrics of one part; see finscale.evaluation.metrics.Metrics."""

    validation: dict[str, float | int | bool | None]
    test: dict[str, float | int | bool | None]


class FinalRecord(CellRecord, ModelFields):
    """The chosen recipe trained once more with a seed of its own, and scored."""

    kind: Literal["final"] = "final"
    trial: int = Field(description="the trial whose architecture and recipe it has")
    best_epoch: int
    curve: tuple[CurvePoint, ...]
    duration_s: float
    flops: float = Field(description="training FLOPs spent")
    batch_halvings: int = 0
    machine: MachineUse | None = None
    scores: Scores


class EnsembleRecord(CellRecord):
    """The average of the final seeds' probabilities, scored."""

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[str, ...] = Field(description="uids of the final records averaged")
    n_parameters: int = Field(description="of one member")
    scores: Scores


class BaselineRecord(CellRecord):
    """A baseline on the rows and labels of a horizon and task, whatever the budget."""

    kind: Literal["baseline"] = "baseline"
    model: str
    seed: int
    chosen: dict[str, float] = Field(
        default={}, description="settings that were chosen inside the training rows"
    )
    duration_s: float
    scores: Scores


BASE_RATE = "base_rate"
"""The baseline from which skill is measured; it is not among those to be chosen from."""

ORACLE = "oracle"
"""The name of the true probabilities among predictions."""


class OracleRecord(CellRecord):
    """The true probabilities of a simulated market, scored on the rows of a cell."""

    kind: Literal["oracle"] = "oracle"
    best_possible_loss: dict[str, float] = Field(description="mean entropy by part, nats")
    scores: Scores


class SupplementaryRecord(CellRecord, ModelFields):
    """A chosen architecture and recipe, trained beside an experiment's search and no part of it."""

    kind: Literal["supplementary"] = "supplementary"
    run: str = Field(description="{architecture}_{hash of its recipe}_seed_{index}")
    asked: dict[str, float | int] = Field(description="what of the recipe was asked for by value")
    state: Literal["complete", "failed"]
    reason: str = Field(description="why it failed, or how it ended")
    validation_loss: float | None = Field(description="lowest over epochs; None if there was none")
    validation_skill: float | None
    train_loss: float | None = Field(description="at the epoch of the lowest validation loss")
    best_epoch: int | None
    curve: tuple[CurvePoint, ...]
    duration_s: float
    flops: float = Field(description="training FLOPs spent")
    batch_halvings: int = 0
    machine: MachineUse | None = None
    scores: Scores | None = Field(default=None, description="only if the test part was asked for")


Record = (
    TrialRecord | FinalRecord | EnsembleRecord | BaselineRecord | OracleRecord | SupplementaryRecord
)
_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def best_trial(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the complete trial of the lowest validation loss, the earliest of equals."""
    ranked = [
        (trial.validation_loss, trial.trial, trial)
        for trial in trials
        if trial.state == "complete" and trial.validation_loss is not None
    ]
    return min(ranked, key=lambda item: item[:2])[2] if ranked else None


def supplementary_runs(records: Iterable[Record]) -> list[SupplementaryRecord]:
    """Return every supplementary run once: where it was scored on test later, with its scores."""
    runs: dict[tuple[str, str, str], SupplementaryRecord] = {}
    for record in records:
        if isinstance(record, SupplementaryRecord):
            key = (record.experiment, record.identity.fingerprint, record.run)
            if key not in runs or record.scores is not None:
                runs[key] = record
    return list(runs.values())


def append_record(ledger: Ledger, record: Record) -> bool:
    """Append a record unless one with its uid is there; return whether it was written."""
    return ledger.append(record.model_dump(mode="json"), counts=_is_record)


def read_records(ledger: Ledger) -> list[Record]:
    """Return all records in order; see :func:`read_ledger`."""
    return read_ledger(ledger)[0]


def read_ledger(ledger: Ledger) -> tuple[list[Record], list[int]]:
    """Return all records in order, and the numbers of the damaged lines (from 1).

    A ledger that was put together by hand may have a record twice: the first one counts. Single
    lines that are no records are damaged; where half of them are none, it is another version's.

    Raises
    ------
    RunDirectoryError
        If it was written by another version of finscale.
    """
    content = ledger.read()
    records: dict[str, Record] = {}
    strange: list[tuple[int, RunDirectoryError]] = []
    for number, raw in zip(content.lines, content.records, strict=True):
        try:
            record = _parse(ledger, raw)
        except RunDirectoryError as error:
            strange.append((number, error))
        else:
            records.setdefault(record.uid, record)
    if strange and 2 * len(strange) >= len(content.records):
        raise strange[0][1]
    damaged = sorted([*content.damaged_lines, *(number for number, _ in strange)])
    return list(records.values()), damaged


def parse_line(
    adapter: TypeAdapter[_LineT], raw: dict[str, Any], *, place: str, advice: str
) -> _LineT:
    """Return what a line of a ledger holds.

    Parameters
    ----------
    place, advice
        Where the line is and what to do if it is of another version, as the error says it.

    Raises
    ------
    RunDirectoryError
        If it is not what the adapter takes.
    """
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "kind"
        raise RunDirectoryError(
            f"{place} {raw.get('uid', '?')}: {field}: {first['msg']}; it was written by another "
            f"version of finscale, {advice}"
        ) from error


def _is_record(raw: dict[str, Any]) -> bool:
    try:
        _ADAPTER.validate_python(raw)
    except ValidationError:
        return False
    return True


def _parse(ledger: Ledger, raw: dict[str, Any]) -> Record:
    return parse_line(_ADAPTER, raw, place=f"{ledger.path}: record", advice="use a new --out")
