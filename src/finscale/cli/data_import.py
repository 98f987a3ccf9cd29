"""Commands that bring bars in: data import, download, check."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import typer

from finscale.cli.options import JSON
from finscale.cli.output import print_json
from finscale.errors import DataError
from finscale.market.catalog import Catalog
from finscale.market.findings import describe_findings
from finscale.market.manifest import Entry
from finscale.market.names import bars_name
from finscale.market.repair import REPAIRS as RULES
from finscale.market.repair import describe_repair
from finscale.market.revisions import Revision, compare_bars
from finscale.market.sources.file import inspect_file, load_file
from finscale.market.sources.inspection import Inspection, Prices
from finscale.market.sources.retry import Retrying
from finscale.market.sources.yahoo import download_yahoo
from finscale.market.sources.yahoo_client import YFinanceClient
from finscale.market.symbol_bars import Finding, SymbolBars
from finscale.units import counted

T = TypeVar("T")

FILES = typer.Argument(help="CSV or Parquet files.", show_default=False)
FILE = typer.Argument(help="A CSV or Parquet file.", show_default=False)
DOWNLOADS = typer.Argument(
    metavar="SYMBOL...", help="Symbols as Yahoo writes them: SPY, ^DJI.", show_default=False
)
CATALOG = typer.Option(Path("data"), "--catalog", help="The catalogue's directory.")
SYMBOLS = typer.Option(
    [],
    "--symbol",
    metavar="S",
    help="Symbol to take from a file of several, or to name one without; may be repeated.",
)
PRICES = typer.Option(
    "as-given",
    metavar="as-given|adjusted",
    help="adjusted: open to close are brought to the adjusted close, which is recorded.",
)
DATE_FORMAT = typer.Option(
    None, metavar="F", help="How dates are written: %d/%m/%Y.", show_default="what all rows fit"
)
LAYOUT = typer.Option("auto", help="yahoo, yfinance, stooq, alphavantage, plain, or auto.")
CALENDAR = typer.Option("auto", help="Exchange calendar to look for gaps by: XNYS, auto, none.")
REPAIRS = typer.Option(
    [],
    "--repair",
    metavar="RULE",
    help="Do this to the bars, and record it; may be repeated. "
    + "; ".join(f"{name}: {rule.meaning}" for name, rule in RULES.items())
    + ".",
)
START = typer.Option(None, formats=["%Y-%m-%d"], help="First session.", show_default="all there is")
END = typer.Option(None, formats=["%Y-%m-%d"], help="Last session.", show_default="the latest")


def import_files(
    files: list[Path] = FILES,
    symbols: list[str] = SYMBOLS,
    catalog: Path = CATALOG,
    prices: str = PRICES,
    date_format: str | None = DATE_FORMAT,
    layout: str = LAYOUT,
    calendar: str = CALENDAR,
    repairs: list[str] = REPAIRS,
    as_json: bool = JSON,
) -> None:
    """Register the bars of files, each symbol as SYMBOL.OHLCV.daily."""
    options = _file_options(symbols, prices, date_format, layout, calendar, repairs)
    if symbols and len(files) > 1:
        raise DataError(
            f"--symbol {symbols[0]} with {len(files)} files: it is about the symbols of one file; "
            "import each file by itself"
        )
    data = Catalog(catalog)

    def add(path: Path) -> Iterator[_Added]:
        loaded = load_file(path, **options)
        # Before anything of the file is registered.
        for one in loaded:
            _require_name(one.symbol, path, symbols)
            data.refuse_clash(bars_name(one.symbol))
        _refuse_same_but_for_case([one.symbol for one in loaded], path)
        for one in loaded:
            yield _add(data, one, f"{one.provenance['file']} sha256:{one.provenance['sha256']}")

    _each(files, add, as_json=as_json)


def download(
    symbols: list[str] = DOWNLOADS,
    start: dt.datetime | None = START,
    end: dt.datetime | None = END,
    catalog: Path = CATALOG,
    prices: str = PRICES,
    calendar: str = CALENDAR,
    repairs: list[str] = REPAIRS,
    as_json: bool = JSON,
) -> None:
    """Fetch daily bars from Yahoo Finance and register them, with the answer as it came."""
    data, client, retrying = Catalog(catalog), YFinanceClient(), Retrying()

    def add(symbol: str) -> Iterator[_Added]:
        bars, snapshot = download_yahoo(
            symbol,
            start=None if start is None else start.date(),
            end=None if end is None else end.date(),
            prices=_prices(prices),
            calendar=_calendar(calendar),
            repairs=repairs,
            client=client,
            retrying=retrying,
        )
        yield _add(data, bars, "Yahoo Finance", snapshot)

    _each(symbols, add, as_json=as_json)


def check_file(
    file: Path = FILE,
    symbols: list[str] = SYMBOLS,
    prices: str = PRICES,
    date_format: str | None = DATE_FORMAT,
    layout: str = LAYOUT,
    calendar: str = CALENDAR,
    repairs: list[str] = REPAIRS,
    as_json: bool = JSON,
) -> None:
    """Show all that is wrong or odd in a file, and register nothing."""
    options = _file_options(symbols, prices, date_format, layout, calendar, repairs)
    found = [_with_name_checked(one, file, symbols) for one in inspect_file(file, **options)]
    if as_json:
        print_json([_inspection_dict(one) for one in found])
    else:
        for one in found:
            dates = [str(date) for date in one.bars["date"].drop_nulls()]
            span = f", {min(dates)} to {max(dates)}" if dates else ""
            typer.echo(f"{one.symbol}: {counted(one.n_rows, 'row')}{span}")
            for line in _repair_lines(one.provenance):
                typer.echo(line)
            other = " else" if any(each["n_rows"] for each in one.provenance["repairs"]) else ""
            typer.echo(describe_findings(one.findings) or f"nothing{other} wrong or odd")
    n_errors = sum(one.severity == "error" for each in found for one in each.findings)
    if n_errors:
        raise DataError(
            f"{file}: {n_errors} error{'' if n_errors == 1 else 's'}, see above; what is odd is "
            "looked for once the errors are mended"
        )


@dataclass(frozen=True)
class _Added:
    """What became of one symbol."""

    entry: Entry
    is_new: bool
    latest: int
    previous: Entry | None
    revision: Revision | None

    def as_dict(self) -> dict[str, Any]:
        kept = ("name", "version", "symbol", "n_rows", "first_date", "last_date", "source")
        entry = self.entry.as_dict()
        return {
            "status": "registered" if self.is_new else "unchanged",
            **{name: entry[name] for name in (*kept, "file", "checksum", "content_hash")},
            "repairs": self.entry.provenance.get("repairs", []),
            "warnings": entry["warnings"],
            "latest_version": self.latest,
            "previous_version": None if self.previous is None else self.previous.version,
            "revision": None if self.revision is None else self.revision.as_dict(),
        }

    def lines(self) -> list[str]:
        entry = self.entry
        status = "registered" if self.is_new else "unchanged"
        span = f"{entry.first_date} to {entry.last_date}"
        lines = [f"{entry.label}: {status}, {counted(entry.n_rows, 'row')}, {span}"]
        if self.latest > entry.version:
            lines.append(
                f"  the same as this older version; version {self.latest} is the latest, which "
                f"studies read; to read this one set data.versions: {{{entry.symbol}: "
                f"{entry.version}}}"
            )
        if self.previous is not None and self.revision is not None:
            before, now = (one.provenance.get("prices") for one in (self.previous, entry))
            note = (
                f"prices are {spelled(now)}, and were {spelled(before)}; " if now != before else ""
            )
            text = _revision_text(self.revision)
            lines.append(f"  against version {self.previous.version}: {note}{text}")
        lines += [f"  {line}" for line in _repair_lines(entry.provenance)]
        return lines + [f"  {line}" for line in describe_findings(entry.warnings).splitlines()]


def _add(
    catalog: Catalog, loaded: SymbolBars, source: str, snapshot: bytes | None = None
) -> _Added:
    entry, is_new = catalog.register(
        bars_name(loaded.symbol),
        loaded.bars,
        source=source,
        provenance=loaded.provenance,
        warnings=loaded.warnings,
        snapshot=snapshot,
    )
    known = catalog.versions(entry.name)
    older = [one for one in known if one.version < entry.version] if is_new else []
    latest = known[-1].version
    if older:
        try:
            revision = compare_bars(catalog.read(older[-1]), loaded.bars)
        except DataError as error:
            # The damage is an older version's: it is reported, and spoils nothing of the new one.
            typer.echo(f"{entry.name}: no comparison: {error}", err=True)
        else:
            return _Added(entry, is_new, latest, older[-1], revision)
    return _Added(entry, is_new, latest, None, None)


def _revision_text(one: Revision) -> str:
    parts = [f"{one.n_added:,} rows added"] if one.n_added else []
    if one.n_inserted:
        parts[-1] += f" ({one.n_inserted:,} of them before its end)"
    if one.n_changed:
        parts.append(
            f"{counted(one.n_changed, 'row')} changed (closes by up to {one.max_change_frac:.2%})"
        )
    if one.n_removed:
        parts.append(f"{one.n_removed:,} rows removed")
    if not parts:
        return "the same bars, otherwise treated"
    text = ", ".join(parts)
    if one.n_days_back:
        text += f"; it ends {one.n_days_back} days earlier"
    if one.rewrites_history:
        text += f"; history differs from {one.first_changed} on"
    return text


def _each(items: Iterable[T], add: Callable[[T], Iterator[_Added]], *, as_json: bool) -> None:
    """Add every item; one that is refused keeps nobody else out, and is the message at the end.

    What was registered is said whatever comes after it.
    """
    done: list[dict[str, Any]] = []
    refused: list[DataError] = []
    try:
        for item in items:
            try:
                for one in add(item):
                    done.append(one.as_dict())
                    if not as_json:
                        typer.echo("\n".join(one.lines()))
            except DataError as error:
                refused.append(error)
    finally:
        if as_json and (done or not refused):
            print_json(done)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise DataError("\n  ".join([f"{len(refused)} were refused", *map(str, refused)]))


def _file_options(
    symbols: list[str],
    prices: str,
    date_format: str | None,
    layout: str,
    calendar: str,
    repairs: list[str],
) -> dict[str, Any]:
    return {
        "symbols": symbols or None,
        "prices": _prices(prices),
        "date_format": date_format,
        "layout": layout,
        "calendar": _calendar(calendar),
        "repairs": repairs,
    }


def _prices(text: str) -> Prices:
    # Written with a dash like all of the command line.
    prices = text.replace("-", "_")
    if prices not in get_args(Prices):
        raise DataError(f"no prices {text!r}; choose as-given or adjusted")
    return cast("Prices", prices)


def spelled(prices: object) -> str:
    """Return how prices are treated as the command line writes it."""
    return str(prices).replace("_", "-")


def _repair_lines(provenance: Mapping[str, Any]) -> list[str]:
    return [f"repaired: {describe_repair(one)}" for one in provenance.get("repairs", [])]


def _require_name(symbol: str, path: Path, given: list[str]) -> None:
    """Refuse a symbol that cannot name a data set, and say where to give another."""
    try:
        bars_name(symbol)
    except DataError as error:
        if symbol == path.stem and not given:
            fix = "name the bars with --symbol"
        else:
            fix = "write it otherwise in the file, or give other symbols with --symbol"
        raise DataError(f"{error}; {fix}") from error


def _refuse_same_but_for_case(symbols: Sequence[str], path: Path) -> None:
    known: dict[str, str] = {}
    for symbol in symbols:
        other = known.setdefault(symbol.casefold(), symbol)
        if other != symbol:
            # On many file systems both would be the same directory.
            raise DataError(
                f"{path}: symbols {other} and {symbol} differ by case only; write them otherwise "
                "in the file, or take one of them with --symbol"
            )


def _with_name_checked(one: Inspection, path: Path, given: list[str]) -> Inspection:
    try:
        _require_name(one.symbol, path, given)
    except DataError as error:
        message, _, fix = str(error).rpartition("; ")
        errors = tuple(each for each in one.findings if each.severity == "error")
        return replace(one, findings=(Finding("name", "error", message, fix), *errors))
    return one


def _calendar(text: str) -> str | None:
    return None if text.lower() == "none" else text


def _inspection_dict(one: Inspection) -> Mapping[str, Any]:
    return {
        "symbol": one.symbol,
        "n_rows": one.n_rows,
        "findings": [finding.as_dict() for finding in one.findings],
        "provenance": dict(one.provenance),
    }
