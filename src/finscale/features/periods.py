"""Weekly views of the daily bars: of complete weeks only, and of the close against them.

In the formulas w is the last week complete by session t, and O, H, L, C, V with w are of its bar.
"""

from __future__ import annotations

from collections.abc import Callable

from finscale.features import period_views as views
from finscale.features.period_bars import PeriodBars, lookback_bars, period_bars
from finscale.features.registry import feature
from finscale.market.bars import OHLCV, FloatArray

_ELDER = "Elder (1993), Trading for a Living, weekly charts"
_LEHMANN = "Lehmann (1990), Quarterly J. Economics 105(1), weekly returns"
_JEGADEESH = "Jegadeesh & Titman (1993), J. Finance 48(1)"
_PERSON = "Person (2004), A Complete Guide to Technical Trading Tactics, pivot points"
_WEINSTEIN = "Weinstein (1988), Secrets for Profiting in Bull and Bear Markets"
_PARKINSON = "Parkinson (1980), J. Business 53(1), range notation"


@feature(
    family="periods",
    meaning="log return since the close of the last complete week",
    formula="ln(C_t / C_w)",
    reference=_LEHMANN,
    inputs=["date", "close"],
    lookback_bars=lookback_bars("weekly", 0),
)
def week_to_date_return(bars: OHLCV) -> FloatArray:
    """Return the return since the last complete week; zero on the session that completes one."""
    return views.close_against(bars, _weekly(bars, 0, lambda weeks: weeks.close))


@feature(
    family="periods",
    meaning="log return of the last {n} complete weeks",
    formula="ln(C_w / C_{{w-{n}}})",
    reference=_JEGADEESH,
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(1, 4, 13),
)
def weekly_return(bars: OHLCV, n: int) -> FloatArray:
    """Return the log return of complete weeks."""
    return _weekly(bars, n, lambda weeks: views.log_return(weeks, n))


@feature(
    family="periods",
    meaning="place of the close in the range of the last complete week",
    formula="(C_w - L_w) / (H_w - L_w)",
    reference=_ELDER,
    inputs=["date", "high", "low", "close"],
    lookback_bars=lookback_bars("weekly", 1),
)
def weekly_close_position(bars: OHLCV) -> FloatArray:
    """Return where the week closed, in [0, 1]; one half in a flat week."""
    return _weekly(bars, 1, views.close_position)


@feature(
    family="periods",
    meaning="log of the range of the last complete week",
    formula="ln(ln(H_w / L_w))",
    reference=_PARKINSON,
    inputs=["date", "high", "low"],
    lookback_bars=lookback_bars("weekly", 1),
)
def log_weekly_range(bars: OHLCV) -> FloatArray:
    """Return the log of the week's log range."""
    return _weekly(bars, 1, views.log_range)


