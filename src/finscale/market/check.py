"""What makes bars invalid: the one home of the rules. What makes them odd is in ``oddities``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from finscale.market.bars import PRICES, SCHEMA
from finscale.market.findings import ROW, refuse_errors, rows_where
from finscale.market.oddities import find_oddities
from finscale.market.symbol_bars import Finding

# By how much, relative to the price, high may lie below open or close, and low above, and be
# taken for rounding: files carry 2 to 6 decimals, and prices that were multiplied by an
# adjustment in single precision overshoot by some 1e-7.
RANGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Rule:
    """A fault of single rows, or of a row and the one above: an expression true in bad rows."""

    kind: str
    message: str
    fix: str
    bad: pl.Expr


def _rules() -> tuple[Rule, ...]:
    numbers = (*PRICES, "volume")
    fill = "fill it in or drop the row"
    drop = "(--repair drop_missing)"
    zero = "set it to 0 (--repair fill_volume)"
    missing_fix = {
        **dict.fromkeys(PRICES, f"{fill} {drop}"),
        "volume": f"{fill}, or {zero}",
        "symbol": fill,
        "date": fill,
    }
    nan_fix = dict.fromkeys(PRICES, f"correct it or drop the row {drop}")
    nan_fix["volume"] = f"correct it or drop the row, or {zero}"
    # A bar's shape is judged where all four prices can be.
    shaped = pl.all_horizontal(
        *(pl.col(name).is_finite() & (pl.col(name) > 0) for name in PRICES)
    ).fill_null(value=False)
    body_high, body_low = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    is_crossed = pl.col("high") < pl.col("low") * (1 - RANGE_TOLERANCE)
    widen = "correct the bar, and use all raw or all adjusted prices, or --repair clip_range"
    same_day = pl.col("date").diff().dt.total_days() == 0
    same_bar = pl.all_horizontal(*(pl.col(name) == pl.col(name).shift() for name in numbers))
    return (
        *(
            Rule("missing_value", f"{name} is missing", fix, pl.col(name).is_null())
            for name, fix in missing_fix.items()
        ),
        *(
            Rule("not_finite", f"{name} is not a finite number", fix, pl.col(name).is_nan())
            for name, fix in nan_fix.items()
        ),
        *(
            Rule(
                "not_finite",
                f"{name} is not a finite number",
                "correct it or drop the row",
                pl.col(name).is_infinite(),
            )
            for name in numbers
        ),
        *(
            Rule(
                "not_positive",
                f"{name} is not positive",
                "correct it or drop the row",
                pl.col(name).is_finite() & (pl.col(name) <= 0),
            )
            for name in PRICES
        ),
        Rule(
            "negative_volume",
            "volume is negative",
            "correct it; use 0 where none was traded",
            pl.col("volume").is_finite() & (pl.col("volume") < 0),
        ),
        Rule(
            "high_below_low",
            "high is below low",
            "correct the bar",
            shaped & is_crossed,
        ),
        Rule(
            "high_below_body",
            "high is below open or close",
            widen,
            shaped & ~is_crossed & (pl.col("high") < body_high * (1 - RANGE_TOLERANCE)),
        ),
        Rule(
            "low_above_body",
            "low is above open or close",
            widen,
            shaped & ~is_crossed & (pl.col("low") > body_low * (1 + RANGE_TOLERANCE)),
        ),
        Rule(
            "repeated_row",
            "the row above is there again",
            "drop the row (--repair drop_duplicates)",
            same_day & same_bar,
        ),
        Rule(
            "duplicate_date",
            "date is the same as in the row above",
            "keep one row per session",
            same_day & ~same_bar.fill_null(value=False),
        ),
        Rule(
            "unsorted",
            "date is before the row above",
            "sort the rows by date, oldest first (--repair sort)",
            pl.col("date").diff().dt.total_days() < 0,
        ),
    )


RULES = _rules()


def validate_bars(
    frame: pl.DataFrame, *, source: str, today: dt.date | None = None
) -> pl.DataFrame:
    """Return ``frame`` with the columns of :data:`SCHEMA`, or refuse it.

    High and low that miss open or close by no more than :data:`RANGE_TOLERANCE` are widened to
    hold them, see :func:`round_range`.

    Parameters
    ----------
    frame
        Columns named and typed as in :data:`SCHEMA`; a column :data:`ROW` holds row numbers for
        messages (by default rows are counted from 1); further columns are dropped.
    source
        What to call the data in messages: a path or the name of a data set.
    today
        Refuse bars after this date; by default dates are not compared with today.

    Raises
    ------
    DataError
        Naming the source, the first bad row (with its date) and the fix.
    """
    refuse_errors(_misshapen(frame), source=source)
    table = _table(frame)
    refuse_errors(_errors(table, today), source=source)
    return round_range(table).select(SCHEMA.names())


def inspect_bars(
    frame: pl.DataFrame, *, calendar: str | None = None, today: dt.date | None = None
) -> tuple[Finding, ...]:
    """List all that is wrong in bars, or where nothing is, all that is odd, with all rows.

    Parameters
    ----------
    frame
        As for :func:`validate_bars`.
    calendar
        The exchange calendar to compare dates with (``XNYS``); none, and gaps are not looked for.
    today
        Bars after this date are errors and the bar of this date is a warning; by default dates are
        not compared with today.

    Raises
    ------
    DataError
        If there is no such calendar.
    """
    misshapen = _misshapen(frame)
    if misshapen:
        return misshapen
    table = _table(frame)
    errors = tuple(_errors(table, today))
    # Beside errors much is odd that is their doing: sessions missing, jumps, few bars.
    return errors or tuple(find_oddities(table, calendar, today))


def require_columns(frame: pl.DataFrame, names: tuple[str, ...], *, source: str) -> None:
    """Check that columns are there.

    Raises
    ------
    DataError
        Naming those that are not, and those that are.
    """
    refuse_errors(_missing_columns(frame.columns, names), source=source)


def needs_rounding(bars: pl.DataFrame) -> pl.Series:
    """Tell for each bar whether high and low, as they stand, miss open or close."""
    return bars.select(
        (pl.col("high") < pl.max_horizontal("open", "close", "low"))
        | (pl.col("low") > pl.min_horizontal("open", "close"))
    ).to_series()


def round_range(bars: pl.DataFrame) -> pl.DataFrame:
    """Widen high and low to hold open and close; bars that do so already stay as they are."""
    return bars.with_columns(
        high=pl.max_horizontal("high", "open", "close"),
        low=pl.min_horizontal("low", "open", "close"),
    )


def _misshapen(frame: pl.DataFrame) -> tuple[Finding, ...]:
    """Return why this cannot be a table of the bars of one symbol."""
    missing = _missing_columns(frame.columns, tuple(SCHEMA))
    if missing:
        return missing
    if frame.is_empty():
        return (Finding("no_rows", "error", "no rows", "give at least a few hundred bars"),)
    symbols = frame["symbol"].unique(maintain_order=True).to_list()
    if len(symbols) > 1:
        message = f"holds {len(symbols)} symbols ({', '.join(map(str, symbols[:5]))})"
        return (Finding("several_symbols", "error", message, "choose one with data.symbols"),)
    return ()


def _table(frame: pl.DataFrame) -> pl.DataFrame:
    rows = pl.col(ROW) if ROW in frame.columns else pl.int_range(1, pl.len() + 1).alias(ROW)
    return frame.select(*(pl.col(name).cast(kind) for name, kind in SCHEMA.items()), rows)


def _missing_columns(found: list[str], names: tuple[str, ...]) -> tuple[Finding, ...]:
    missing = [name for name in names if name not in found]
    fix = f"needed are {', '.join(names)} (found {', '.join(found) or 'none'})"
    message = f"no column {', '.join(missing)}"
    return (Finding("missing_column", "error", message, fix),) if missing else ()


def _errors(table: pl.DataFrame, today: dt.date | None) -> Iterator[Finding]:
    is_bad = table.select(
        rule.bad.fill_null(value=False).alias(str(at)) for at, rule in enumerate(RULES)
    )
    for at, rule in enumerate(RULES):
        rows, dates = rows_where(table, is_bad[str(at)])
        if rows:
            yield Finding(rule.kind, "error", rule.message, rule.fix, rows, dates)
    if today is not None:
        rows, dates = rows_where(table, table["date"] > today)
        if rows:
            message = f"date is after today ({today})"
            fix = "correct it or drop the row (--repair drop_future)"
            yield Finding("future_bar", "error", message, fix, rows, dates)
