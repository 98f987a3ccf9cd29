from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.features.registry import REGISTRY
from finscale.features.rolling import ema_memory_bars
from finscale.features.tiers import TIERS, tier_features
from finscale.market.bars import OHLCV
from strategies import bars, make_bars

# No tier begins later than a25 does, so that all are compared on the same rows.
LONGEST = 254
# Exponential averages never forget altogether; all others have an end to their memory.
RECURSIVE = {
    *("adx_14", "connors_rsi_3_2_100", "directional_balance_14", "directional_movement_down_14"),
    *("directional_movement_up_14", "ema_distance_12", "heikin_ashi_body", "log_natr_14"),
    *("macd_histogram", "percentage_price_oscillator_12_26", "relative_strength_2", "rsi_14"),
    *("rsi_14_change_20", "trend_strength_7", "trend_strength_change_7_10"),
    *("true_strength_25_13", "true_strength_signal_gap_25_13_7"),
}
FEATURES = tuple(REGISTRY.values())


def test_all_features_are_here() -> None:
    assert set(REGISTRY) >= RECURSIVE
    # Every feature is in a tier, and so in the document and among what is measured.
    assert set(TIERS["a500"]) == set(REGISTRY)
    assert max(one.lookback_bars for one in tier_features("a25")) == LONGEST
    assert max(one.lookback_bars for one in FEATURES) == LONGEST


def test_the_look_back_is_all_a_value_needs(sp500: OHLCV, nasdaq: OHLCV) -> None:
    for market in (sp500, nasdaq):
        for feature in FEATURES:
            n_back = feature.lookback_bars
            values = feature.function(market)
            assert np.isfinite(values[n_back:]).all(), feature.name
            for row in [n_back, *range(n_back + 1, len(market), 297), len(market) - 1]:
                alone = feature.function(market.slice(row - n_back, row + 1))
                assert alone[-1] == pytest.approx(values[row], rel=1e-6, abs=1e-6), feature.name


@settings(max_examples=30)
@given(world=bars(LONGEST + 1, 400))
def test_every_feature_is_finite_from_its_look_back_on(world: OHLCV) -> None:
    for feature in FEATURES:
        assert np.isfinite(feature.function(world)[feature.lookback_bars :]).all(), feature.name


@settings(max_examples=30)
@given(world=bars(LONGEST + 1, 400), place=st.floats(0, 1))
def test_a_finite_memory_ends_whatever_was_before(world: OHLCV, place: float) -> None:
    for feature in FEATURES:
        if feature.name in RECURSIVE:
            continue
        n_back = feature.lookback_bars
        row = n_back + round(place * (len(world) - 1 - n_back))
        alone = feature.function(world.slice(row - n_back, row + 1))[-1]
        assert alone == pytest.approx(feature.function(world)[row], rel=1e-6, abs=1e-6), (
            feature.name
        )


def test_no_look_back_of_a25_is_longer_than_it_has_to_be() -> None:
    world = make_bars(300, seed=5)
    for feature in tier_features("a25"):
        if feature.name not in RECURSIVE and feature.lookback_bars > 0:
            values = feature.function(world)
            assert np.isnan(values[feature.lookback_bars - 1]), feature.name


def test_memory_of_an_exponential_average() -> None:
    # (13/14)^186 = 1.03e-6 and (13/14)^187 = 0.96e-6; the first 14 rows seed the average.
    assert ema_memory_bars(14, wilder=True) == 187 + 14
    # a = 2/13: (11/13)^82 = 1.12e-6, (11/13)^83 = 0.95e-6.
    assert ema_memory_bars(12) == 83 + 12


@pytest.mark.parametrize(("n_bars", "wilder"), [(5, False), (14, True), (26, False)])
@pytest.mark.parametrize("cascaded", [1, 2, 3])
def test_memory_is_the_tail_of_the_impulse_response(
    n_bars: int, wilder: bool, cascaded: int
) -> None:
    smoothing = 1 / n_bars if wilder else 2 / (n_bars + 1)
    response = np.zeros(2000)
    response[0] = 1.0
    for _ in range(cascaded):
        state = 0.0
        for row, value in enumerate(response.copy()):
            state += smoothing * (value - state)
            response[row] = state
    # All that came before the last k rows carries what their k weights leave.
    left = 1 - np.cumsum(response)
    enough = 1 + int(np.argmax(left < 1e-6))
    # The bound has a row to spare for each average after the first.
    n_rows = ema_memory_bars(n_bars, wilder=wilder, cascaded=cascaded) - cascaded * n_bars
    assert n_rows == enough + cascaded - 1
    assert math.isclose(response.sum(), 1.0, rel_tol=1e-9)
