"""From the data section of a study to valid bars and what is joined to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from finscale.errors import DataError, StudyError
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.catalog import Catalog
from finscale.market.context import join_context
from finscale.market.names import bars_name
from finscale.market.sources.bundled import load_bundled
from finscale.market.sources.file import load_file
from finscale.market.symbol_bars import Finding, SymbolBars
from finscale.market.timescale import resample
from finscale.study import Study
from finscale.study_data import CatalogData, ContextSeries, DataSettings, FileData


def load_bars(data: DataSettings) -> tuple[SymbolBars, ...]:
    """Return the daily bars of every symbol of a data set, in the order of the study.

    Raises
    ------
    DataError
        If the data are missing, damaged or impossible.
    """
    match data:
        case FileData():
            return load_file(data.path, symbols=data.symbols, prices=data.prices)
        case CatalogData():
            catalog = Catalog(data.catalog)
            return tuple(
                catalog.load_bars(bars_name(symbol), data.versions.get(symbol))[0]
                for symbol in data.symbols
            )
        case _:
            return tuple(load_bundled(symbol) for symbol in data.symbols)


def describe_source(data: DataSettings) -> str:
    """Name where bars come from, in a word or two."""
    match data:
        case FileData():
            return data.path.name
        case CatalogData():
            return f"catalogue {data.catalog.name}"
        case _:
            return f"bundled {', '.join(data.symbols)}"


def load_series(data: DataSettings) -> tuple[tuple[SymbolBars, OHLCV], ...]:
    """Return every symbol's bars as loaded, and as arrays on the study's time scale with context.

    Raises
    ------
    DataError
        If bars or context series are missing, damaged, or do not cover each other.
    """
    context = {series.name: (series, _load_context(series)) for series in data.context}
    return tuple(
        (one, _join(to_arrays(resample(one.bars, data.time_scale)), context, one.symbol))
        for one in _with_mixed_prices_named(load_bars(data))
    )


def _with_mixed_prices_named(symbols: tuple[SymbolBars, ...]) -> tuple[SymbolBars, ...]:
    """Add a warning to the adjusted symbols of a panel that has others too.

    It may be meant, of an index beside funds that pay dividends; but it is never silent.
    """
    adjusted = {one.symbol for one in symbols if one.provenance.get("prices") == "adjusted"}
    others = [one.symbol for one in symbols if one.symbol not in adjusted]
    if not adjusted or not others:
        return symbols
    some = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
    finding = Finding(
        kind="mixed_prices",
        severity="warning",
        message=f"prices are adjusted, and those of {some} are not",
        fix="import all symbols of a panel with the same --prices",
    )
    return tuple(
        replace(one, warnings=(*one.warnings, finding)) if one.symbol in adjusted else one
        for one in symbols
    )


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
        catalog = Catalog(data.catalog)
        unknown = sorted(set(data.versions) - set(data.symbols))
        if unknown:
            raise StudyError(f"data.versions: {', '.join(unknown)} is not among data.symbols")
        changes["versions"] = {
            symbol: catalog.entry(bars_name(symbol), data.versions.get(symbol)).version
            for symbol in data.symbols
        }
    changes["context"] = tuple(_pin(series) for series in data.context)
    return study.model_copy(update={"data": data.model_copy(update=changes)})


def keep_pins(study: Study, earlier: Study) -> Study:
    """Return the study with the versions that an earlier one pinned, where it names none itself."""
    data, known = study.data, earlier.data
    changes: dict[str, object] = {}
    if isinstance(data, CatalogData) and isinstance(known, CatalogData):
        symbols = set(data.symbols)
        kept = {name: version for name, version in known.versions.items() if name in symbols}
        changes["versions"] = kept | data.versions
    pinned = {(one.source, one.symbol): one.version for one in known.context}
    changes["context"] = tuple(
        one.model_copy(update={"version": one.version or pinned.get((one.source, one.symbol))})
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
        loaded = load_file(series.path, symbols=symbols)
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


def _join(
    bars: OHLCV, context: Mapping[str, tuple[ContextSeries, SymbolBars]], symbol: str
) -> OHLCV:
    for name, (settings, series) in context.items():
        arrays = to_arrays(series.bars)
        bars = join_context(
            bars,
            name,
            arrays.date,
            arrays.close,
            max_staleness_days=settings.max_staleness_days,
            lag_sessions=settings.lag_sessions,
            source=f"{name} for {symbol}",
        )
    return bars
