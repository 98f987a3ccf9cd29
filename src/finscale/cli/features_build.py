"""The command that builds feature tables from the bars in the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from finscale.cli.options import JSON
from finscale.cli.output import print_json
from finscale.errors import FeatureError, FinscaleError
from finscale.features.context import ContextKind
from finscale.features.panel import PanelResult, build_panel
from finscale.features.processed import Registered, feature_jobs
from finscale.market.catalog import Catalog
from finscale.market.findings import describe_findings
from finscale.market.manifest import Entry
from finscale.market.names import bars_name, parse_name
from finscale.study_data import MAX_STALENESS_DAYS, ContextSeries

SYMBOLS = typer.Argument(None, metavar="SYMBOL...", help="Symbols in the catalogue.")
ALL = typer.Option(False, "--all", help="Every symbol that has daily bars.")
TIERS = typer.Option(["a25"], "--tier", help="A tier; may be repeated.")
CATALOG = typer.Option(Path("data"), "--catalog", help="The catalogue's directory.")
SCALE = typer.Option("daily", help="Time scale that the daily bars are brought to.")
VERSION = typer.Option(None, "--version", min=1, help="Version of the bars.", show_default="latest")
WORKERS = typer.Option(None, min=1, help="Tables in work at once.", show_default="cores")
CONTEXT = typer.Option(
    [],
    "--context",
    metavar="NAME=DATASET[:price]",
    help="Add features of a series, such as vix=VIX.OHLCV.daily; may be repeated. It is read as a "
    "volatility index in percent a year unless ':price' follows.",
)
STALENESS = typer.Option(
    MAX_STALENESS_DAYS, "--max-staleness-days", min=0, help="Age a series' value may have."
)
# In percent a year; the VIX closed at 83 at most.
_LIKELY_A_PRICE = 300

LAG = typer.Option(0, "--context-lag", min=0, help="Sessions by which series are seen later.")


def build(
    symbols: list[str] | None = SYMBOLS,
    every: bool = ALL,
    tiers: list[str] = TIERS,
    catalog: Path = CATALOG,
    scale: str = SCALE,
    version: int | None = VERSION,
    workers: int | None = WORKERS,
    context: list[str] = CONTEXT,
    max_staleness_days: int = STALENESS,
    context_lag: int = LAG,
    as_json: bool = JSON,
) -> None:
    """Build feature tables from bars of the catalogue, and register them there."""
    data = Catalog(catalog)
    chosen = _symbols(data, symbols or [], every=every)
    series = [
        _context(text, catalog, max_staleness_days=max_staleness_days, lag_sessions=context_lag)
        for text in context
    ]
    jobs = list(
        feature_jobs(
            data,
            chosen,
            list(dict.fromkeys(tiers)),
            scale=scale,
            version=version,
            context=series,
        )
    )
    for context_series in series:
        _warn_of_price(data, context_series)
    # It loads torch, which takes seconds that no other command of features needs.
    from finscale.machine.device import n_cores  # noqa: PLC0415

    results = []
    for one in build_panel(jobs, n_workers=min(workers or n_cores(), len(jobs))):
        results.append(one)
        if one.value is None:
            typer.echo(f"{one.name}: FAILED: {_reason(one.error)}", err=True)
        elif not as_json:
            typer.echo("\n".join(_lines(*one.value)))
    if as_json:
        print_json([_as_dict(one) for one in results])
    _raise_failures(results)


def _symbols(catalog: Catalog, named: list[str], *, every: bool) -> list[str]:
    """Return the symbols to build for, each once."""
    if every == bool(named):
        raise FeatureError("features build: name symbols (SPY), or give --all, and not both")
    if named:
        return list(dict.fromkeys(named))
    names = [parse_name(one.name) for one in catalog.entries() if one.kind == "raw"]
    found = list(dict.fromkeys(one.symbol for one in names if one.variant == "daily"))
    if not found:
        raise FeatureError(
            f"{catalog.root}: holds no daily bars; import some with: finscale data import"
        )
    return found


def _context(
    text: str, catalog: Path, *, max_staleness_days: int, lag_sessions: int
) -> ContextSeries:
    """Read ``vix=VIX.OHLCV.daily`` or ``dji=^DJI.OHLCV.daily:price``."""
    name, equals, rest = text.partition("=")
    data_set, colon, kind = rest.partition(":")
    kinds: dict[str, ContextKind] = {"": "volatility_index", ":price": "price"}
    if not (name and equals and data_set) or colon + kind not in kinds:
        raise FeatureError(
            f"--context: got {text!r}; write NAME=DATASET or NAME=DATASET:price, such as "
            "vix=VIX.OHLCV.daily"
        )
    symbol = parse_name(data_set).symbol
    if data_set != bars_name(symbol):
        raise FeatureError(f"--context: got {text!r}; a series is daily bars: {bars_name(symbol)}")
    try:
        return ContextSeries(
            name=name.lower(),
            kind=kinds[colon + kind],
            source="catalog",
            catalog=catalog,
            symbol=symbol,
            max_staleness_days=max_staleness_days,
            lag_sessions=lag_sessions,
        )
    except ValidationError as error:
        fault = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise FeatureError(f"--context: got {text!r}; {fault}") from error


def _warn_of_price(catalog: Catalog, series: ContextSeries) -> None:
    """Warn of what is read as a volatility index and is none by its size."""
    if series.kind != "volatility_index":
        return
    bars, entry = catalog.load_bars(bars_name(series.symbol or ""), series.version)
    highest = max(bars.bars["close"].to_list())
    if highest > _LIKELY_A_PRICE:
        typer.echo(
            f"warning: --context {series.name}={entry.name}: read as a volatility index in "
            f"percent a year, and closes at up to {highest:,g}; if it is a price write "
            f"{series.name}={entry.name}:price",
            err=True,
        )


def _lines(entry: Entry, is_new: bool) -> list[str]:
    line = (
        f"{entry.label}: {'registered' if is_new else 'unchanged'}, {entry.n_columns - 1} features "
        f"× {entry.n_rows:,} rows, {entry.first_date} to {entry.last_date}"
    )
    return [line, *(f"  {one}" for one in describe_findings(entry.warnings).splitlines())]


def _as_dict(result: PanelResult[Registered]) -> dict[str, Any]:
    if result.value is None:
        return {"name": result.name, "status": "failed", "error": _reason(result.error)}
    entry, is_new = result.value
    return {
        "name": entry.name,
        "status": "registered" if is_new else "unchanged",
        "version": entry.version,
        "tier": entry.tier,
        "n_features": entry.n_columns - 1,
        "n_rows": entry.n_rows,
        "first_date": entry.first_date,
        "last_date": entry.last_date,
        "file": entry.file,
        "checksum": entry.checksum,
        "content_hash": entry.content_hash,
        "code_hash": entry.code_hash,
        "lineage": list(entry.lineage),
        "warnings": [one.as_dict() for one in entry.warnings],
        "duration_s": round(result.duration_s, 3),
    }


def _reason(error: BaseException | None) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _raise_failures(results: list[PanelResult[Registered]]) -> None:
    failed = {one.name: one.error for one in results if one.error is not None}
    for error in failed.values():
        # Anything but bad input or a full disk is a bug, and shows where.
        if not isinstance(error, FinscaleError | OSError):
            raise error
    if failed:
        names = ", ".join([*list(failed)[:5], *(["…"] if len(failed) > 5 else [])])
        raise FeatureError(
            f"{len(failed)} of {len(results)} data sets were not built ({names}); the reasons are "
            "above, and the others are kept"
        )
