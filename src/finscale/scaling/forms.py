"""Each law as a sum of exponentials of its coordinates, at given points.

Coordinates are what is searched: logarithms of the parameters that are positive, exponents as they
are, in the order of the law's parameters. Variables enter as logarithms over their geometric mean,
so that amplitudes are those in the middle of the points: exponent and amplitude are then hardly
correlated, and a change of units changes nothing but the amplitude reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from finscale.scaling.laws import (
    ALPHA_MAX,
    ALPHA_MIN,
    BrokenPowerLaw,
    Constant,
    DataConstrained,
    Law,
    PowerLaw,
    PowerLawWithFloor,
    Surface,
)
from finscale.scaling.objective import FloatArray, Term
from finscale.scaling.projection import centred_log

# A term below exp(-16), 1e-7, of the lowest loss is none: E = 0 has no logarithm.
_LOG_NOTHING = -16.0

_EXPONENTS = np.geomspace(0.03, 2.5, 18)
_FEW_EXPONENTS = np.geomspace(0.05, 1.5, 8)
_HALF_LIVES = (2.0, 8.0, 32.0)
_LOG_HALF_LIFE_BOUNDS = (float(np.log(0.01)), float(np.log(1e4)))
# A turn narrower than this, in log N, lies between two points of any table.
_LOG_WIDTH_BOUNDS = (float(np.log(0.05)), float(np.log(3.0)))
# Slopes of a broken law may have either sign, so that a loss may rise after the break.
_SLOPE_BOUNDS = (-ALPHA_MAX, ALPHA_MAX)


@dataclass(frozen=True)
class Form:
    """A law at given points, in coordinates.

    Attributes
    ----------
    law : Law
    log_x_VP : ndarray
        Logarithms of the variables over their geometric means.
    centre_V : ndarray
        Logarithms of those means.
    lower_K, upper_K : ndarray
        Bounds on the coordinates.
    log_nothing : float
        Logarithm of an amplitude that counts as zero.
    """

    law: Law
    log_x_VP: FloatArray
    centre_V: FloatArray
    lower_K: FloatArray
    upper_K: FloatArray
    log_nothing: float

    @property
    def is_linear(self) -> bool:
        """Whether every term's logarithm is linear in the coordinates."""
        return self.law not in {BrokenPowerLaw, DataConstrained}

    @property
    def amplitudes(self) -> tuple[int, ...]:
        """Indices of the coordinates that are the terms' amplitudes, in the order of the terms."""
        names = [name for name in ("E", "A", "B") if name in self.law.parameters]
        return tuple(self.law.parameters.index(name) for name in names)

    @property
    def signs(self) -> tuple[tuple[float, ...], ...]:
        """Signs of the terms, one tuple per kind of law to be tried: a loss may rise to a floor."""
        rising = ((1.0, -1.0),) if self.law is PowerLawWithFloor else ()
        return ((1.0,) * len(self.amplitudes), *rising)

    def terms(self, theta_SK: FloatArray) -> Sequence[Term]:
        """Return the terms of the law at coordinates of shape (S, K)."""
        return _TERMS[self.law](self, theta_SK)

    def natural(self, theta_SK: FloatArray, signs: tuple[float, ...]) -> dict[str, FloatArray]:
        """Return the law's parameters for variables in plain units, each of shape (S,)."""
        out = {name: theta_SK[:, k].copy() for k, name in enumerate(self.law.parameters)}
        for name in ("R_D", "R_N", "f"):
            if name in out:
                out[name] = np.exp(out[name])
        if "N_b" in out:
            out["N_b"] = np.exp(out["N_b"] + self.centre_V[0])
        for sign, k in zip(signs, self.amplitudes, strict=True):
            name, log_value_S = self.law.parameters[k], theta_SK[:, k]
            exponent = {"A": "alpha", "B": "beta"}.get(name)
            centre = self.centre_V[1 if name == "B" else 0]
            shift_S = out[exponent] * centre if exponent is not None else 0.0
            nothing_S = log_value_S <= self.log_nothing
            out[name] = np.where(nothing_S, 0.0, sign * np.exp(log_value_S + shift_S))
        return out

    def at_bound(self, theta_SK: FloatArray) -> list[tuple[str, ...]]:
        """Return the parameters that lie on a bound, per row."""
        held_SK = (theta_SK <= self.lower_K) | (theta_SK >= self.upper_K)
        return [
            tuple(name for name, held in zip(self.law.parameters, row, strict=True) if held)
            for row in held_SK
        ]

    def shape_grid(self) -> FloatArray:
        """Return coordinates, shape (G, K), that span the exponents; amplitudes are 1."""
        axes: dict[str, Sequence[float] | FloatArray] = {}
        if self.law is BrokenPowerLaw:
            breaks = np.quantile(self.log_x_VP[0], [0.15, 0.3, 0.5, 0.7, 0.85])
            axes = {
                "alpha": [0.0, 0.1, 0.3, 0.8],
                "c": [-0.5, -0.1, 0.1, 0.3, 1.0],
                "N_b": breaks,
                "f": np.log([0.1, 0.5]),
            }
        elif self.law is DataConstrained:
            axes = {"alpha": _FEW_EXPONENTS, "beta": _FEW_EXPONENTS}
            axes |= {"R_D": np.log(_HALF_LIVES), "R_N": np.log(_HALF_LIVES)}
        else:
            axes = {name: _EXPONENTS for name in ("alpha", "beta") if name in self.law.parameters}
        columns = [axes.get(name, (0.0,)) for name in self.law.parameters]
        return np.array(list(product(*columns)), dtype=np.float64)


