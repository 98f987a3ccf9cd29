"""One simulated session: a Brownian motion from one close to the next.

In log prices relative to the last close a session is a Brownian motion B on [0, 1] with drift
``mean`` and standard deviation ``sigma`` per session. The open is B(f) after the overnight share
f of the session, the close is B(1), and high and low are the extremes over all of [0, 1], the
night included. Open, high and close have their exact joint law: given its ends, the maximum of a
bridge has the law P(max > m) = exp(-2 (m - x)(m - y) / (sigma² d)), whatever the drift (Karatzas
and Shreve 1991, section 4.3.C), and is drawn by inverting it. The low is drawn from its own exact
law given open and close, independently of the high; the pair is therefore not quite that of one
path, which no label notices: labels read the high or the close.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]

OVERNIGHT_FRAC = 0.1
"""Share of a session's variance that falls before its open."""


class Noise(NamedTuple):
    """The randomness of sessions, independent of each other and of the market's state.

    Attributes
    ----------
    night, day, volume
        Standard normal.
    extremes
        Uniform on (0, 1), the last axis over: highest of night and day, lowest of night and day.
    """

    night: FloatArray
    day: FloatArray
    volume: FloatArray
    extremes: FloatArray

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Noise:
        """Draw the randomness of n sessions."""
        normal = rng.standard_normal((3, n))
        # 1 - U lies in (0, 1], so that its logarithm is finite.
        return Noise(normal[0], normal[1], normal[2], 1.0 - rng.random((n, 4)))


class Session(NamedTuple):
    """Log prices relative to the last close; floats, or arrays of equal shape."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray


def draw_session(mean: ArrayLike, sigma: ArrayLike, noise: Noise) -> Session:
    """Return sessions made of their noise."""
    mean, sigma = np.asarray(mean, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    night, day = OVERNIGHT_FRAC, 1.0 - OVERNIGHT_FRAC
    opened = mean * night + sigma * np.sqrt(night) * noise.night
    closed = opened + mean * day + sigma * np.sqrt(day) * noise.day
    start = np.zeros_like(opened)
    draws = noise.extremes
    high = np.maximum(
        _bridge_maximum(start, opened, sigma**2 * night, draws[..., 0]),
        _bridge_maximum(opened, closed, sigma**2 * day, draws[..., 1]),
    )
    low = -np.maximum(
        _bridge_maximum(start, -opened, sigma**2 * night, draws[..., 2]),
        _bridge_maximum(-opened, -closed, sigma**2 * day, draws[..., 3]),
    )
    return Session(opened, high, low, closed)


def _bridge_maximum(
    x: FloatArray, y: FloatArray, variance: FloatArray, uniform: FloatArray
) -> FloatArray:
    """Invert P(max > m) = exp(-2 (m - x)(m - y) / variance)."""
    root = np.sqrt((y - x) ** 2 - 2.0 * variance * np.log(uniform))
    return np.asarray((x + y + root) / 2.0)


def p_high_reaches(level: float, mean: ArrayLike, sigma: ArrayLike) -> FloatArray:
    """Return P(max of B over the session ≥ level), for a level above 0.

    Φ((mean - a) / sigma) + exp(2 mean a / sigma²) Φ(-(a + mean) / sigma) (Karatzas and Shreve
    1991, eq. 3.5.13); without a drift 2 (1 - Φ(a / sigma)). The second term is computed through
    its logarithm, because the exponential overflows where the other factor vanishes.
    """
    mean, sigma = np.asarray(mean, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    above = special.ndtr((mean - level) / sigma)
    reflected = np.exp(2.0 * mean * level / sigma**2 + special.log_ndtr(-(level + mean) / sigma))
    return np.asarray(np.clip(above + reflected, 0.0, 1.0))


def p_close_reaches(level: float, mean: ArrayLike, sigma: ArrayLike) -> FloatArray:
    """Return P(B(1) ≥ level)."""
    mean, sigma = np.asarray(mean, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    return np.asarray(special.ndtr((mean - level) / sigma))


def log_density(session: Session, mean: ArrayLike, sigma: ArrayLike) -> FloatArray:
    """Return the log density of a session's open, high, low and close, up to a constant.

    The constant is the same for every mean and sigma, so that their likelihoods compare.
    """
    mean, sigma = np.asarray(mean, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    night, day = OVERNIGHT_FRAC, 1.0 - OVERNIGHT_FRAC
    z_night = (session.open - mean * night) / (sigma * np.sqrt(night))
    z_day = (session.close - session.open - mean * day) / (sigma * np.sqrt(day))
    ends = -0.5 * (z_night**2 + z_day**2) - 2.0 * np.log(sigma)
    high = _extreme_density(session.high, session.open, session.close, sigma)
    low = _extreme_density(-session.low, -session.open, -session.close, sigma)
    with np.errstate(divide="ignore"):
        return np.asarray(ends + np.log(high) + np.log(low))


def _extreme_density(
    m: FloatArray, opened: FloatArray, closed: FloatArray, sigma: FloatArray
) -> FloatArray:
    """Return the density of the larger of two bridges' maxima at m, given their ends."""
    night, day = OVERNIGHT_FRAC, 1.0 - OVERNIGHT_FRAC
    start = np.zeros_like(opened)
    tail_n, density_n = _bridge_law(m, start, opened, sigma**2 * night)
    tail_d, density_d = _bridge_law(m, opened, closed, sigma**2 * day)
    return density_n * (1.0 - tail_d) + density_d * (1.0 - tail_n)


def _bridge_law(
    m: FloatArray, x: FloatArray, y: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return P(max > m) and the density of the maximum of a bridge at m."""
    tail = np.exp(-2.0 * (m - x) * (m - y) / variance)
    return tail, tail * 2.0 * (2.0 * m - x - y) / variance
