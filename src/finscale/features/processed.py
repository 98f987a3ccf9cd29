"""Feature tables in the catalogue, made from the bars in it: ``SPY.features.a25``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from finscale.features.build import FeatureMatrix
from finscale.features.code import feature_code_hash, feature_libraries
from finscale.features.context import ContextKind, context_features
from finscale.features.frame import matrix_to_frame
from finscale.features.panel import PanelJob
from finscale.features.tiers import tier_features
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.catalog import Catalog
from finscale.market.context import join_context
from finscale.market.manifest import Entry
from finscale.market.names import bars_name, features_name
from finscale.market.timescale import resample

Registered = tuple[Entry, bool]
"""An entry of the catalogue, and whether it is new."""


@dataclass(frozen=True)
class ContextSource:
    """A series to join to the bars: the closes of a raw data set.

    Attributes
    ----------
    series
        What to call it; its features' names begin with this.
    data_set
        ``VIX.OHLCV.daily``.
    max_staleness_days, lag_sessions
        See :func:`finscale.market.context.join_context`.
    """

    series: str
    data_set: str
    kind: ContextKind = "volatility_index"
    max_staleness_days: int = 4
    lag_sessions: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return what decides about the values, JSON-ready."""
        return {
            "series": self.series,
            "kind": self.kind,
            "max_staleness_days": self.max_staleness_days,
            "lag_sessions": self.lag_sessions,
        }


def feature_jobs(
    catalog: Catalog,
    symbols: Sequence[str],
    tiers: Sequence[str],
    *,
    scale: str = "daily",
    version: int | None = None,
    context: Sequence[ContextSource] = (),
) -> Iterator[PanelJob[Registered]]:
    """Plan the tables of some symbols and tiers, for :func:`finscale.features.panel.build_panel`.

    Each is registered by the worker that made it, with its lineage, the hash of the features' code
    and the versions of the libraries; a rebuild that is identical is recognised.

    Parameters
    ----------
    scale
        Time scale that the daily bars are brought to first.
    version
        Of the bars; None: the latest.
    context
        Series whose features are added to each tier.

    Raises
    ------
    FeatureError, DataError
        Before anything is built: if a tier is unknown, or bars or a series are not there.
    """
    extra = tuple(f for one in context for f in context_features(one.series, one.kind))
    features = {tier: (*tier_features(tier), *extra) for tier in tiers}
    series = [(one, catalog.entry(one.data_set)) for one in context]
    raw = [catalog.entry(bars_name(symbol), version) for symbol in symbols]
    code_hash = feature_code_hash()
    return (
        PanelJob(
            name=processed_name(entry.symbol, tier, scale=scale, context=context),
            features=features[tier],
            load=partial(_load, catalog.root, entry, scale, series),
            store=partial(
                _store,
                catalog.root,
                processed_name(entry.symbol, tier, scale=scale, context=context),
                tier=tier,
                scale=scale,
                context=context,
                lineage=[entry, *(one for _, one in series)],
                code_hash=code_hash,
            ),
        )
        for entry in raw
        for tier in tiers
    )


def processed_name(
    symbol: str, tier: str, *, scale: str = "daily", context: Sequence[ContextSource] = ()
) -> str:
    """Name a table: ``SPY.features.a25``, ``SPY.features.a25_weekly``, ``SPY.features.a25+vix``."""
    coarse = "" if scale == "daily" else f"_{scale}"
    return features_name(symbol, tier + coarse + "".join(f"+{one.series}" for one in context))


def _load(
    root: Path, entry: Entry, scale: str, context: Sequence[tuple[ContextSource, Entry]]
) -> OHLCV:
    catalog = Catalog(root)
    bars = to_arrays(resample(catalog.read(entry), scale))
    for one, series in context:
        known = catalog.read(series).select(pl.col("date"), pl.col("close"))
        bars = join_context(
            bars,
            one.series,
            known["date"].to_numpy(),
            known["close"].to_numpy(),
            max_staleness_days=one.max_staleness_days,
            lag_sessions=one.lag_sessions,
            source=series.label,
        )
    return bars


def _store(
    root: Path,
    name: str,
    matrix: FeatureMatrix,
    *,
    tier: str,
    scale: str,
    context: Sequence[ContextSource],
    lineage: Sequence[Entry],
    code_hash: str,
) -> Registered:
    return Catalog(root).register(
        name,
        matrix_to_frame(matrix),
        source=f"built from {', '.join(one.label for one in lineage)}",
        provenance={
            "scale": scale,
            "context": [one.as_dict() for one in context],
            "libraries": feature_libraries(),
        },
        lineage=lineage,
        code_hash=code_hash,
        tier=tier,
    )
