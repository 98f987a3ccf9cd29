from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.features.registry import REGISTRY, Feature
from finscale.features.tiers import tier_features
from finscale.market.bars import OHLCV, PRICES
from strategies import bars


def in_units(world: OHLCV, price: float, volume: float) -> OHLCV:
    prices = {name: getattr(world, name) * price for name in PRICES}
    return OHLCV(date=world.date, volume=world.volume * volume, **prices)


@settings(max_examples=30)
@given(world=bars(260, 300), price=st.integers(-20, 20), volume=st.integers(-30, 20))
def test_units_of_price_and_volume_change_no_bit(world: OHLCV, price: int, volume: int) -> None:
    # Powers of two scale without rounding: what is left over is a hidden absolute threshold.
    other = in_units(world, 2.0**price, 2.0**volume)
    for feature in REGISTRY.values():
        one, two = feature.function(world), feature.function(other)
        assert np.array_equal(one[feature.lookback_bars :], two[feature.lookback_bars :]), (
            feature.name
        )


@pytest.mark.parametrize("feature", tier_features("a25"), ids=lambda one: one.name)
def test_a_split_or_another_currency_changes_nothing(feature: Feature, nasdaq: OHLCV) -> None:
    one = feature.function(nasdaq)[feature.lookback_bars :]
    two = feature.function(in_units(nasdaq, 1 / 7, 3.3))[feature.lookback_bars :]
    np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-10)
