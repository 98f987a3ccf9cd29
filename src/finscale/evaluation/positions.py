"""Positions from forecasts: of one symbol at a time, and across the symbols of a date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from finscale.evaluation.bootstrap import FloatArray

# Shares of the validation rows that a threshold may leave out of the market.
_FLAT_FRACS = tuple(k / 10 for k in range(10))


@dataclass(frozen=True)
class PositionRule:
    """How a forecast becomes a position in 0 … 1 of one symbol.

    Attributes
    ----------
    threshold
        Forecast, a probability or a mean return, at which the position begins.
    scale
        Rise of the forecast over which it grows to 1; 0 for all or nothing.
    sign
        1 where a high forecast is a reason to be in the market, -1 where it is one to leave.
    """

    threshold: float
    scale: float
    sign: int

    def apply(self, forecast: npt.ArrayLike) -> FloatArray:
        """Return positions within [0, 1]; NaN where there is no forecast."""
        above = self.sign * (np.asarray(forecast, dtype=np.float64) - self.threshold)
        if self.scale == 0.0:
            return np.where(np.isnan(above), np.nan, (above >= 0.0).astype(np.float64))
        return np.asarray(np.clip(above / self.scale, 0.0, 1.0))


def choose_position_rule(
    forecast_TN: FloatArray, return_TN: FloatArray, *, cost_bps: float, proportional: bool = False
) -> PositionRule:
    """Choose a rule on validation rows: the one with the highest Sharpe ratio after costs.

    Tried are thresholds at every tenth of the validation forecasts, in both directions: a
    probability of a large move is a forecast of volatility as much as of a rise. A proportional
    position grows from the threshold over the distance between the first and last decile. Ties
    (and validation rows that say nothing) go to the rule that is most in the market. The choice is
    made by the return, which makes it optimistic on validation; judge it on test.

    Parameters
    ----------
    forecast_TN
        Forecasts by date and symbol, NaN where there is none.
    return_TN
        Return of holding from the decision's execution to the next, NaN where unknown.
    cost_bps
        Cost of trading the full amount once, in hundredths of a per cent.
    proportional
        Whether positions between 0 and 1 are held.

    Raises
    ------
    ValueError
        If there is no forecast.
    """
    known = forecast_TN[~np.isnan(forecast_TN)]
    if known.size == 0:
        raise ValueError("no validation forecasts to choose a threshold from")
    first, last = np.quantile(known, [0.1, 0.9])
    scale = float(last - first) if proportional else 0.0
    # Thresholds are forecasts that occurred, so that a rule says where it was tried.
    thresholds = {
        sign: np.quantile(sign * known, _FLAT_FRACS, method="inverted_cdf") * sign
        for sign in (1, -1)
    }
    candidates = [
        PositionRule(float(thresholds[sign][k]), scale, sign)
        for k in range(len(_FLAT_FRACS))
        for sign in (1, -1)
    ]
    sharpe = [
        sharpe_ratio(portfolio_returns(spread_evenly(rule.apply(forecast_TN)), return_TN, cost_bps))
        for rule in candidates
    ]
    return candidates[int(np.argmax(sharpe))]


def spread_evenly(position_TN: FloatArray) -> FloatArray:
    """Return weights: each date's positions divided by the number of symbols it has."""
    present_TN = ~np.isnan(position_TN)
    n_T1 = np.maximum(present_TN.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(present_TN, position_TN, 0.0) / n_T1)


def decile_weights(forecast_TN: FloatArray, *, n_groups: int = 10) -> FloatArray:
    """Long the highest group of each date's symbols, short the lowest, equal weights in each.

    Each leg weighs 1. Tied symbols share a rank and stand or fall together; a date on which
    either leg is empty (too few symbols, or all forecasts equal) has no position.
    """
    rank_TN = stats.rankdata(forecast_TN, axis=1, nan_policy="omit")
    n_T1 = np.sum(~np.isnan(forecast_TN), axis=1, keepdims=True)
    # A symbol's place: the middle of its rank's slot on a scale from 0 to 1.
    place_TN = (rank_TN - 0.5) / np.maximum(n_T1, 1)
    return _legs(
        (place_TN > 1.0 - 1.0 / n_groups).astype(np.float64),
        (place_TN < 1.0 / n_groups).astype(np.float64),
    )


def forecast_weights(forecast_TN: FloatArray) -> FloatArray:
    """Long above each date's mean forecast, short below it, in proportion; each leg weighs 1."""
    known_TN = ~np.isnan(forecast_TN)
    n_T1 = np.maximum(known_TN.sum(axis=1, keepdims=True), 1)
    mean_T1 = np.where(known_TN, forecast_TN, 0.0).sum(axis=1, keepdims=True) / n_T1
    above_TN = np.where(known_TN, forecast_TN - mean_T1, 0.0)
    # A difference that rounding makes is no forecast.
    above_TN = np.where(np.abs(above_TN) > 1e-12, above_TN, 0.0)
    return _legs(np.maximum(above_TN, 0.0), np.maximum(-above_TN, 0.0))


def portfolio_returns(weight_TN: FloatArray, return_TN: FloatArray, cost_bps: float) -> FloatArray:
    """Return of each date's weights, less the cost of getting from the weights before to these.

    Trading starts from no position. Between two dates weights are taken to be constant: the
    trades that keep them so are not charged. A symbol whose return is unknown earns nothing.
    """
    earned_T = np.einsum("tn,tn->t", weight_TN, np.nan_to_num(return_TN))
    return np.asarray(earned_T - turnover(weight_TN) * cost_bps / 1e4)


def turnover(weight_TN: FloatArray) -> FloatArray:
    """Sum of absolute changes of weights on each date, from no position before the first."""
    before_TN = np.concatenate([np.zeros((1, weight_TN.shape[1])), weight_TN[:-1]])
    return np.asarray(np.abs(weight_TN - before_TN).sum(axis=1))


def sharpe_ratio(return_T: FloatArray) -> float:
    """Mean over standard deviation of the returns, not annualised; 0 where they do not vary."""
    deviation = float(return_T.std())
    return float(return_T.mean()) / deviation if deviation > 1e-12 else 0.0


def _legs(long_TN: FloatArray, short_TN: FloatArray) -> FloatArray:
    long_T1, short_T1 = long_TN.sum(axis=1, keepdims=True), short_TN.sum(axis=1, keepdims=True)
    both_T1 = (long_T1 > 0.0) & (short_T1 > 0.0)
    share_TN = np.where(both_T1, long_TN / np.where(both_T1, long_T1, 1.0), 0.0)
    return np.asarray(
        share_TN - np.where(both_T1, short_TN / np.where(both_T1, short_T1, 1.0), 0.0)
    )