def exponent_bounds(law: Law) -> dict[str, tuple[float, float]]:
    """Return the range that each exponent of a law is looked for in."""
    wide = law is BrokenPowerLaw
    return {
        name: _SLOPE_BOUNDS if wide else (ALPHA_MIN, ALPHA_MAX)
        for name in ("alpha", "beta")
        if name in law.parameters
    }


def make_form(law: Law, variables: Sequence[FloatArray], loss_P: FloatArray) -> Form:
    """Return the form of a law at points: one array of positive numbers per variable."""
    logs = [centred_log(x_P) for x_P in variables]
    log_x_VP = np.array([log_P for log_P, _ in logs])
    log_low, log_high = float(np.log(loss_P.min())), float(np.log(loss_P.max()))
    bounds = {
        "E": (log_low + _LOG_NOTHING, log_high + 5.0),
        "A": (log_low + _LOG_NOTHING, log_high + 5.0),
        "B": (log_low + _LOG_NOTHING, log_high + 5.0),
        **exponent_bounds(law),
        "R_D": _LOG_HALF_LIFE_BOUNDS,
        "R_N": _LOG_HALF_LIFE_BOUNDS,
        "c": _SLOPE_BOUNDS,
        "N_b": (float(log_x_VP[0].min()), float(log_x_VP[0].max())),
        "f": _LOG_WIDTH_BOUNDS,
    }
    return Form(
        law=law,
        log_x_VP=log_x_VP,
        centre_V=np.array([centre for _, centre in logs]),
        lower_K=np.array([bounds[name][0] for name in law.parameters]),
        upper_K=np.array([bounds[name][1] for name in law.parameters]),
        log_nothing=log_low + _LOG_NOTHING,
    )


def _floor(theta_SK: FloatArray) -> Term:
    return Term(theta_SK[:, :1], ((0, 1.0),))


def _power(theta_SK: FloatArray, a: int, alpha: int, log_x_P: FloatArray) -> Term:
    log_value_SP = theta_SK[:, a, None] - theta_SK[:, alpha, None] * log_x_P
    return Term(log_value_SP, ((a, 1.0), (alpha, -log_x_P)))


def _constant_terms(form: Form, theta_SK: FloatArray) -> list[Term]:
    return [Term(theta_SK[:, :1] + 0.0 * form.log_x_VP[0], ((0, 1.0),))]


def _power_terms(form: Form, theta_SK: FloatArray) -> list[Term]:
    return [_power(theta_SK, 0, 1, form.log_x_VP[0])]


