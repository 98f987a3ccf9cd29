"""Maps from a model's probabilities to calibrated ones, fitted on validation rows only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from finscale.evaluation.bootstrap import FloatArray
from finscale.evaluation.calibration import check_forecasts
from finscale.evaluation.metrics import EPS, row_log_loss

_TEMPERATURES = (0.05, 20.0)

_NEWTON_STEPS = 50


class Calibrator(Protocol):
    """A map from probabilities to probabilities that never reverses an order."""

    def apply(self, p_B: npt.ArrayLike) -> FloatArray:
        """Return the calibrated probabilities, within [0, 1]."""
        ...


@dataclass(frozen=True)
class Platt:
    """sigmoid(slope * logit + intercept), with a slope of zero or more."""

    slope: float
    intercept: float

    def apply(self, p_B: npt.ArrayLike) -> FloatArray:
        """Return the calibrated probabilities."""
        return np.asarray(special.expit(self.slope * _logits(p_B) + self.intercept))


@dataclass(frozen=True)
class Temperature:
    """sigmoid(logit / temperature)."""

    temperature: float

    def apply(self, p_B: npt.ArrayLike) -> FloatArray:
        """Return the calibrated probabilities."""
        return np.asarray(special.expit(_logits(p_B) / self.temperature))


@dataclass(frozen=True)
class Isotonic:
    """Straight lines between the knots of a rising step function, level beyond its ends."""

    probability_K: FloatArray
    calibrated_K: FloatArray

    def apply(self, p_B: npt.ArrayLike) -> FloatArray:
        """Return the calibrated probabilities."""
        return np.interp(np.asarray(p_B, np.float64), self.probability_K, self.calibrated_K)


def fit_platt(p_B: npt.ArrayLike, y_B: npt.ArrayLike) -> Platt | None:
    """Fit slope and intercept to the log-loss (Platt 1999), with his softened targets.

    Labels 1 and 0 count as (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), so that the fit is finite where
    the classes do not overlap. Forecasts that are upside down get a slope of 0: a constant.

    Returns
    -------
    Platt or None
        None where one class is absent.
    """
    p_B, y_B = check_forecasts(p_B, y_B)
    n_events = y_B.sum()
    if n_events in (0.0, y_B.size):
        return None
    target_B = np.where(
        y_B == 1.0, (n_events + 1.0) / (n_events + 2.0), 1.0 / (y_B.size - n_events + 2.0)
    )
    logit_B = _logits(p_B)
    level = float(special.logit(target_B.mean()))
    if np.ptp(logit_B) < EPS:
        return Platt(0.0, level)
    # Centred and scaled, so that the Hessian is well-conditioned wherever the logits lie.
    centre, scale = logit_B.mean(), logit_B.std()
    slope, intercept = _newton((logit_B - centre) / scale, target_B, level)
    if slope <= 0.0:
        return Platt(0.0, level)
    return Platt(float(slope / scale), float(intercept - slope * centre / scale))


def fit_temperature(p_B: npt.ArrayLike, y_B: npt.ArrayLike) -> Temperature | None:
    """Fit one temperature within 0.05 … 20 to the log-loss (Guo et al. 2017).

    Returns
    -------
    Temperature or None
        None where one class is absent.
    """
    p_B, y_B = check_forecasts(p_B, y_B)
    if y_B.sum() in (0.0, y_B.size):
        return None

    def loss(log_temperature: float) -> float:
        return float(row_log_loss(Temperature(np.exp(log_temperature)).apply(p_B), y_B).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(_TEMPERATURES)), method="bounded")
    return Temperature(float(np.exp(found.x)))


def fit_isotonic(p_B: npt.ArrayLike, y_B: npt.ArrayLike) -> Isotonic | None:
    """Fit a rising function to the Brier score (Zadrozny and Elkan 2002), by scikit-learn.

    Its values are kept within [1 / (n + 2), 1 - 1 / (n + 2)]: a step of no events among a few
    validation rows is no proof that there will never be one, and would cost 16 nats if there is.

    Returns
    -------
    Isotonic or None
        None where one class is absent.
    """
    p_B, y_B = check_forecasts(p_B, y_B)
    if y_B.sum() in (0.0, y_B.size):
        return None
    fit = IsotonicRegression().fit(p_B, y_B)
    least = 1.0 / (y_B.size + 2.0)
    return Isotonic(
        np.asarray(fit.X_thresholds_, dtype=np.float64),
        np.clip(np.asarray(fit.y_thresholds_, dtype=np.float64), least, 1.0 - least),
    )


def fit_calibrators(p_B: npt.ArrayLike, y_B: npt.ArrayLike) -> dict[str, Calibrator | None]:
    """Return every calibrator by name, fitted on the same validation rows."""
    return {
        "platt": fit_platt(p_B, y_B),
        "isotonic": fit_isotonic(p_B, y_B),
        "temperature": fit_temperature(p_B, y_B),
    }


def _newton(x_B: FloatArray, target_B: FloatArray, level: float) -> tuple[float, float]:
    """Minimise the cross-entropy of sigmoid(a x + b), which is convex, by damped Newton steps."""
    design_BC = np.column_stack([x_B, np.ones_like(x_B)])
    theta_C = np.array([0.0, level])

    def loss(at_C: FloatArray) -> float:
        logit_B = design_BC @ at_C
        return float(np.mean(np.logaddexp(0.0, logit_B) - target_B * logit_B))

    for _ in range(_NEWTON_STEPS):
        p_B = special.expit(design_BC @ theta_C)
        gradient_C = design_BC.T @ (p_B - target_B) / target_B.size
        if np.abs(gradient_C).max() < 1e-10:
            break
        weight_B = p_B * (1.0 - p_B) / target_B.size
        hessian_CC = design_BC.T @ (design_BC * weight_B[:, None]) + 1e-12 * np.eye(2)
        step_C = np.linalg.solve(hessian_CC, gradient_C)
        size = 1.0
        while size > 1e-6 and loss(theta_C - size * step_C) > loss(theta_C):
            size /= 2.0
        theta_C = theta_C - size * step_C
    return float(theta_C[0]), float(theta_C[1])


def _logits(p_B: npt.ArrayLike) -> FloatArray:
    p = np.clip(np.asarray(p_B, dtype=np.float64), EPS, 1.0 - EPS)
    return np.asarray(special.logit(p))
