"""Feature tables in the catalogue, made from the bars in it: ``SPY.features.a25``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from finscale.features.adequacy import find_constant, require_bars_enough
from finscale.features.build import FeatureMatrix
from finscale.features.code import feature_code_hash, feature_libraries
from finscale.features.context import context_features
from finscale.features.frame import matrix_to_frame
from finscale.features.panel import PanelJob
from finscale.features.registry import Feature
from finscale.features.tiers import tier_features
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.catalog import Catalog
from finscale.market.context import join_series
from finscale.market.manifest import Entry
from finscale.market.names import bars_name, features_name
from finscale.market.timescale import resample
from finscale.study_data import ContextSeries

Registered = tuple[Entry, bool]
"""An entry of the catalogue, and whether it is new."""


def feature_jobs(
    catalog: Catalog,
    symbols: Sequence[str],
    tiers: Sequence[str],
    *,
    scale: str = "daily",
    version: int | None = None,
    context: Sequence[ContextSeries] = (),
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
        Series of the catalogue whose features are added to each tier.

    Raises
    ------
    FeatureError, DataError
        Before anything is built: if a tier is unknown, or bars or a series are not there.
    """
    extra = tuple(f for one in context for f in context_features(one.name, one.kind))
    features = {tier: (*tier_features(tier), *extra) for tier in tiers}
    series = [(one, catalog.entry(bars_name(one.symbol or ""), one.version)) for one in context]
    raw = [catalog.entry(bars_name(symbol), version) for symbol in symbols]
    code_hash = feature_code_hash()
    return (
        PanelJob(
            name=processed_name(entry.symbol, tier, scale=scale, context=context),
            features=features[tier],
            load=partial(_load, catalog.root, entry, scale, series, features[tier]),
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
    symbol: str, tier: str, *, scale: str = "daily", context: Sequence[ContextSeries] = ()
) -> str:
    """Name a table: ``SPY.features.a25``, ``SPY.features.a25_weekly``, ``SPY.features.a25+vix``."""
    coarse = "" if scale == "daily" else f"_{scale}"
    return features_name(symbol, tier + coarse + "".join(f"+{one.name}" for one in context))


def _load(
    root: Path,
    entry: Entry,
    scale: str,
    context: Sequence[tuple[ContextSeries, Entry]],
    features: Sequence[Feature],
) -> OHLCV:
    catalog = Catalog(root)
    daily = catalog.read(entry)
    bars = to_arrays(resample(daily, scale))
    require_bars_enough(len(bars), len(daily), scale, features)
    for one, known in context:
        bars = join_series(bars, one, catalog.read(known), source=known.label)
    return bars


def _store(
    root: Path,
    name: str,
    matrix: FeatureMatrix,
    *,
    tier: str,
    scale: str,
    context: Sequence[ContextSeries],
    lineage: Sequence[Entry],
    code_hash: str,
) -> Registered:
    return Catalog(root).register(
        name,
        matrix_to_frame(matrix),
        source=f"built from {', '.join(one.label for one in lineage)}",
        provenance={
            "scale": scale,
            "context": [_context_dict(one) for one in context],
            "libraries": feature_libraries(),
        },
        lineage=lineage,
        warnings=find_constant(matrix),
        code_hash=code_hash,
        tier=tier,
    )


def _context_dict(series: ContextSeries) -> dict[str, Any]:
    """Return what of a series decides about the values; its data are in the lineage."""
    return {
        "series": series.name,
        "kind": series.kind,
        "max_staleness_days": series.max_staleness_days,
        "lag_sessions": series.lag_sessions,
    }
