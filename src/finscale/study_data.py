"""The data section of a study: where bars come from, and what is joined to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)


class Settings(BaseModel):
    """A section of the study: frozen, and without a setting that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _series_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError("use lower case letters, digits and '_' (it begins the features' names)")
    return name


PositiveInt = Annotated[int, Field(gt=0)]
SeriesName = Annotated[str, AfterValidator(_series_name)]
BundledSymbol = Literal["SP500", "NASDAQ"]
TimeScale = Literal["daily", "2d", "3d", "5d", "weekly", "monthly"]
Layout = Literal["auto", "yfinance", "stooq", "alphavantage", "yahoo", "plain"]
MarketName = Literal[
    "random_walk",
    "garch",
    "gjr",
    "short_memory",
    "long_memory",
    "interactions",
    "teacher",
    "regimes",
]
RepairName = Literal[
    "drop_missing",
    "fill_volume",
    "drop_duplicates",
    "drop_future",
    "drop_today",
    "drop_zero_volume",
    "drop_nonsessions",
    "sort",
    "clip_range",
]

# Calendar days. Holidays seldom close a market for longer than a week.
MAX_STALENESS_DAYS = 7


class FileReading(Settings):
    """How a file of bars is read; the options of ``finscale data import``."""

    prices: Literal["as_given", "adjusted"] = Field(
        default="as_given", description="file: adjusted by the file's adjusted close"
    )
    layout: Layout = Field(default="auto", description="file: auto goes by the header")
    date_format: str | None = Field(
        default=None, description="file: how dates are written, %d/%m/%Y; null: what all rows fit"
    )
    calendar: str | None = Field(
        default="auto", description="file: exchange calendar to look for gaps by; null: none"
    )
    repairs: tuple[RepairName, ...] = Field(
        default=(), description="file: done to the bars, each recorded"
    )

    @field_validator("calendar", mode="before")
    @classmethod
    def _none_is_no_calendar(cls, value: object) -> object:
        """Read what the command line calls none as YAML's null."""
        return None if isinstance(value, str) and value.lower() == "none" else value


class ContextSeries(FileReading):
    """A series beside the bars, such as the VIX: its close as of each bar's close."""

    name: SeriesName = Field(description="begins the names of its features")
    kind: Literal["volatility_index", "price"] = Field(description="decides which features")
    source: Literal["bundled", "file", "catalog"]
    path: Path | None = Field(default=None, description="file: the .csv or .parquet file")
    catalog: Path = Field(
        default_factory=lambda: Path.cwd() / "data", description="catalog: its directory"
    )
    symbol: str | None = Field(default=None, description="which symbol; a file of one needs none")
    version: PositiveInt | None = Field(default=None, description="catalog: pinned version")
    max_staleness_days: int = Field(
        default=MAX_STALENESS_DAYS,
        ge=0,
        description="a bar whose newest value is older is refused",
    )
    lag_sessions: int = Field(
        default=0, ge=0, description="1 for a market that closes after the bars' own"
    )

    @model_validator(mode="after")
    def _findable(self) -> Self:
        if self.source == "file" and self.path is None:
            raise ValueError("path: missing; a context series from a file needs it")
        if self.source != "file" and self.symbol is None:
            raise ValueError("symbol: missing; name the context series' symbol")
        unread = [
            name
            for name, field in FileReading.model_fields.items()
            if self.source != "file" and getattr(self, name) != field.default
        ]
        if unread:
            raise ValueError(f"{', '.join(unread)}: of a file only; remove it")
        return self


class Source(Settings):
    """What every source of bars can be asked for."""

    time_scale: TimeScale = Field(default="daily", description="bars made from the daily ones")
    context: tuple[ContextSeries, ...] = Field(
        default=(), description="other series, joined as of the same close"
    )
    null: Literal["none", "shuffled_labels"] = Field(
        default="none",
        description="shuffled_labels: labels in random order, so that there is nothing to find",
    )

    @model_validator(mode="after")
    def _no_series_twice(self) -> Self:
        names = [series.name for series in self.context]
        if len(set(names)) < len(names):
            raise ValueError("context: two series have the same name")
        return self


class BundledData(Source):
    """Real index data that comes with finscale's dependencies: S&P 500 or NASDAQ, 1999–2018."""

    source: Literal["bundled"] = "bundled"
    symbols: tuple[BundledSymbol, ...] = Field(
        default=("SP500",), min_length=1, description="which indices"
    )


class FileData(Source, FileReading):
    """Bars from a file of one's own."""

    source: Literal["file"]
    path: Path = Field(description="a .csv or .parquet file; relative to the study file")
    symbols: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="symbols to keep; null: all in the file"
    )


class CatalogData(Source):
    """Versioned bars that were imported or downloaded before."""

    source: Literal["catalog"]
    catalog: Path = Field(
        default_factory=lambda: Path.cwd() / "data",
        description="its directory, relative to the study file; data/ where finscale is run",
    )
    symbols: tuple[str, ...] = Field(min_length=1, description="data sets SYMBOL.OHLCV.daily")
    versions: dict[str, PositiveInt] = Field(
        default={}, description="pinned versions by symbol; a run pins what it began with"
    )


# Which settings of a simulated market each law reads, beside those that all do.
_READ_BY: dict[MarketName, frozenset[str]] = {
    "random_walk": frozenset(),
    "garch": frozenset(),
    "gjr": frozenset(),
    "regimes": frozenset(),
    "short_memory": frozenset({"strength", "memory_bars"}),
    "long_memory": frozenset({"strength", "memory_bars"}),
    "interactions": frozenset({"strength", "memory_bars", "order", "n_terms"}),
    "teacher": frozenset({"strength", "memory_bars", "width"}),
}


class SimulatedData(Source):
    """Bars drawn from a known law, so that the best possible loss is known."""

    source: Literal["simulated"]
    market: MarketName = Field(description="the law; see docs/decisions/0014")
    n_bars: int = Field(default=6000, ge=400, le=200_000, description="bars of each symbol")
    n_symbols: int = Field(default=1, ge=1, le=100, description="independent symbols of one law")
    seed: int = Field(default=1, ge=0, lt=2**31, description="of the law and the bars")
    volatility: float = Field(default=0.01, gt=0, le=0.1, description="of a day's log return")
    strength: float = Field(
        default=0.4, gt=0, le=2, description="of what is planted, in standard deviations"
    )
    memory_bars: int = Field(default=3, ge=1, le=250, description="bars that the law looks back on")
    order: int = Field(default=2, ge=2, le=6, description="interactions: factors of a product")
    n_terms: int = Field(default=1, ge=1, le=1000, description="interactions: products")
    width: PositiveInt = Field(default=16, description="teacher: hidden units")

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbols: ``SIM1``, ``SIM2``, …."""
        return tuple(f"SIM{number}" for number in range(1, self.n_symbols + 1))

    @model_validator(mode="after")
    def _read(self) -> Self:
        some = frozenset().union(*_READ_BY.values())
        unread = [
            name
            for name in sorted(some - _READ_BY[self.market])
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if unread:
            raise ValueError(f"{', '.join(unread)}: not read by a market of {self.market}; remove")
        if self.market == "interactions" and self.order > self.memory_bars:
            raise ValueError("order: more factors than there are bars; give a larger memory_bars")
        return self


DataSettings = BundledData | FileData | CatalogData | SimulatedData
