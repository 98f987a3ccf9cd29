"""From the data section of a study to valid bars and what is joined to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finscale.errors import DataError, StudyError
from finscale.market.bars import OHLCV, bars_hash, to_arrays
from finscale.market.catalog import Catalog
from finscale.market.context import join_series
from finscale.market.names import bars_name
from finscale.market.sources.bundled import load_bundled
from finscale.market.sources.file import load_file
from finscale.market.sources.simulated import load_simulated
from finscale.market.symbol_bars import Finding, SymbolBars
from finscale.market.timescale import resample
from finscale.study import Study
from finscale.study_data import (
    CatalogData,
    ContextSeries,
    DataSettings,
    FileData,
    FileReading,
    SimulatedData,
)

# How findings and errors about files name what can be done: as options of the command line.
_OPTION = re.compile(r"--(prices|layout|date-format|calendar|repair)\b")


@dataclass(frozen=True)
class JoinedSeries:
    """A context series: what the study says of it, and its daily bars as they were loaded."""

    settings: ContextSeries
    loaded: SymbolBars

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the series, JSON-ready."""
        return {
            "name": self.settings.name,
            "kind": self.settings.kind,
            "max_staleness_days": self.settings.max_staleness_days,
            "lag_sessions": self.settings.lag_sessions,
            **describe_bars(self.loaded),
        }


@dataclass(frozen=True)
class Series:
    """All bars that a study reads.

    Attributes
    ----------
    symbols
        Each symbol's daily bars as loaded, and as arrays on the study's time scale with context.
    context
        The series joined to them.
    """

    symbols: tuple[tuple[SymbolBars, OHLCV], ...]
    context: tuple[JoinedSeries, ...]


def describe_bars(loaded: SymbolBars) -> dict[str, Any]:
    """Return what there is to say about daily bars as they were loaded, JSON-ready."""
    return {
        "symbol": loaded.symbol,
        "n_bars": len(loaded.bars),
        "first_date": str(loaded.bars["date"][0]),
        "last_date": str(loaded.bars["date"][-1]),
        "bars_hash": bars_hash(loaded.bars),
        "provenance": dict(loaded.provenance),
        "warnings": [one.as_dict() for one in loaded.warnings],
    }


def load_bars(data: DataSettings) -> tuple[SymbolBars, ...]:
    """Return the daily bars of every symbol of a data set, in the order of the study.

    Raises
    ------
    DataError, StudyError
        If the data are missing, damaged or impossible, or a version is pinned of another symbol.
    """
    match data:
        case FileData():
            return _load_file(data.path, data.symbols, data, place="data")
        case CatalogData():
            _require_known_versions(data)
            catalog = Catalog(data.catalog)
            return tuple(
                catalog.load_bars(bars_name(symbol), data.versions.get(symbol))[0]
                for symbol in data.symbols
            )
        case SimulatedData():
            return load_simulated(data)
        case _:
            return tuple(load_bundled(symbol) for symbol in data.symbols)


def describe_source(data: DataSettings) -> str:
    """Name where bars come from, in a word or two."""
    match data:
        case FileData():
            return data.path.name
        case CatalogData():
            return f"catalogue {data.catalog.name}"
        case SimulatedData():
            return f"simulated {data.market.replace('_', ' ')}"
        case _:
            return f"bundled {', '.join(data.symbols)}"


def load_series(data: DataSettings) -> Series:
    """Return every symbol's bars and the context joined to them.

    Raises
    ------
    DataError
        If bars or context series are missing, damaged, or do not cover each other.
    """
    loaded = load_bars(data)
    named = _with_mixed_prices_named(
        loaded,
        [(_load_context(one), one.kind == "price") for one in data.context],
    )
    context = tuple(map(JoinedSeries, data.context, named[len(loaded) :]))
    return Series(
        tuple(
            (one, _join(to_arrays(resample(one.bars, data.time_scale)), context, one.symbol))
            for one in named[: len(loaded)]
        ),
        context,
    )


def _with_mixed_prices_named(
    symbols: Sequence[SymbolBars], context: Sequence[tuple[SymbolBars, bool]]
) -> tuple[SymbolBars, ...]:
    """Add a warning to the adjusted prices of a study that has others too.

    It may be meant, of an index beside funds that pay dividends; but it is never silent.

    Parameters
    ----------
    context
        Bars of the context series, and whether they are prices: an index of volatility is not.

    Returns
    -------
    tuple
        The symbols, then the context.
    """
    everything = [*((one, True) for one in symbols), *context]
    others = [one.symbol for one, is_price in everything if is_price and not _is_adjusted(one)]
    if not others:
        return tuple(one for one, _ in everything)
    some = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
    finding = Finding(
        kind="mixed_prices",
        severity="warning",
        message=f"prices are adjusted, and those of {some} are not",
        fix="take all prices of a study adjusted, or all as given (--prices at import, or "
        "data.prices of a file)",
    )
    return tuple(
        replace(one, warnings=(*one.warnings, finding)) if is_price and _is_adjusted(one) else one
        for one, is_price in everything
    )


