"""The laws of simulated markets: what the past says about the next session.

A law is asked for the next session, given the state of the market, and shown what came of it. What
it says depends on nothing but the bars so far, so that whoever knows the law knows the probability
of every label. Shape suffixes: K components, L bars of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from finscale.market.simulate.session import FloatArray, Session, log_density
from finscale.study_data import SimulatedData

# Slow enough that half of the weight of a long memory of 60 bars lies beyond the last 18.
_MEMORY_DECAY = 0.6
# Of the place of the close in its range, without a drift; simulated.
_PLACE_VARIANCE = 0.37


class NextSession(NamedTuple):
    """The law of the next session: a mixture of Brownian motions.

    Attributes
    ----------
    weight_K, mean_K, sigma_K
        Probability, drift and standard deviation (per session, in log price) of each component.
    """

    weight_K: FloatArray
    mean_K: FloatArray
    sigma_K: FloatArray


class Law(Protocol):
    """How a market goes on."""

    n_components: int

    def next(self) -> NextSession:
        """Return the law of the next session."""

    def observe(self, session: Session, volume: float) -> None:
        """Take in a session, and the surprise of its volume (standard normal)."""


def _one(mean: float, sigma: float) -> NextSession:
    return NextSession(np.ones(1), np.array([mean]), np.array([sigma]))


class RandomWalk:
    """Sessions that are independent and alike."""

    n_components = 1

    def __init__(self, settings: SimulatedData) -> None:
        self._next = _one(0.0, settings.volatility)

    def next(self) -> NextSession:
        """Return the law of the next session."""
        return self._next

    def observe(self, session: Session, volume: float) -> None:
        """Take no notice."""


class Garch:
    """sigma²_{t+1} = omega + (a + g [r_t < 0]) r_t² + b sigma²_t, without a drift.

    GARCH(1,1) of Bollerslev (1986) with a = 0.08, g = 0; or GJR of Glosten, Jagannathan and Runkle
    (1993) with a = 0.03, g = 0.10. In both b = 0.90 and the mean of sigma² is the volatility's.
    """

    n_components = 1

    def __init__(self, settings: SimulatedData) -> None:
        leverage = settings.market == "gjr"
        self._a, self._g, self._b = (0.03, 0.10, 0.90) if leverage else (0.08, 0.0, 0.90)
        self._variance = settings.volatility**2
        self._omega = self._variance * (1.0 - self._a - self._g / 2.0 - self._b)

    def next(self) -> NextSession:
        """Return the law of the next session."""
        return _one(0.0, float(np.sqrt(self._variance)))

    def observe(self, session: Session, volume: float) -> None:  # noqa: ARG002, a law's
        """Take in a session."""
        move = float(session.close)
        weight = self._a + (self._g if move < 0.0 else 0.0)
        self._variance = self._omega + weight * move**2 + self._b * self._variance


class Regimes:
    """A hidden Markov chain of a calm and a wild state (Hamilton 1989), and its exact filter.

    Calm: 0.6 of the volatility and a small rise, left on 2% of days. Wild: 1.8 of the volatility
    and a small fall, left on 5% of days. The filter reads the density of the whole bar in each.
    """

    n_components = 2
    _STAY = np.array([0.98, 0.95])
    _DRIFT = np.array([0.05, -0.04])
    _SCALE = np.array([0.6, 1.8])

    def __init__(self, settings: SimulatedData) -> None:
        self._sigma_K = settings.volatility * self._SCALE
        self._mean_K = self._sigma_K * self._DRIFT
        self._moves_KK = np.array(
            [[self._STAY[0], 1 - self._STAY[0]], [1 - self._STAY[1], self._STAY[1]]]
        )
        leave = 1 - self._STAY
        self._ahead_K = leave[::-1] / leave.sum()

    def next(self) -> NextSession:
        """Return the law of the next session."""
        return NextSession(self._ahead_K, self._mean_K, self._sigma_K)

    def observe(self, session: Session, volume: float) -> None:  # noqa: ARG002, a law's
        """Take in a session."""
        log_K = log_density(session, self._mean_K, self._sigma_K)
        now_K = self._ahead_K * np.exp(log_K - log_K.max())
        self._ahead_K = (now_K / now_K.sum()) @ self._moves_KK


@dataclass
class _Memory:
    """What can be seen of the last L bars, the newest first; zeros before the first.

    Attributes
    ----------
    place
        Where the close lies in the bar's range, from -1 (at the low) to 1 (at the high).
    rise
        Sign of the bar's move from close to close.
    volume
        Surprise of the volume, standard normal.
    """

    place: FloatArray
    rise: FloatArray
    volume: FloatArray

    @staticmethod
    def of(n_bars: int) -> _Memory:
        return _Memory(np.zeros(n_bars), np.zeros(n_bars), np.zeros(n_bars))

    def push(self, session: Session, volume: float) -> None:
        span = float(session.high - session.low)
        place = float(2.0 * session.close - session.high - session.low) / span
        for values, newest in (
            (self.place, place),
            (self.rise, 1.0 if session.close > 0.0 else -1.0),
            (self.volume, volume),
        ):
            values[1:] = values[:-1]
            values[0] = newest


Score = Callable[[_Memory], float]


class Planted:
    """A drift, or a volatility, that is a function of the last bars as they can be seen.

    With a score of mean 0 and variance about 1, the drift is strength · sigma · score, or the
    volatility is multiplied by exp(strength · score).
    """

    n_components = 1

    def __init__(self, settings: SimulatedData, score: Score, *, moves_volatility: bool) -> None:
        self._settings, self._score, self._moves_volatility = settings, score, moves_volatility
        self._memory = _Memory.of(settings.memory_bars)

    def next(self) -> NextSession:
        """Return the law of the next session."""
        push = self._settings.strength * self._score(self._memory)
        sigma = self._settings.volatility
        if self._moves_volatility:
            return _one(0.0, sigma * float(np.exp(push)))
        return _one(sigma * push, sigma)

    def observe(self, session: Session, volume: float) -> None:
        """Take in a session."""
        self._memory.push(session, volume)


def _short_memory(memory_bars: int) -> Score:
    """Return the weighted place of the close in the last bars, each weighing 0.6 of the next."""
    weight_L = 0.6 ** np.arange(memory_bars)
    weight_L /= np.sqrt(_PLACE_VARIANCE * np.sum(weight_L**2))
    return lambda memory: float(weight_L @ memory.place)


def _long_memory(memory_bars: int) -> Score:
    """Return the sum of past moves' signs, weighted by a power of their age."""
    weight_L = np.arange(1.0, memory_bars + 1) ** -_MEMORY_DECAY
    weight_L /= np.sqrt(np.sum(weight_L**2))
    return lambda memory: -float(weight_L @ memory.rise)


