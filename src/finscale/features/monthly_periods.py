"""Monthly views of the daily bars: of complete months only, and of the close against them.

In the formulas m is the last month complete by session t, and O, H, L, C, V with m are of its bar.
"""

from __future__ import annotations

from collections.abc import Callable

from finscale.features import period_views as views
from finscale.features.period_bars import PeriodBars, lookback_bars, period_bars
from finscale.features.registry import feature
from finscale.features.rolling import lagged, lagged_log_ratio
from finscale.market.bars import OHLCV, FloatArray

_JEGADEESH = "Jegadeesh & Titman (1993), J. Finance 48(1)"
_REVERSAL = "Jegadeesh (1990), J. Finance 45(3), monthly returns"
_PERSON = "Person (2004), A Complete Guide to Technical Trading Tactics, pivot points"
_PARKINSON = "Parkinson (1980), J. Business 53(1), range notation"
_FABER = "Faber (2007), J. Wealth Management 9(4)"


@feature(
    family="periods",
    meaning="log return since the close of the last complete month",
    formula="ln(C_t / C_m)",
    reference=_REVERSAL,
    inputs=["date", "close"],
    lookback_bars=lookback_bars("monthly", 0),
)
def month_to_date_return(bars: OHLCV) -> FloatArray:
    """Return the return since the last complete month; zero on the session that completes one."""
    return views.close_against(bars, _monthly(bars, 0, lambda months: months.close))


@feature(
    family="periods",
    meaning="log return of the last {n} complete months",
    formula="ln(C_m / C_{{m-{n}}})",
    reference=_JEGADEESH,
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("monthly", n),
    over=(1, 3, 6),
)
def monthly_return(bars: OHLCV, n: int) -> FloatArray:
    """Return the log return of complete months."""
    return _monthly(bars, n, lambda months: views.log_return(months, n))


@feature(
    family="periods",
    meaning="log return of the {n} months before the last complete one",
    formula="ln(C_{{m-1}} / C_{{m-1-{n}}})",
    reference=_JEGADEESH + ", momentum that skips the last month",
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("monthly", n + 1),
    over=(1, 6),
)
def earlier_monthly_return(bars: OHLCV, n: int) -> FloatArray:
    """Return the log return of complete months, without the last one."""
    return _monthly(
        bars,
        n + 1,
        lambda months: lagged_log_ratio(lagged(months.close, 1), months.close, n + 1),
    )


@feature(
    family="periods",
    meaning="place of the close in the range of the last complete month",
    formula="(C_m - L_m) / (H_m - L_m)",
    reference=_PERSON,
    inputs=["date", "high", "low", "close"],
    lookback_bars=lookback_bars("monthly", 1),
)
def monthly_close_position(bars: OHLCV) -> FloatArray:
    """Return where the month closed, in [0, 1]; one half in a flat month."""
    return _monthly(bars, 1, views.close_position)


@feature(
    family="periods",
    meaning="log of the range of the last complete month",
    formula="ln(ln(H_m / L_m))",
    reference=_PARKINSON,
    inputs=["date", "high", "low"],
    lookback_bars=lookback_bars("monthly", 1),
)
def log_monthly_range(bars: OHLCV) -> FloatArray:
    """Return the log of the month's log range."""
    return _monthly(bars, 1, views.log_range)


@feature(
    family="periods",
    meaning="range of the last complete month against the mean of {n}",
    formula="ln(R_m / mean_{n}(R)), R = ln(H / L) of months",
    reference=_PARKINSON,
    inputs=["date", "high", "low"],
    lookback_bars=lambda n: lookback_bars("monthly", n),
    over=(6,),
)
def monthly_range_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log relative range, at least ln(0.001)."""
    return _monthly(bars, n, lambda months: views.range_ratio(months, n))


@feature(
    family="periods",
    meaning="log volatility of the last {n} monthly returns",
    formula="ln sqrt(mean_{n}(ln(C_m / C_{{m-1}})^2))",
    reference="Schwert (1989), J. Finance 44(5)",
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("monthly", n),
    over=(7,),
)
def log_monthly_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the root mean square monthly return."""
    return _monthly(bars, n, lambda months: views.log_volatility(months, n))


@feature(
    family="periods",
    meaning="distance of the monthly close from its average of {n} months",
    formula="C_m / SMA_{n}(C) - 1, of months",
    reference=_FABER,
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("monthly", n),
    over=(7,),
)
def monthly_sma_distance(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative distance from the monthly average."""
    return _monthly(bars, n, lambda months: views.average_distance(months, n))


@feature(
    family="periods",
    meaning="volume per session of the last complete month against the mean of {n}",
    formula="ln(V_m / mean_{n}(V)), V = mean volume per session, of months",
    reference="Karpoff (1987), J. Financial and Quantitative Analysis 22(1)",
    inputs=["date", "volume"],
    lookback_bars=lambda n: lookback_bars("monthly", n),
    over=(6,),
)
def monthly_volume_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log relative volume, at least ln(0.001); zero without trade."""
    return _monthly(bars, n, lambda months: views.volume_ratio(months, n))


@feature(
    family="periods",
    meaning="what the ranges of the last two complete months share",
    formula="(min(H_m, H_{{m-1}}) - max(L_m, L_{{m-1}})) / (max(H) - min(L) of both)",
    reference="Steidlmayer & Koy (1986), Markets and Market Logic, overlapping value",
    inputs=["date", "high", "low"],
    lookback_bars=lookback_bars("monthly", 2),
)
def monthly_range_overlap(bars: OHLCV) -> FloatArray:
    """Return the overlap of the months, in [-1, 1]: negative where they are apart."""
    return _monthly(bars, 2, views.range_overlap)


@feature(
    family="periods",
    meaning="log distance of the close from the high of the last complete month",
    formula="ln(C_t / H_m)",
    reference=_PERSON,
    inputs=["date", "high", "close"],
    lookback_bars=lookback_bars("monthly", 1),
)
def close_to_monthly_high(bars: OHLCV) -> FloatArray:
    """Return how far the close stands above last month's high."""
    return views.close_against(bars, _monthly(bars, 1, lambda months: months.high))


@feature(
    family="periods",
    meaning="log distance of the close from the low of the last complete month",
    formula="ln(C_t / L_m)",
    reference=_PERSON,
    inputs=["date", "low", "close"],
    lookback_bars=lookback_bars("monthly", 1),
)
def close_to_monthly_low(bars: OHLCV) -> FloatArray:
    """Return how far the close stands above last month's low."""
    return views.close_against(bars, _monthly(bars, 1, lambda months: months.low))


def _monthly(bars: OHLCV, n_months: int, view: Callable[[PeriodBars], FloatArray]) -> FloatArray:
    """Return for each session the view of the last complete month, which reads ``n_months``."""
    months = period_bars(bars, "monthly")
    return months.by_session(view(months), lookback_bars("monthly", n_months))
