"""Durations of regimes: how long since something happened, counted up to a limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    rolling_max,
    rolling_mean,
    rolling_min,
)
from finscale.features.runs import run_length, side, signed_run
from finscale.market.bars import OHLCV, FloatArray

_ENGLE = "Engle & Russell (1998), Econometrica 66(5), durations between events"
_LUNDE = "Lunde & Timmermann (2004), J. Business & Economic Statistics 22(3)"
_SCHWERT = "Schwert (1989), J. Finance 44(5), states of volatility"


@feature(
    family="regime",
    meaning="bars since the high last reached 1% above the close before, up to {most}",
    formula="bars since H_t / C_{{t-1}} >= 1.01, over {most}",
    reference=_ENGLE,
    inputs=["high", "close"],
    lookback_bars=lambda most: most,
    over=(20,),
)
def bars_since_one_percent_rise(bars: OHLCV, most: int) -> FloatArray:
    """Return the time since the high came 1% above the last close, in [0, 1]."""
    ratio = bars.high / lagged(bars.close, 1)
    return _bars_since(ratio >= 1.01, ratio, most)


@feature(
    family="regime",
    meaning="bars since the low last fell 1% below the close before, up to {most}",
    formula="bars since L_t / C_{{t-1}} <= 0.99, over {most}",
    reference=_ENGLE,
    inputs=["low", "close"],
    lookback_bars=lambda most: most,
    over=(20,),
)
def bars_since_one_percent_fall(bars: OHLCV, most: int) -> FloatArray:
    """Return the time since the low came 1% below the last close, in [0, 1]."""
    ratio = bars.low / lagged(bars.close, 1)
    return _bars_since(ratio <= 0.99, ratio, most)


@feature(
    family="regime",
    meaning="bars since the close last moved by 2% or more, up to {most}",
    formula="bars since |C_t / C_{{t-1}} - 1| >= 0.02, over {most}",
    reference=_ENGLE,
    inputs=["close"],
    lookback_bars=lambda most: most,
    over=(60,),
)
def bars_since_two_percent_move(bars: OHLCV, most: int) -> FloatArray:
    """Return the time since the last move of 2%, in [0, 1]."""
    change = _change(bars)
    return _bars_since(np.abs(change) >= 0.02, change, most)


@feature(
    family="regime",
    meaning="bars since the close last rose by 3% or more, up to {most}",
    formula="bars since C_t / C_{{t-1}} - 1 >= 0.03, over {most}",
    reference=_ENGLE,
    inputs=["close"],
    lookback_bars=lambda most: most,
    over=(250,),
)
def bars_since_three_percent_rise(bars: OHLCV, most: int) -> FloatArray:
    """Return the time since the last rise of 3%, in [0, 1]."""
    change = _change(bars)
    return _bars_since(change >= 0.03, change, most)


@feature(
    family="regime",
    meaning="bars since the close last fell by 3% or more, up to {most}",
    formula="bars since C_t / C_{{t-1}} - 1 <= -0.03, over {most}",
    reference=_ENGLE,
    inputs=["close"],
    lookback_bars=lambda most: most,
    over=(250,),
)
def bars_since_three_percent_fall(bars: OHLCV, most: int) -> FloatArray:
    """Return the time since the last fall of 3%, in [0, 1]."""
    change = _change(bars)
    return _bars_since(change <= -0.03, change, most)


@feature(
    family="regime",
    meaning="bars since the last return beyond two deviations of {n} bars, up to {most}",
    formula="bars since |r| > 2 sqrt(mean_{n}(r^2)), over {most}",
    reference=_ENGLE,
    inputs=["close"],
    lookback_bars=lambda n, most: n + most - 1,
    over=[(120, 60)],
)
def bars_since_extreme_return(bars: OHLCV, n: int, most: int) -> FloatArray:
    """Return the time since the last extreme return, in [0, 1]."""
    deviation = np.sqrt(rolling_mean(bars.log_return**2, n))
    return _bars_since(np.abs(bars.log_return) > 2 * deviation, deviation, most)


@feature(
    family="regime",
    meaning="which came last in {most} bars, a fall by 5% or a rise by 5% from a {n}-bar extreme",
    formula="(bars since C <= 0.95 max_{n}(H) - bars since C >= 1.05 min_{n}(L)) / {most}",
    reference=_LUNDE,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n, most: n + most - 2,
    over=[(20, 120)],
)
def swing_regime(bars: OHLCV, n: int, most: int) -> FloatArray:
    """Return the bull or bear state by swings of 5%, in [-1, 1], positive after a rise."""
    return _swing_regime(bars, n, most, 0.05)


@feature(
    family="regime",
    meaning="which came last in {most} bars, a fall by 10% or a rise by 10% from a {n}-bar extreme",
    formula="(bars since C <= 0.9 max_{n}(H) - bars since C >= 1.1 min_{n}(L)) / {most}",
    reference=_LUNDE,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n, most: n + most - 2,
    over=[(60, 190)],
)
def market_phase(bars: OHLCV, n: int, most: int) -> FloatArray:
    """Return the bull or bear state by swings of 10%, in [-1, 1], positive after a rise."""
    return _swing_regime(bars, n, most, 0.1)


@feature(
    family="regime",
    meaning="bars for which the {n}-bar return has been positive, or negative, up to {most}",
    formula="signed run of C_t > C_{{t-{n}}} or C_t < C_{{t-{n}}}, over {most}",
    reference="Moskowitz, Ooi & Pedersen (2012), J. Financial Economics 104(2)",
    inputs=["close"],
    lookback_bars=lambda n, most: n + most - 1,
    over=[(120, 130)],
)
def momentum_duration(bars: OHLCV, n: int, most: int) -> FloatArray:
    """Return the signed age of the {n}-bar trend, in [-1, 1]."""
    return signed_run(np.sign(bars.close - lagged(bars.close, n)), most)


@feature(
    family="regime",
    meaning="bars since {fast}-bar volatility rose above that of {slow}, negative below, to {most}",
    formula="signed run of mean_{fast}(r^2) > mean_{slow}(r^2), over {most}",
    reference=_SCHWERT,
    inputs=["close"],
    lookback_bars=lambda _fast, slow, most: slow + most - 1,
    over=[(10, 120, 60)],
)
def volatility_regime_duration(bars: OHLCV, fast: int, slow: int, most: int) -> FloatArray:
    """Return the signed age of the state of volatility, in [-1, 1]; zero where it never moves."""
    squares = bars.log_return**2
    return signed_run(side(rolling_mean(squares, fast), rolling_mean(squares, slow)), most)


def _bars_since(event: NDArray[np.bool_], known: FloatArray, most: int) -> FloatArray:
    """Return the bars since an event over ``most``, which is where there was none among so many."""
    absent = np.where(np.isnan(known), np.nan, (~event).astype(np.float64))
    return absent * run_length(absent, most) / most


def _change(bars: OHLCV) -> FloatArray:
    return bars.close / lagged(bars.close, 1) - 1


def _swing_regime(bars: OHLCV, n: int, most: int, size: float) -> FloatArray:
    high, low = rolling_max(bars.high, n), rolling_min(bars.low, n)
    fall = _bars_since(bars.close <= (1 - size) * high, high, most)
    rise = _bars_since(bars.close >= (1 + size) * low, low, most)
    return fall - rise