def _interactions(settings: SimulatedData, rng: np.random.Generator) -> Score:
    """Return a sum of products of signs, the j-th of weight 1/j.

    A product has ``order`` factors at different lags: the sign of a bar's move, and signs of the
    volume's surprise. No single factor, and no product of fewer, says anything.
    A model that can hold more of the products does better (the quanta of Michaud et al. 2023).
    """
    order, n_terms, n_bars = settings.order, settings.n_terms, settings.memory_bars
    lags_JO = np.array([rng.permutation(n_bars)[:order] for _ in range(n_terms)])
    weight_J = 1.0 / np.arange(1.0, n_terms + 1)
    weight_J /= np.sqrt(np.sum(weight_J**2))

    def score(memory: _Memory) -> float:
        first_J = memory.rise[lags_JO[:, 0]]
        others_J = np.sign(memory.volume[lags_JO[:, 1:]]).prod(axis=1)
        return float(weight_J @ (first_J * others_J))

    return score


def _teacher(settings: SimulatedData, rng: np.random.Generator) -> Score:
    """Return a random network of one hidden layer over the last bars' places and volumes."""
    n_inputs, width = 2 * settings.memory_bars, settings.width
    hidden_HI = rng.standard_normal((width, n_inputs)) * 2.0 / np.sqrt(n_inputs)
    bias_H = rng.standard_normal(width)
    out_H = rng.standard_normal(width) / np.sqrt(width)

    def raw(inputs: FloatArray) -> FloatArray:
        return np.asarray(np.tanh(inputs @ hidden_HI.T + bias_H) @ out_H)

    usual = raw(rng.standard_normal((4096, n_inputs)))
    centre, scale = float(usual.mean()), float(usual.std())

    def score(memory: _Memory) -> float:
        inputs_I = np.concatenate([memory.place / np.sqrt(_PLACE_VARIANCE), memory.volume])
        return (float(raw(inputs_I)) - centre) / scale

    return score


def make_law(settings: SimulatedData, rng: np.random.Generator) -> Law:
    """Return a law at its start; ``rng`` draws what is random of the law itself."""
    match settings.market:
        case "random_walk":
            return RandomWalk(settings)
        case "garch" | "gjr":
            return Garch(settings)
        case "regimes":
            return Regimes(settings)
        case _:
            moves_volatility = settings.market == "long_memory"
            return Planted(settings, _score(settings, rng), moves_volatility=moves_volatility)


def _score(settings: SimulatedData, rng: np.random.Generator) -> Score:
    match settings.market:
        case "short_memory":
            return _short_memory(settings.memory_bars)
        case "long_memory":
            return _long_memory(settings.memory_bars)
        case "interactions":
            return _interactions(settings, rng)
        case _:
            return _teacher(settings, rng)
