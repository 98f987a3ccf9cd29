"""Raw and adjusted prices: never mixed, and adjusted only when asked to."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from finscale.market.bars import PRICES
from finscale.market.findings import ROW, rows_where
from finscale.market.symbol_bars import Finding

# Adj Close and Close are rounded to some decimals each.
_SAME = 1e-4
# Below this, a stock dividend cannot be told from a large cash dividend.
_CLEAR_SPLIT = 1.2


def adjust_prices(bars: pl.DataFrame, *, splits_in_prices: bool) -> pl.DataFrame:
    """Put prices on the basis of the adjusted close.

    Open, high, low and close are multiplied by adj_close / close of their row. What that means is
    the file's matter:

    - Yahoo (also yfinance with ``auto_adjust=False``): Open, High, Low, Close and Volume are
      adjusted for splits already; Adj Close is adjusted for splits, dividends and capital gains.
      So the factor adds the dividends, Stock Splits is only a record, and volume stays.
    - Alpha Vantage: open, high, low, close and volume are as traded; adjusted_close is adjusted for
      splits and dividends. Volume is divided by the splits' part of the factor: multiplied by the
      product of the split coefficients of all later rows, so that shares count as in the last row.

    Parameters
    ----------
    bars
        Sorted, with open, high, low, close, adj_close, volume and, if the file has it, split: the
        number of new shares for an old one, on the first day they trade; 0, 1 or null on others.
    splits_in_prices
        Whether prices and volume are adjusted for splits already.
    """
    factor = pl.col("adj_close") / pl.col("close")
    adjusted = bars.with_columns(pl.col(name) * factor for name in PRICES)
    if splits_in_prices or "split" not in bars.columns:
        return adjusted
    return adjusted.with_columns(
        volume=pl.col("volume") * _split().cum_prod(reverse=True).shift(-1, fill_value=1.0)
    )


def find_adjustment_faults(
    bars: pl.DataFrame, *, splits_in_prices: bool, names: Mapping[str, str]
) -> tuple[Finding, ...]:
    """List why prices cannot be adjusted: errors.

    A split of 1.2 and more shows in adj_close / close exactly where prices are not adjusted for it;
    where it shows and should not, or the other way round, the file is not what it seems.

    Parameters
    ----------
    bars, splits_in_prices
        As for :func:`adjust_prices`, with row numbers.
    names
        What the file calls its columns.
    """
    name = names["adj_close"]
    usable = pl.col("adj_close").is_finite() & (pl.col("adj_close") > 0)
    rows, dates = rows_where(bars, ~bars.select(usable.fill_null(value=False)).to_series())
    findings = []
    if rows:
        fix = "fill it in, drop the row, or take prices as given (--prices as-given)"
        message = f"{name} is not a positive number"
        findings.append(Finding("bad_adj_close", "error", message, fix, rows, dates))
    if "split" not in bars.columns:
        return tuple(findings)
    step = _step()
    shows = (step + _split().log()).abs() < step.abs()
    is_clear = _split().log().abs() >= math.log(_CLEAR_SPLIT)
    rows, dates = rows_where(bars, bars.select(is_clear & (shows == splits_in_prices)).to_series())
    if rows:
        value = bars.filter(pl.col(ROW) == rows[0])["split"][0]
        state = "are not adjusted" if splits_in_prices else "are adjusted"
        message = f"{names['split']} is {value:g} and prices {state} for it, contrary to the layout"
        fix = "name the file's layout (--layout), or take prices as given (--prices as-given)"
        findings.append(Finding("split_mismatch", "error", message, fix, rows, dates))
    return tuple(findings)


def find_unnamed_splits(bars: pl.DataFrame, *, name: str) -> tuple[Finding, ...]:
    """Warn of steps in adj_close / close as of splits, where the file names no splits.

    Prices are brought to one basis, but volume counts other shares before than after, and nothing
    tells a split from a large dividend.

    Parameters
    ----------
    bars
        With close, adj_close and row numbers; split, if the file has it.
    name
        What the file calls its adjusted close.
    """
    if "split" in bars.columns:
        return ()
    is_step = _step().abs() >= math.log(_CLEAR_SPLIT)
    rows, dates = rows_where(bars, bars.select(is_step.fill_null(value=False)).to_series())
    if not rows:
        return ()
    message = f"{name} / close steps by {_CLEAR_SPLIT:g} or more, as in a split, and the file names"
    message += " no splits: prices are adjusted for it, and volume is not"
    fix = "take a file with a column of splits, or trust no feature of volume"
    return (Finding("unnamed_split", "warning", message, fix, rows, dates),)


def find_unused_adjustment(bars: pl.DataFrame, *, name: str) -> tuple[Finding, ...]:
    """Warn that prices are taken as given although the adjusted close differs.

    Parameters
    ----------
    bars
        With close and adj_close, and row numbers.
    name
        What the file calls its adjusted close.
    """
    ratio = (pl.col("adj_close") / pl.col("close") - 1).abs()
    table = bars.with_columns(ratio=pl.when(ratio.is_finite()).then(ratio))
    rows, dates = rows_where(table, table["ratio"] > _SAME)
    if not rows:
        return ()
    most_frac = table.select(pl.col("ratio").max()).item()
    message = f"{name} differs from the close (by up to {most_frac:.1%}) and is not used"
    fix = "for returns with dividends take --prices adjusted"
    return (Finding("unused_adjustment", "warning", message, fix, rows, dates),)


def find_adjusted_by_source(*, can_be_plain: bool) -> tuple[Finding, ...]:
    """Warn that prices are not as traded, although nobody asked for adjusted ones.

    Parameters
    ----------
    can_be_plain
        Whether the file has another layout in which its prices are taken as traded.
    """
    message = "prices are adjusted already: yfinance does so (auto_adjust) where there is no "
    message += "Adj Close"
    fix = "for prices as traded take a file made with auto_adjust=False"
    fix += ", or say that these are (--layout plain)" if can_be_plain else ""
    return (Finding("adjusted_by_source", "warning", message, fix),)


def _step() -> pl.Expr:
    """Return the log by which adj_close / close falls from the row before to this one."""
    factor = (pl.col("adj_close") / pl.col("close")).log()
    return factor.shift() - factor


def _split() -> pl.Expr:
    """Return the split of each row, 1 where there is none."""
    split = pl.col("split")
    return pl.when(split.is_finite() & (split > 0)).then(split).otherwise(1.0)