def _is_adjusted(one: SymbolBars) -> bool:
    return one.provenance.get("prices") in {"adjusted", "adjusted_by_source"}


def pin_versions(study: Study) -> Study:
    """Return the study with the catalogue versions written out that it means at this moment.

    Raises
    ------
    DataError
        If a data set is not in the catalogue.
    """
    data = study.data
    changes: dict[str, object] = {}
    if isinstance(data, CatalogData):
        _require_known_versions(data)
        catalog = Catalog(data.catalog)
        changes["versions"] = {
            symbol: catalog.entry(bars_name(symbol), data.versions.get(symbol)).version
            for symbol in data.symbols
        }
    changes["context"] = tuple(_pin(series) for series in data.context)
    return study.model_copy(update={"data": data.model_copy(update=changes)})


def _require_known_versions(data: CatalogData) -> None:
    unknown = sorted(set(data.versions) - set(data.symbols))
    if unknown:
        raise StudyError(f"data.versions: {', '.join(unknown)} is not among data.symbols")


def keep_pins(study: Study, earlier: Study) -> Study:
    """Return the study with the versions that an earlier one pinned, where it names none itself."""
    data, known = study.data, earlier.data
    changes: dict[str, object] = {}
    if (
        isinstance(data, CatalogData)
        and isinstance(known, CatalogData)
        and data.catalog == known.catalog
    ):
        symbols = set(data.symbols)
        kept = {name: version for name, version in known.versions.items() if name in symbols}
        changes["versions"] = kept | data.versions
    pinned = {(one.source, one.catalog, one.symbol): one.version for one in known.context}
    changes["context"] = tuple(
        one.model_copy(
            update={"version": one.version or pinned.get((one.source, one.catalog, one.symbol))}
        )
        for one in data.context
    )
    return study.model_copy(update={"data": data.model_copy(update=changes)})


def _pin(series: ContextSeries) -> ContextSeries:
    if series.source != "catalog" or series.symbol is None:
        return series
    entry = Catalog(series.catalog).entry(bars_name(series.symbol), series.version)
    return series.model_copy(update={"version": entry.version})


def _load_context(series: ContextSeries) -> SymbolBars:
    """Return the daily bars of a context series."""
    if series.source == "file" and series.path is not None:
        symbols = None if series.symbol is None else (series.symbol,)
        loaded = _load_file(series.path, symbols, series, place=f"data.context {series.name}")
        if len(loaded) > 1:
            raise DataError(
                f"{series.path}: holds {len(loaded)} symbols; name that of {series.name} with "
                "symbol in data.context"
            )
        return loaded[0]
    symbol = series.symbol or ""
    if series.source == "catalog":
        return Catalog(series.catalog).load_bars(bars_name(symbol), series.version)[0]
    return load_bundled(symbol)


def _load_file(
    path: Path, symbols: Sequence[str] | None, reading: FileReading, *, place: str
) -> tuple[SymbolBars, ...]:
    """Load a file as the study says; what can be done is named by the study's settings."""
    try:
        loaded = load_file(
            path,
            symbols=symbols,
            **{name: getattr(reading, name) for name in FileReading.model_fields},
        )
    except DataError as error:
        raise DataError(_in_settings(str(error), place)) from error
    return tuple(
        replace(
            one,
            warnings=tuple(
                replace(finding, fix=_in_settings(finding.fix, place)) for finding in one.warnings
            ),
        )
        for one in loaded
    )


def _in_settings(text: str, place: str) -> str:
    """Return a message that names settings below ``place`` instead of command line options."""

    def setting(option: re.Match[str]) -> str:
        name = {"repair": "repairs"}.get(option[1], option[1].replace("-", "_"))
        return f"{place}.{name}"

    return _OPTION.sub(setting, text)


def _join(bars: OHLCV, context: Sequence[JoinedSeries], symbol: str) -> OHLCV:
    for one in context:
        origin = one.settings.path if one.settings.source == "file" else one.settings.name
        source = f"{origin} for {symbol}"
        bars = join_series(bars, one.settings, one.loaded.bars, source=source)
    return bars