def _floor_terms(form: Form, theta_SK: FloatArray) -> list[Term]:
    return [_floor(theta_SK), _power(theta_SK, 1, 2, form.log_x_VP[0])]


def _surface_terms(form: Form, theta_SK: FloatArray) -> list[Term]:
    return [
        _floor(theta_SK),
        _power(theta_SK, 1, 3, form.log_x_VP[0]),
        _power(theta_SK, 2, 4, form.log_x_VP[1]),
    ]


def _broken_terms(form: Form, theta_SK: FloatArray) -> list[Term]:
    n_P = form.log_x_VP[0]
    log_a, alpha, c, log_break = (theta_SK[:, k, None] for k in range(1, 5))
    width = np.exp(theta_SK[:, 5, None])
    distance_SP = (n_P - log_break) / width
    soft_SP = np.logaddexp(0.0, distance_SP)
    past_SP = np.exp(distance_SP - soft_SP)
    turn = Term(
        log_a - alpha * n_P - c * width * soft_SP,
        (
            (1, 1.0),
            (2, -n_P),
            (3, -width * soft_SP),
            (4, c * past_SP),
            (5, -c * width * (soft_SP - distance_SP * past_SP)),
        ),
    )
    return [_floor(theta_SK), turn]


def _constrained_terms(form: Form, theta_SK: FloatArray) -> list[Term]:
    n_P, d_P, unique_P = form.log_x_VP + form.centre_V[:, None]
    (centre_n, centre_d, _), (a, b, alpha, beta) = form.centre_V, theta_SK.T[1:5, :, None]
    data_SP, _, by_r_d = _log_effective(d_P, unique_P, theta_SK[:, 5, None])
    # log U_N is the compute-optimal size for the unique data; see laws.unique_size.
    slope_b = unique_P - centre_d
    optimal_SP = (np.log(alpha / beta) + a - b + alpha * centre_n + beta * slope_b) / alpha
    size_SP, by_unique, by_r_n = _log_effective(n_P, optimal_SP, theta_SK[:, 6, None])
    # d(term)/d(log U_N), and log U_N has derivatives 1/alpha in a, -1/alpha in b, ...
    pull_SP = -by_unique
    size = Term(
        a - alpha * (size_SP - centre_n),
        (
            (1, 1.0 + pull_SP),
            (2, -pull_SP),
            (3, centre_n - size_SP + pull_SP * (1.0 / alpha + centre_n - optimal_SP)),
            (4, pull_SP * (slope_b - 1.0 / beta)),
            (6, -alpha * by_r_n),
        ),
    )
    data = Term(
        b - beta * (data_SP - centre_d),
        ((2, 1.0), (4, centre_d - data_SP), (5, -beta * by_r_d)),
    )
    return [_floor(theta_SK), size, data]


def _log_effective(
    log_total: FloatArray, log_unique: FloatArray, log_half_life: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return log U' and its derivatives with respect to log U and log R*; see laws.effective."""
    # Beyond exp(30) repetitions another one is worth nothing, and exp would overflow.
    excess = np.clip(log_total - log_unique, 0.0, 30.0)
    half_life = np.exp(log_half_life)
    repeats = np.expm1(excess)
    ratio = np.minimum(repeats / half_life, 700.0)
    fresh = np.exp(-ratio)
    used = -np.expm1(-ratio)
    worth = 1.0 + half_life * used
    repeated = log_total > log_unique
    log_value = np.where(repeated, log_unique + np.log(worth), log_total)
    by_unique = np.where(repeated, 1.0 - (1.0 + repeats) * fresh / worth, 0.0)
    by_half_life = np.where(repeated, half_life * (used - ratio * fresh) / worth, 0.0)
    return log_value, by_unique, by_half_life


_TERMS: dict[Law, Callable[[Form, FloatArray], list[Term]]] = {
    Constant: _constant_terms,
    PowerLaw: _power_terms,
    PowerLawWithFloor: _floor_terms,
    Surface: _surface_terms,
    BrokenPowerLaw: _broken_terms,
    DataConstrained: _constrained_terms,
}
