"""The study's market: every symbol's bars with their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from finscale.dataset.sources import describe_source, load_series
from finscale.errors import FeatureError, StudyError
from finscale.features.build import FeatureMatrix, build_features
from finscale.features.proof import prove, rows_to_try
from finscale.features.registry import Feature
from finscale.features.select import own_features, study_features
from finscale.market.bars import OHLCV, bars_hash
from finscale.market.symbol_bars import SymbolBars
from finscale.seeds import derive_seed
from finscale.study import Study

# Series that the report draws; a panel of hundreds would make it unreadable and large.
_N_DRAWN = 8
# Rows at which a feature of the user's own is proved; finscale features check tries more.
_N_ROWS_PROVED = 10


@dataclass(frozen=True)
class SymbolMarket:
    """One symbol: its bars as they were loaded, as the study uses them, and their features."""

    loaded: SymbolBars
    bars: OHLCV
    features: FeatureMatrix

    @property
    def symbol(self) -> str:
        """Its name."""
        return self.loaded.symbol

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the symbol, JSON-ready."""
        return {
            "symbol": self.symbol,
            "n_bars": len(self.bars),
            "first_date": str(self.bars.date[0]),
            "last_date": str(self.bars.date[-1]),
            "bars_hash": bars_hash(self.loaded.bars),
            "first_usable_row": self.features.first_row,
            "provenance": dict(self.loaded.provenance),
            "warnings": [one.as_dict() for one in self.loaded.warnings],
        }


@dataclass(frozen=True)
class Market:
    """All symbols of a study; they have the same features.

    Attributes
    ----------
    name
        Where the bars come from.
    context
        Names of the series joined to them.
    """

    name: str
    tier: str
    time_scale: str
    context: tuple[str, ...]
    symbols: tuple[SymbolMarket, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the columns."""
        return self.symbols[0].features.names

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the data, JSON-ready."""
        return {
            "name": self.name,
            "tier": self.tier,
            "time_scale": self.time_scale,
            "context": list(self.context),
            "feature_names": list(self.feature_names),
            "symbols": [one.describe() for one in self.symbols],
            "closes": {
                one.symbol: {
                    "date": [str(day) for day in one.bars.date],
                    "close": one.bars.close.tolist(),
                }
                for one in self.symbols[:_N_DRAWN]
            },
        }


def load_market(study: Study) -> Market:
    """Load the study's bars and build its features.

    Raises
    ------
    DataError, FeatureError, StudyError
        If bars or features cannot be had, or the study asks for more symbols than there are.
    """
    features = study_features(study)
    symbols = tuple(
        SymbolMarket(loaded, bars, _build(loaded.symbol, bars, features))
        for loaded, bars in load_series(study.data)
    )
    for one in own_features(study):
        _require_causal(one, symbols[0].bars, study.seed)
    wanted = max(study.data_sizes.n_symbols or (1,))
    if wanted > len(symbols):
        raise StudyError(
            f"data_sizes.n_symbols: got {wanted}; the data hold {len(symbols)} "
            f"symbol{'s' * (len(symbols) != 1)}"
        )
    return Market(
        name=describe_source(study.data),
        tier=study.features.tier,
        time_scale=study.data.time_scale,
        context=tuple(series.name for series in study.data.context),
        symbols=symbols,
    )


def _require_causal(one: Feature, bars: OHLCV, seed: int) -> None:
    """Refuse a feature of one's own that looks ahead; the built-in ones are proved by tests."""
    rng = np.random.default_rng(derive_seed(seed, "proof", one.name))
    problems = prove(one, bars, rows_to_try(len(bars), _N_ROWS_PROVED, rng), rng)
    if problems:
        raise FeatureError(problems[0])


def _build(symbol: str, bars: OHLCV, features: tuple[Feature, ...]) -> FeatureMatrix:
    try:
        return build_features(bars, features)
    except FeatureError as error:
        raise FeatureError(f"{symbol}: {error}") from error
