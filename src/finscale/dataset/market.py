"""The study's market: every symbol's bars with their features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finscale.dataset.sources import JoinedSeries, describe_bars, describe_source, load_series
from finscale.errors import FeatureError, StudyError
from finscale.features.adequacy import find_constant, require_bars_enough
from finscale.features.build import FeatureMatrix, build_features
from finscale.features.proof import require_causal
from finscale.features.registry import Feature
from finscale.features.select import own_features, study_features
from finscale.files import hash_bytes
from finscale.market.bars import OHLCV
from finscale.market.symbol_bars import SymbolBars
from finscale.seeds import derive_seed
from finscale.study import Study

# Series that the report draws; a panel of hundreds would make it unreadable and large.
_N_DRAWN = 8
# Symbols on which a feature of the user's own is proved: it takes some 0.1 s on each.
_N_PROVED = 20


@dataclass(frozen=True)
class SymbolMarket:
    """One symbol: its bars as they were loaded, as the study uses them, and their features.

    What is odd about its features is among the warnings of its bars.
    """

    loaded: SymbolBars
    bars: OHLCV
    features: FeatureMatrix

    @property
    def symbol(self) -> str:
        """Its name."""
        return self.loaded.symbol

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the symbol, JSON-ready."""
        return describe_bars(self.loaded) | {
            "n_bars": len(self.bars),
            "first_date": str(self.bars.date[0]),
            "last_date": str(self.bars.date[-1]),
            "first_usable_row": self.features.first_row,
        }


@dataclass(frozen=True)
class Market:
    """All symbols of a study; they have the same features.

    Attributes
    ----------
    name
        Where the bars come from.
    context
        The series joined to them.
    null
        ``"shuffled_labels"`` where labels are in random order, else ``"none"``.
    """

    name: str
    tier: str
    time_scale: str
    context: tuple[JoinedSeries, ...]
    symbols: tuple[SymbolMarket, ...]
    null: str = "none"

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
            "null": self.null,
            "context": [one.settings.name for one in self.context],
            "context_series": [one.describe() for one in self.context],
            "feature_names": list(self.feature_names),
            "feature_hashes": self._feature_hashes(),
            "symbols": [one.describe() for one in self.symbols],
            "closes": {
                one.symbol: {
                    "date": [str(day) for day in one.bars.date],
                    "close": one.bars.close.tolist(),
                }
                for one in self.symbols[:_N_DRAWN]
            },
        }

    def _feature_hashes(self) -> dict[str, str]:
        """Return a hash of each feature's values, so that it can be said which of them changed."""
        return {
            name: hash_bytes(
                b"".join(
                    one.features.values[:, column].astype("<f4").tobytes() for one in self.symbols
                )
            )[:16]
            for column, name in enumerate(self.feature_names)
        }


def load_market(study: Study) -> Market:
    """Load the study's bars and build its features.

    Raises
    ------
    DataError, FeatureError, StudyError
        If bars or features cannot be had, or the study asks for more symbols than there are.
    """
    features = study_features(study)
    series = load_series(study.data)
    symbols = tuple(
        _with_features(loaded, bars, features, study.data.time_scale)
        for loaded, bars in series.symbols
    )
    _require_causal(own_features(study), symbols, study.seed)
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
        context=series.context,
        symbols=symbols,
        null=study.data.null,
    )


def _require_causal(
    features: tuple[Feature, ...], symbols: tuple[SymbolMarket, ...], seed: int
) -> None:
    """Prove features on every symbol; of a large panel on the first, the last and some between."""
    chosen = np.arange(len(symbols))
    if len(symbols) > _N_PROVED:
        rng = np.random.default_rng(derive_seed(seed, "proof", "symbols"))
        between = rng.choice(chosen[1:-1], _N_PROVED - 2, replace=False)
        chosen = np.concatenate([chosen[:1], np.sort(between), chosen[-1:]])
    for one in (symbols[number] for number in chosen):
        for feature in features:
            try:
                require_causal(feature, one.bars, seed)
            except FeatureError as error:
                if len(symbols) == 1:
                    raise
                raise FeatureError(f"{one.symbol}: {error}") from error


def _with_features(
    loaded: SymbolBars, bars: OHLCV, features: tuple[Feature, ...], scale: str
) -> SymbolMarket:
    try:
        require_bars_enough(len(bars), len(loaded.bars), scale, features)
        matrix = build_features(bars, features)
    except FeatureError as error:
        raise FeatureError(f"{loaded.symbol}: {error}") from error
    warnings = (*loaded.warnings, *find_constant(matrix))
    return SymbolMarket(replace(loaded, warnings=warnings), bars, matrix)
