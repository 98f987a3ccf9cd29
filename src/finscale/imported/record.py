"""Imported results and base losses, in a ledger of their own beside that of a run.

They were made by other code, on other data and with another model, so nothing that reads a run's
own ledger ever meets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from finscale.files import Ledger, hash_json
from finscale.records import parse_line

_UID_DIGITS = 20

Status = Literal["complete", "pruned", "failed", "unknown"]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImportedRecord(_Line):
    """One past result; what its file did not say is None."""

    kind: Literal["imported"] = "imported"
    uid: str = Field(description="hash of the result's content: whatever file it is in")
    source: str = Field(description="name of the file it was read from")
    row: int = Field(description="row or trial in that file, from 1")
    imported_at: str = Field(description="UTC, ISO 8601")
    made_at: str | None = None
    experiment: str
    phase: str | None = None
    run_type: str | None = None
    script: str | None = None
    budget: str | None = Field(description="a label; what was built has n_parameters")
    horizon_bars: int | None = Field(description="None if nothing in the file says it")
    task: str | None
    timescale: str = "daily"
    trial: int | None = None
    status: Status
    reason: str | None = Field(default=None, description="the status as given, or the error")
    validation_loss: float | None = None
    test_accuracy: float | None = None
    duration_s: float | None = None
    max_temperature_c: float | None = None
    data_md5: str | None = None
    hyperparameters: dict[str, Any] = {}
    d_model: int | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    d_ff: int | None = None
    n_parameters_stated: int | None = Field(default=None, description="as the file says")
    n_parameters: int | None = Field(
        default=None, description="of the architecture, counted here; None without one"
    )
    remarks: tuple[str, ...] = Field(default=(), description="what is odd about it")

    @property
    def cell(self) -> str:
        """What may share a figure: ``h1_threshold_1pct``, with ``?`` for what is not known."""
        horizon = "?" if self.horizon_bars is None else str(self.horizon_bars)
        parts = [f"h{horizon}", self.task or "?"]
        return "_".join(parts + ([] if self.timescale == "daily" else [self.timescale]))

    @property
    def architecture(self) -> str | None:
        """``64x2x4x256``; None if a part of it is missing."""
        parts = (self.d_model, self.n_layers, self.n_heads, self.d_ff)
        return None if None in parts else "x".join(map(str, parts))


class ImportedBaseLoss(_Line):
    """What always predicting the base rate scores in a cell: skill is measured from it.

    The log-loss on the rows that the results were scored on. The rate alone does not tell it, for
    events may be rarer there than in training.
    """

    kind: Literal["base_loss"] = "base_loss"
    uid: str
    imported_at: str = Field(description="UTC, ISO 8601; of several the last counts")
    cell: str = Field(description="as `ImportedRecord.cell`")
    log_loss: float = Field(gt=0, description="nats")


ImportedLine = ImportedRecord | ImportedBaseLoss
_ADAPTER: TypeAdapter[ImportedLine] = TypeAdapter(
    Annotated[ImportedLine, Field(discriminator="kind")]
)


def content_uid(content: Any) -> str:
    """Name a result by its content, so that it is kept once however often it is imported."""
    return f"imported/{hash_json(content)[:_UID_DIGITS]}"


def append_imported(ledger: Ledger, lines: Iterable[ImportedLine]) -> int:
    """Append what the ledger does not hold yet; return how many that were."""
    return sum(ledger.append(line.model_dump(mode="json")) for line in lines)


def read_imported(ledger: Ledger) -> list[ImportedLine]:
    """Return every imported result and base loss, in the order in which they came.

    Raises
    ------
    RunDirectoryError
        If a whole line is neither.
    """
    return [_parse(ledger, raw) for raw in ledger.read().records]


def _parse(ledger: Ledger, raw: dict[str, Any]) -> ImportedLine:
    advice = "move it away and import again"
    return parse_line(_ADAPTER, raw, place=f"{ledger.path}:", advice=advice)
