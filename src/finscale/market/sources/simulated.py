"""Bars of a simulated market, as every source returns them."""

from __future__ import annotations

from functools import lru_cache

from finscale.market.check import inspect_bars
from finscale.market.simulate.market import SimulatedBars, simulate
from finscale.market.symbol_bars import SymbolBars
from finscale.study_data import SimulatedData


@lru_cache(maxsize=2)
def simulated_market(settings: SimulatedData) -> tuple[SimulatedBars, ...]:
    """Return the market of these settings; the last ones are kept, to ask them for probabilities.

    What does not change the law is left out by the caller, see :func:`law_settings`.
    """
    return simulate(settings)


def law_settings(settings: SimulatedData) -> SimulatedData:
    """Return the settings without what is done to the bars afterwards."""
    return settings.model_copy(update={"context": (), "null": "none", "time_scale": "daily"})


def load_simulated(settings: SimulatedData) -> tuple[SymbolBars, ...]:
    """Return the bars of every simulated symbol."""
    law = law_settings(settings)
    return tuple(
        SymbolBars(
            one.symbol,
            one.bars,
            warnings=inspect_bars(one.bars, calendar=None),
            provenance={
                "source": "simulated",
                "market": settings.market,
                "settings": law.model_dump(
                    mode="json", exclude={"source", "context", "null", "time_scale"}
                ),
                "prices": "as_given",
                "repairs": [],
            },
        )
        for one in simulated_market(law)
    )