@feature(
    family="periods",
    meaning="range of the last complete week against the mean of {n}",
    formula="ln(R_w / mean_{n}(R)), R = ln(H / L) of weeks",
    reference=_PARKINSON,
    inputs=["date", "high", "low"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(13,),
)
def weekly_range_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log relative range, at least ln(0.001)."""
    return _weekly(bars, n, lambda weeks: views.range_ratio(weeks, n))


@feature(
    family="periods",
    meaning="log volatility of the last {n} weekly returns",
    formula="ln sqrt(mean_{n}(ln(C_w / C_{{w-1}})^2))",
    reference="Andersen, Bollerslev, Diebold & Labys (2001), J. Financial Economics 61(1)",
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(13,),
)
def log_weekly_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the root mean square weekly return."""
    return _weekly(bars, n, lambda weeks: views.log_volatility(weeks, n))


@feature(
    family="periods",
    meaning="place of the weekly close in the range of {n} complete weeks",
    formula="(C_w - min_{n}(L)) / (max_{n}(H) - min_{n}(L)), of weeks",
    reference="Lane (1984), Technical Analysis of Stocks & Commodities 2(3)",
    inputs=["date", "high", "low", "close"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(5, 14),
)
def weekly_stochastic(bars: OHLCV, n: int) -> FloatArray:
    """Return the weekly stochastic, in [0, 1]; one half in a flat range."""
    return _weekly(bars, n, lambda weeks: views.stochastic(weeks, n))


@feature(
    family="periods",
    meaning="distance of the weekly close from its average of {n} weeks",
    formula="C_w / SMA_{n}(C) - 1, of weeks",
    reference=_WEINSTEIN,
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(10,),
)
def weekly_sma_distance(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative distance from the weekly average."""
    return _weekly(bars, n, lambda weeks: views.average_distance(weeks, n))


@feature(
    family="periods",
    meaning="share of gains in the moves of {n} weeks",
    formula="sum_{n}(max(r, 0)) / sum_{n}(|r|), r = ln(C_w / C_{{w-1}})",
    reference="Wilder (1978), New Concepts in Technical Trading Systems, with simple averages",
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(14,),
)
def weekly_relative_strength(bars: OHLCV, n: int) -> FloatArray:
    """Return the weekly relative strength, in [0, 1]; one half without moves."""
    return _weekly(bars, n, lambda weeks: views.relative_strength(weeks, n))


@feature(
    family="periods",
    meaning="volume per session of the last complete week against the mean of {n}",
    formula="ln(V_w / mean_{n}(V)), V = mean volume per session, of weeks",
    reference="Karpoff (1987), J. Financial and Quantitative Analysis 22(1)",
    inputs=["date", "volume"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(13,),
)
def weekly_volume_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log relative volume, at least ln(0.001); zero without trade."""
    return _weekly(bars, n, lambda weeks: views.volume_ratio(weeks, n))


@feature(
    family="periods",
    meaning="share of rising weeks among the last {n}",
    formula="mean_{n}(C_w > C_{{w-1}})",
    reference=_LEHMANN,
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(13,),
)
def rising_week_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of rising weeks, in [0, 1]."""
    return _weekly(bars, n, lambda weeks: views.rising_share(weeks, n))


@feature(
    family="periods",
    meaning="weeks in a row that rose, or fell (negative), up to {most}",
    formula="signed run of C_w > C_{{w-1}} or C_w < C_{{w-1}}, over {most}",
    reference=_LEHMANN,
    inputs=["date", "close"],
    lookback_bars=lambda most: lookback_bars("weekly", most),
    over=(8,),
)
def weekly_streak(bars: OHLCV, most: int) -> FloatArray:
    """Return the signed length of the run of weeks, in [-1, 1]."""
    return _weekly(bars, most, lambda weeks: views.streak(weeks, most))


@feature(
    family="periods",
    meaning="correlation of weekly returns with those of the week before, over {n} weeks",
    formula="corr_{n}(r_w, r_{{w-1}}), r_w = ln(C_w / C_{{w-1}})",
    reference="Lo & MacKinlay (1990), Review of Financial Studies 3(2)",
    inputs=["date", "close"],
    lookback_bars=lambda n: lookback_bars("weekly", n + 1),
    over=(30,),
)
def weekly_autocorrelation(bars: OHLCV, n: int) -> FloatArray:
    """Return the autocorrelation of weekly returns; zero where they do not vary."""
    return _weekly(bars, n + 1, lambda weeks: views.autocorrelation(weeks, n))


@feature(
    family="periods",
    meaning="whether the last complete week closed outside the range of the week before",
    formula="(C_w > H_{{w-1}}) - (C_w < L_{{w-1}})",
    reference=_ELDER,
    inputs=["date", "high", "low", "close"],
    lookback_bars=lookback_bars("weekly", 2),
)
def weekly_breakout(bars: OHLCV) -> FloatArray:
    """Return 1 for a break upwards, -1 for one downwards, else 0."""
    return _weekly(bars, 2, views.breakout)


@feature(
    family="periods",
    meaning="what the ranges of the last two complete weeks share",
    formula="(min(H_w, H_{{w-1}}) - max(L_w, L_{{w-1}})) / (max(H) - min(L) of both)",
    reference="Steidlmayer & Koy (1986), Markets and Market Logic, overlapping value",
    inputs=["date", "high", "low"],
    lookback_bars=lookback_bars("weekly", 2),
)
def weekly_range_overlap(bars: OHLCV) -> FloatArray:
    """Return the overlap of the weeks, in [-1, 1]: negative where they are apart."""
    return _weekly(bars, 2, views.range_overlap)


@feature(
    family="periods",
    meaning="how much the ranges of {n} weeks cover one another",
    formula="1 - ln(max_{n}(H) / min_{n}(L)) / sum_{n}(ln(H_w / L_w))",
    reference="Dreiss (1992), in Colby (2003), Encyclopedia of Technical Market Indicators",
    inputs=["date", "high", "low"],
    lookback_bars=lambda n: lookback_bars("weekly", n),
    over=(8,),
)
def weekly_choppiness(bars: OHLCV, n: int) -> FloatArray:
    """Return the choppiness, in [0, 1): small in a trend; zero in a flat market."""
    return _weekly(bars, n, lambda weeks: views.choppiness(weeks, n))


@feature(
    family="periods",
    meaning="log distance of the close from the high of the last complete week",
    formula="ln(C_t / H_w)",
    reference=_PERSON,
    inputs=["date", "high", "close"],
    lookback_bars=lookback_bars("weekly", 1),
)
def close_to_weekly_high(bars: OHLCV) -> FloatArray:
    """Return how far the close stands above last week's high."""
    return views.close_against(bars, _weekly(bars, 1, lambda weeks: weeks.high))


@feature(
    family="periods",
    meaning="log distance of the close from the low of the last complete week",
    formula="ln(C_t / L_w)",
    reference=_PERSON,
    inputs=["date", "low", "close"],
    lookback_bars=lookback_bars("weekly", 1),
)
def close_to_weekly_low(bars: OHLCV) -> FloatArray:
    """Return how far the close stands above last week's low."""
    return views.close_against(bars, _weekly(bars, 1, lambda weeks: weeks.low))


def _weekly(bars: OHLCV, n_weeks: int, view: Callable[[PeriodBars], FloatArray]) -> FloatArray:
    """Return for each session the view of the last complete week, which reads ``n_weeks``."""
    weeks = period_bars(bars, "weekly")
    return weeks.by_session(view(weeks), lookback_bars("weekly", n_weeks))
