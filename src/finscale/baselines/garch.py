"""GARCH and GJR-GARCH, and the barrier by filtered historical simulation.

Bollerslev (1986); Glosten, Jagannathan & Runkle (1993). The variance of the next bar is

    σ²(t+1) = ω + (α + γ·[ε(t) < 0])·ε(t)² + β·σ²(t),  ε(t) = r(t) - μ

in percent². Parameters are estimated on the training rows, by `arch`, with Student-t innovations,
and frozen; the recursion then runs over every bar with them. AIC decides which of the two models it
is. Paths of the next h bars draw the training bars' moves in units of their forecast volatility,
the close's and the high's of a bar together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from arch import arch_model
from scipy.signal import lfilter

from finscale.baselines.barrier import needed_log_return, share_reaching, shares_between
from finscale.baselines.contract import Fitted
from finscale.baselines.folds import FloatArray, one_thread
from finscale.baselines.series import SymbolSeries, log_moves, symbol_series
from finscale.dataset.cell import CellData
from finscale.tasks import Task

PERCENT = 100.0
N_PATHS = 8192
# Volatilities that paths are simulated from; between them the probability is interpolated.
_N_LEVELS = 96
_REACH = 4.0
# Fewer do not tell four parameters apart.
_MIN_RETURNS = 100


@dataclass(frozen=True)
class GarchParameters:
    """Of the recursion above; ``gamma`` is zero in a GARCH."""

    mu: float
    omega: float
    alpha: float
    gamma: float
    beta: float


# RiskMetrics' (1996), for returns that no likelihood can be maximised on; with a trace of a floor,
# since the variance of a price that stands still would vanish.
_LEAST_VARIANCE = 1e-6
_RISK_METRICS = GarchParameters(mu=0.0, omega=_LEAST_VARIANCE, alpha=0.06, gamma=0.0, beta=0.94)


@dataclass(frozen=True)
class _Fit:
    """Parameters, and what the training bars did in units of their forecast volatility.

    Attributes
    ----------
    close_N, price_N
        Moves from the close before to the close, and to the price that the task looks at: pairs.
    start
        Variance of the training returns, which a recursion begins with.
    least, most
        Forecast volatilities of the training bars, percent.
    """

    parameters: GarchParameters
    close_N: FloatArray
    price_N: FloatArray
    start: float
    least: float
    most: float


def fit_garch(data: CellData, seed: int) -> Fitted:
    """Fit a model per symbol, and one to all for those whose training rows are few."""
    all_series = symbol_series(data)
    horizon_bars = data.cell.horizon_bars
    uniforms_PH = np.random.default_rng(seed).random((N_PATHS, horizon_bars))
    with one_thread():
        pooled = None if all(one.has_own for one in all_series) else _fit(all_series, data.task)
        fits = [_fit([one], data.task) if one.has_own else pooled for one in all_series]
        p_T = np.concatenate(
            [
                _probabilities(one, fit, data.task, uniforms_PH)
                if data.bins is None
                else _shares(one, fit, PERCENT * data.bins.inner_edges, uniforms_PH)
                for one, fit in zip(all_series, fits, strict=True)
                if fit is not None
            ]
        )
    gjr_frac = float(np.mean([fit is not None and fit.parameters.gamma != 0 for fit in fits]))
    return Fitted(lambda rows: p_T[rows], {"gjr_frac": gjr_frac})


def estimate(returns_N: FloatArray) -> GarchParameters:
    """Return the parameters of GARCH(1, 1) or GJR-GARCH(1, 1, 1), whichever has the lower AIC.

    Parameters
    ----------
    returns_N
        Percent. Where no likelihood can be maximised on them, the parameters are RiskMetrics'.
    """
    best, least = _RISK_METRICS, np.inf
    if len(returns_N) < _MIN_RETURNS or np.ptp(returns_N) == 0:
        return best
    for n_asymmetric in (0, 1):
        model = arch_model(returns_N, p=1, o=n_asymmetric, q=1, dist="t", rescale=False)
        result = model.fit(disp="off", show_warning=False)
        if result.convergence_flag == 0 and result.aic < least:
            least, found = result.aic, result.params
            best = GarchParameters(
                mu=float(found["mu"]),
                omega=float(found["omega"]),
                alpha=float(found["alpha[1]"]),
                gamma=float(found.get("gamma[1]", 0.0)),
                beta=float(found["beta[1]"]),
            )
    return best


def next_variance(returns_T: FloatArray, parameters: GarchParameters, start: float) -> FloatArray:
    """Return the variance forecast for row t + 1 at every row t, from the returns up to row t.

    ``start`` is the variance of row 0. The recursion is a linear filter of the shocks.
    """
    shock_T = parameters.omega + _shock(returns_T - parameters.mu, parameters)
    filtered, _ = lfilter([1.0], [1.0, -parameters.beta], shock_T, zi=[parameters.beta * start])
    return np.asarray(filtered)


def _shock(residual: FloatArray, parameters: GarchParameters) -> FloatArray:
    return (parameters.alpha + parameters.gamma * (residual < 0)) * residual**2


def _fit(series: Sequence[SymbolSeries], task: Task) -> _Fit:
    known = [one for one in series if one.stop_seen > one.first_seen + 1]
    seen_N = np.concatenate([_returns(one)[_seen(one)] for one in known])
    parameters, start = estimate(seen_N), max(float(np.var(seen_N)), _LEAST_VARIANCE)
    sigmas, closes, prices = [], [], []
    for one in known:
        variance_T = next_variance(_returns(one), parameters, start)
        # A bar's variance is what was forecast at the bar before.
        sigma_N = np.sqrt(np.concatenate([[start], variance_T[:-1]])[_seen(one)])
        price_T = PERCENT * log_moves(getattr(one.bars, task.price), one.bars.close)
        sigmas.append(sigma_N)
        closes.append((_returns(one)[_seen(one)] - parameters.mu) / sigma_N)
        prices.append((price_T[_seen(one)] - parameters.mu) / sigma_N)
    sigma_N = np.concatenate(sigmas)
    return _Fit(
        parameters,
        np.concatenate(closes),
        np.concatenate(prices),
        start,
        float(sigma_N.min()),
        float(sigma_N.max()),
    )


def _returns(one: SymbolSeries) -> FloatArray:
    """Return the log-return of every bar, percent; zero in the first row."""
    return PERCENT * log_moves(one.bars.close, one.bars.close)


def _seen(one: SymbolSeries) -> slice:
    """Return the rows whose returns the training windows hold."""
    return slice(one.first_seen + 1, one.stop_seen)


def _probabilities(one: SymbolSeries, fit: _Fit, task: Task, uniforms_PH: FloatArray) -> FloatArray:
    """Return the probability of label 1 at every row of a symbol."""
    sigma_T = np.sqrt(next_variance(_returns(one), fit.parameters, fit.start))
    needed = PERCENT * needed_log_return(task)
    if uniforms_PH.shape[1] == 1:
        return share_reaching(fit.price_N, (needed - fit.parameters.mu) / sigma_T)
    levels = _levels(fit)
    p = [_simulate(level, fit, needed, task, uniforms_PH) for level in levels]
    return np.interp(np.log(sigma_T), np.log(levels), p)


def _shares(
    one: SymbolSeries, fit: _Fit, edges_J: FloatArray, uniforms_PH: FloatArray
) -> FloatArray:
    """Return the probability of every bin of the return, at every row of a symbol.

    ``edges_J`` are those between two bins, percent.
    """
    sigma_T = np.sqrt(next_variance(_returns(one), fit.parameters, fit.start))
    if uniforms_PH.shape[1] == 1:
        return shares_between(fit.close_N, (edges_J - fit.parameters.mu) / sigma_T[:, None])
    levels = _levels(fit)
    totals = [_paths(level, fit, uniforms_PH)[0] for level in levels]
    p_LK = np.concatenate([shares_between(total, edges_J[None]) for total in totals])
    at = np.log(sigma_T), np.log(levels)
    return np.column_stack([np.interp(*at, p_L) for p_L in p_LK.T])


def _levels(fit: _Fit) -> FloatArray:
    return np.geomspace(fit.least / _REACH, fit.most * _REACH, _N_LEVELS)


def _simulate(sigma: float, fit: _Fit, needed: float, task: Task, uniforms_PH: FloatArray) -> float:
    """Return the share of paths of h bars that reach what is needed, from one volatility."""
    total, highest = _paths(sigma, fit, uniforms_PH)
    reached = total if task.threshold_frac is None else highest
    return float((np.count_nonzero(reached >= needed) + 0.5) / (len(uniforms_PH) + 1))


def _paths(sigma: float, fit: _Fit, uniforms_PH: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the sum of every path's returns, and the highest price that it reaches, percent."""
    parameters = fit.parameters
    n_paths = len(uniforms_PH)
    variance = np.full(n_paths, sigma**2)
    total, highest = np.zeros(n_paths), np.full(n_paths, -np.inf)
    for drawn in (uniforms_PH * len(fit.close_N)).astype(np.int64).T:
        scale = np.sqrt(variance)
        highest = np.maximum(highest, total + parameters.mu + scale * fit.price_N[drawn])
        residual = scale * fit.close_N[drawn]
        total += parameters.mu + residual
        variance = parameters.omega + _shock(residual, parameters) + parameters.beta * variance
    return total, highest
