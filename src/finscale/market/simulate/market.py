"""Bars of a simulated market, and the exact probability of every label.

At a horizon of one bar the probability is exact for every law: a closed form for each component of
the next session's law, weighted by the component's exact probability given all bars so far. At
longer horizons it is exact for the random walk, whose h sessions are one Brownian motion of
variance h, where the label reads the highest high or the last close; elsewhere it is not given. The
highest of several closes is that of a walk seen once a session, and has no closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from finscale.market.check import validate_bars
from finscale.market.simulate.laws import make_law
from finscale.market.simulate.session import (
    FloatArray,
    Noise,
    Session,
    draw_session,
    p_close_reaches,
    p_high_reaches,
)
from finscale.seeds import derive_seed
from finscale.study_data import SimulatedData

_FIRST_DATE = np.datetime64("1900-01-01")
_FIRST_CLOSE = 100.0
_USUAL_VOLUME, _VOLUME_SPREAD = 1e6, 0.4


@dataclass(frozen=True)
class SimulatedBars:
    """A simulated symbol.

    Attributes
    ----------
    bars
        Valid bars, T rows.
    weight_TK, mean_TK, sigma_TK
        The law of the session after each row, given all bars up to that row.
    """

    settings: SimulatedData
    symbol: str
    bars: pl.DataFrame
    weight_TK: FloatArray
    mean_TK: FloatArray
    sigma_TK: FloatArray

    def probability(
        self, threshold_frac: float | None, price: str, horizon_bars: int
    ) -> FloatArray | None:
        """Return the probability of label 1 for every row, given the bars up to it.

        Parameters
        ----------
        threshold_frac, price
            As in :class:`finscale.tasks.Task`.

        Returns
        -------
        ndarray or None
            T values; None where the law has no closed form at this horizon.
        """
        is_highest_close = threshold_frac is not None and price == "close"
        if horizon_bars > 1 and (self.settings.market != "random_walk" or is_highest_close):
            return None
        mean_TK = self.mean_TK * horizon_bars
        sigma_TK = self.sigma_TK * np.sqrt(horizon_bars)
        level = 0.0 if threshold_frac is None else float(np.log1p(threshold_frac))
        reaches = p_high_reaches if price == "high" else p_close_reaches
        return np.asarray(np.sum(self.weight_TK * reaches(level, mean_TK, sigma_TK), axis=1))


def simulate(settings: SimulatedData) -> tuple[SimulatedBars, ...]:
    """Return every symbol of a simulated market: one law, independent bars.

    The same settings give the same bars. A component's sessions are drawn as its weights say, so
    that what is hidden stays hidden in the bars.
    """
    return tuple(
        _simulate_symbol(settings, symbol, number) for number, symbol in enumerate(settings.symbols)
    )


def _simulate_symbol(settings: SimulatedData, symbol: str, number: int) -> SimulatedBars:
    law = make_law(settings, np.random.default_rng(derive_seed(settings.seed, "law")))
    rng = np.random.default_rng(derive_seed(settings.seed, "bars", number))
    n_bars = settings.n_bars
    noise = Noise.draw(rng, n_bars)
    choice_T = rng.random(n_bars)
    shape = (n_bars, law.n_components)
    weight_TK, mean_TK, sigma_TK = np.empty(shape), np.empty(shape), np.empty(shape)
    log_TP = np.empty((n_bars, 4))
    ahead = law.next()
    for row in range(n_bars):
        chosen = min(
            int(np.searchsorted(np.cumsum(ahead.weight_K), choice_T[row], side="right")),
            law.n_components - 1,
        )
        own = Noise(*(one[row] for one in noise))
        session = draw_session(ahead.mean_K[chosen], ahead.sigma_K[chosen], own)
        law.observe(session, float(noise.volume[row]))
        ahead = law.next()
        log_TP[row] = session
        weight_TK[row], mean_TK[row], sigma_TK[row] = ahead
    return SimulatedBars(
        settings, symbol, _to_bars(symbol, log_TP, noise.volume), weight_TK, mean_TK, sigma_TK
    )


def _to_bars(symbol: str, log_TP: FloatArray, volume_T: FloatArray) -> pl.DataFrame:
    """Return valid bars from log prices relative to the last close."""
    relative = Session(*log_TP.T)
    log_close = np.log(_FIRST_CLOSE) + np.cumsum(relative.close)
    before = log_close - relative.close
    dates = np.busday_offset(_FIRST_DATE, np.arange(len(log_TP)), roll="forward")
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * len(log_TP),
            "date": dates.astype("datetime64[D]"),
            **{name: np.exp(before + getattr(relative, name)) for name in Session._fields},
            "volume": np.round(_USUAL_VOLUME * np.exp(_VOLUME_SPREAD * volume_T)),
        }
    )
    return validate_bars(frame, source=f"simulated {symbol}")
