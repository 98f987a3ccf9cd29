"""What positions would have earned: returns, risk, and how much of it selection explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from finscale.evaluation.bootstrap import FloatArray, Resampling, block_length, resample
from finscale.evaluation.estimate import Estimate
from finscale.evaluation.positions import portfolio_returns, sharpe_ratio, turnover

TRADING_DAYS = 252

_EULER = 0.5772156649015329


@dataclass(frozen=True)
class Backtest:
    """What one strategy earned after costs; rates are fractions per year.

    Attributes
    ----------
    n_dates
        Dates on which a return was earned or could have been.
    annual_return
        Geometric: what one unit of capital grew by, to the power of a year.
    annual_volatility, sharpe
        Standard deviation and ratio of mean to it, of daily returns, annualised; no risk-free
        rate is taken off.
    max_drawdown
        Largest loss from a peak of the capital, as a fraction of it (0 or above).
    annual_turnover
        Sum of absolute changes of weights, per year; 2 is out and in again once.
    exposure
        Mean of the sum of absolute weights.
    deflated_sharpe
        Probability that the Sharpe ratio exceeds the best expected of ``n_trials`` strategies
        without skill; None where returns do not vary.
    sharpe_differences
        Annualised Sharpe ratio minus that of each strategy compared with, on resampled pairs.
    """

    name: str
    n_dates: int
    annual_return: float
    annual_volatility: float
    sharpe: Estimate
    max_drawdown: float
    annual_turnover: float
    exposure: float
    deflated_sharpe: float | None
    sharpe_differences: dict[str, Estimate]


def run_backtests(
    weights: dict[str, FloatArray],
    return_TN: FloatArray,
    *,
    cost_bps: float,
    n_trials: int,
    n_samples: int,
    seed: int,
    compared_with: tuple[str, ...] = (),
    confidence: float = 0.95,
    dates_per_year: float = TRADING_DAYS,
) -> tuple[Backtest, ...]:
    """Backtest strategies on the same dates and resamplings.

    Parameters
    ----------
    weights
        By strategy, weights by date and symbol, shape (T, N): a weight decided at the close of
        date t earns row t of ``return_TN``; see `holding_returns`.
    return_TN
        Simple returns, NaN where unknown. Dates on which no symbol has one are left out.
    cost_bps
        Cost of trading the full amount once, in hundredths of a per cent.
    n_trials
        Strategies tried, for the deflated Sharpe ratio: all of them, not those in ``weights`` alone
        (see `finscale.evaluation.economics.measure_economics` for what counts).
    n_samples, seed, confidence
        Of the bootstrap.
    compared_with
        Strategies whose Sharpe ratios the others' are compared with.
    dates_per_year
        Rows of ``return_TN`` in a year.

    Raises
    ------
    ValueError
        If no date has a return, or shapes differ.
    """
    used_T = ~np.isnan(return_TN).all(axis=1)
    if not used_T.any():
        raise ValueError("no date has a return to earn")
    for name, weight_TN in weights.items():
        if weight_TN.shape != return_TN.shape:
            raise ValueError(f"{name}: weights {weight_TN.shape}, returns {return_TN.shape}")
    held = {name: weight_TN[used_T] for name, weight_TN in weights.items()}
    earned_TK = np.column_stack(
        [portfolio_returns(one, return_TN[used_T], cost_bps) for one in held.values()]
    )
    drawn = resample(
        np.arange(earned_TK.shape[0]),
        mean_block=block_length(earned_TK, horizon_bars=1),
        n_samples=n_samples,
        seed=seed,
        confidence=confidence,
    )
    sharpe_SK = _sampled_sharpe(earned_TK, drawn)
    sharpe_K = np.array([sharpe_ratio(column_T) for column_T in earned_TK.T])
    year = np.sqrt(dates_per_year)
    names = list(weights)
    others = {name: names.index(name) for name in compared_with}
    return tuple(
        Backtest(
            name=name,
            n_dates=earned_TK.shape[0],
            annual_return=_annual_return(earned_TK[:, k], dates_per_year),
            annual_volatility=float(earned_TK[:, k].std() * year),
            sharpe=drawn.estimate(float(sharpe_K[k] * year), sharpe_SK[:, k] * year),
            max_drawdown=max_drawdown(earned_TK[:, k]),
            annual_turnover=float(turnover(held[name]).mean() * dates_per_year),
            exposure=float(np.abs(held[name]).sum(axis=1).mean()),
            deflated_sharpe=deflated_sharpe(earned_TK[:, k], n_trials=n_trials),
            sharpe_differences={
                other: drawn.estimate(
                    float((sharpe_K[k] - sharpe_K[j]) * year),
                    (sharpe_SK[:, k] - sharpe_SK[:, j]) * year,
                )
                for other, j in others.items()
                if j != k
            },
        )
        for k, name in enumerate(names)
    )


def holding_returns(close_TN: FloatArray, *, lag: int = 0) -> FloatArray:
    """Return what a position decided at each close earns until the next decision takes over.

    With a lag of 0 the position is taken at the close that the decision read, and held to the
    next: close[t+1] / close[t] - 1. With a lag of 1 it is taken one close later, when it can be
    traded on: close[t+2] / close[t+1] - 1. The last rows have no return yet (NaN).

    Parameters
    ----------
    close_TN
        Closes by date and symbol, NaN where a symbol did not trade.
    lag
        0 or more closes.
    """
    return_TN = np.full(close_TN.shape, np.nan)
    for column in range(close_TN.shape[1]):
        traded = np.flatnonzero(~np.isnan(close_TN[:, column]))
        close = close_TN[traded, column]
        step = close[1 + lag :] / close[lag : close.size - 1] - 1.0
        return_TN[traded[: step.size], column] = step
    return return_TN


def max_drawdown(return_T: FloatArray) -> float:
    """Largest fall of the compounded capital from a peak (the start counts), as a fraction."""
    capital_T = np.concatenate([[1.0], np.cumprod(1.0 + return_T)])
    peak_T = np.maximum.accumulate(capital_T)
    return float(np.max(1.0 - capital_T / peak_T))


def deflated_sharpe(
    return_T: FloatArray, *, n_trials: int, trial_variance: float | None = None
) -> float | None:
    """Probability that the Sharpe ratio exceeds what the best of many trials shows by chance.

    Bailey and López de Prado (2014, "The deflated Sharpe ratio", eq. 1 and 2): the probabilistic
    Sharpe ratio, corrected for skewness and kurtosis, against the expected maximum
    sqrt(V) ((1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e))) of N trials without skill.

    Parameters
    ----------
    return_T
        Returns per period; the ratio is per period too.
    n_trials
        N, at least 1 (1: against zero). The formula is for independent trials; to count trials that
        resemble each other in full makes the probability lower than it is.
    trial_variance
        V, the variance of the trials' Sharpe ratios per period; None: 1 / (T - 1), that of an
        estimate whose true ratio is 0.

    Returns
    -------
    float or None
        None where the returns do not vary or there are fewer than 3.

    Raises
    ------
    ValueError
        If ``n_trials`` is below 1.
    """
    if n_trials < 1:
        raise ValueError(f"n_trials must be at least 1, got {n_trials}")
    n = return_T.size
    if n < 3 or return_T.std() <= 1e-12:
        return None
    ratio = sharpe_ratio(return_T)
    variance = 1.0 / (n - 1) if trial_variance is None else trial_variance
    by_chance = 0.0
    if n_trials > 1:
        by_chance = float(
            np.sqrt(variance)
            * (
                (1.0 - _EULER) * stats.norm.ppf(1.0 - 1.0 / n_trials)
                + _EULER * stats.norm.ppf(1.0 - 1.0 / (n_trials * np.e))
            )
        )
    skewness = float(stats.skew(return_T))
    kurtosis = float(stats.kurtosis(return_T, fisher=False))
    # Positive for any sample: kurtosis is at least 1 + skewness².
    spread = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if spread <= 1e-12:
        return float(ratio > by_chance)
    return float(stats.norm.cdf((ratio - by_chance) * np.sqrt(n - 1.0) / np.sqrt(spread)))


def _annual_return(return_T: FloatArray, dates_per_year: float) -> float:
    growth = float(np.prod(1.0 + return_T))
    # A loss of everything, or more, stays one.
    return growth ** (dates_per_year / return_T.size) - 1.0 if growth > 0.0 else -1.0


def _sampled_sharpe(return_TK: FloatArray, drawn: Resampling) -> FloatArray:
    n_models = return_TK.shape[1]
    # About the overall mean, so that squares do not cancel.
    centre_K = return_TK.mean(axis=0)
    moved_TK = return_TK - centre_K
    mean_SM = drawn.means(np.column_stack([moved_TK, moved_TK**2]))
    shift_SK, square_SK = mean_SM[:, :n_models], mean_SM[:, n_models:]
    variance_SK = np.maximum(square_SK - shift_SK**2, 0.0)
    still_SK = variance_SK <= 1e-24
    ratio_SK = (shift_SK + centre_K) / np.sqrt(np.where(still_SK, 1.0, variance_SK))
    return np.asarray(np.where(still_SK, 0.0, ratio_SK))
