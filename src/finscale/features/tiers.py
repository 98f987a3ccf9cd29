"""Tiers: named, ordered sets of features, each a superset of the one below."""

from __future__ import annotations

from finscale.errors import FeatureError
from finscale.features import momentum, price, trend, volatility, volume
from finscale.features.registry import REGISTRY, Feature

# Importing a family registers its features; naming the modules here keeps the order stated.
FAMILIES = (price, trend, momentum, volatility, volume)

TIERS: dict[str, tuple[str, ...]] = {
    "a25": (
        # 5 from the bar itself
        "return_1",
        "overnight_gap",
        "high_above_close",
        "low_below_close",
        "volume_ratio_20",
        # 20 indicators
        "sma_distance_10",
        "sma_distance_20",
        "sma_distance_50",
        "ema_distance_12",
        "macd_histogram",
        "adx_14",
        "aroon_oscillator_25",
        "return_5",
        "return_10",
        "rsi_14",
        "stochastic_k_14",
        "cci_20",
        "bollinger_position_20",
        "log_natr_14",
        "log_range",
        "log_realized_volatility_5",
        "log_realized_volatility_20",
        "log_parkinson_volatility_10",
        "money_flow_index_14",
        "chaikin_money_flow_20",
    ),
}


def tier_features(tier: str) -> tuple[Feature, ...]:
    """Return the features of a tier, in their fixed order.

    Raises
    ------
    FeatureError
        If there is no such tier.
    """
    if tier not in TIERS:
        raise FeatureError(f"unknown tier {tier!r}; choose one of {', '.join(TIERS)}")
    return tuple(REGISTRY[name] for name in TIERS[tier])
