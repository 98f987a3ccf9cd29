from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finscale.errors import FeatureError
from finscale.features.context import context_features
from finscale.features.modules import load_feature_modules
from finscale.features.proof import (
    _find_undeclared,
    find_price_unit,
    find_unused,
    prove,
    require_causal,
)
from finscale.features.registry import REGISTRY, Feature
from finscale.features.rolling import rolling_mean
from finscale.features.tiers import tier_features
from finscale.market.bars import OHLCV, PRICES, FloatArray
from strategies import make_bars

WORLD = make_bars(1500, seed=7)
ROWS = (700, 0, 1498, 1499, 30, 1200)


def mine(
    function: Callable[[OHLCV], FloatArray],
    lookback_bars: int = 0,
    inputs: tuple[str, ...] = (*PRICES, "volume", "date"),
) -> Feature:
    return Feature("mine", "mine", "m", "f", "r", inputs, lookback_bars, function)


def problems(
    function: Callable[[OHLCV], FloatArray],
    lookback_bars: int = 0,
    *,
    world: OHLCV = WORLD,
    rows: tuple[int, ...] = ROWS,
) -> list[str]:
    return prove(mine(function, lookback_bars), world, rows, np.random.default_rng(0))


def only(found: list[str]) -> str:
    [line] = found
    assert "\n" not in line
    return line


def test_a_sound_feature_has_no_problem() -> None:
    assert problems(lambda bars: bars.close / rolling_mean(bars.close, 20), 19) == []


def test_what_is_nowhere_finite_is_compared_without_a_numeric_warning() -> None:
    assert problems(lambda bars: np.full(len(bars.close), np.inf)) != []


def test_built_in_features_have_no_problem(sp500: OHLCV) -> None:
    rng = np.random.default_rng(0)
    bars = sp500.slice(2000, 3200)
    for feature in tier_features("a25"):
        assert prove(feature, bars, [600, 0, 1198, 254, 1000], rng) == []
        assert find_price_unit(feature, bars) is None


def test_context_features_that_begin_late_have_no_problem() -> None:
    plain = WORLD.slice(500, 1000)
    series = np.exp(0.05 * np.cumsum(np.random.default_rng(1).standard_normal(500)))
    series[:200] = np.nan
    world = dataclasses.replace(plain, context={"vix": series})
    features = context_features("vix", "volatility_index") + context_features("vix", "price")
    for feature in features:
        rows = [250, 0, 498, 199, 200, 200 + feature.lookback_bars]
        assert prove(feature, world, rows, np.random.default_rng(2)) == []
        assert find_price_unit(feature, world) is None
        assert only(prove(feature, plain, rows, np.random.default_rng(2))) == (
            f"feature {feature.name}: no context series 'vix' beside the bars (there are: none); "
            "join it to them, or choose other features"
        )


def ahead(n_bars: int) -> Callable[[OHLCV], FloatArray]:
    def peek(bars: OHLCV) -> FloatArray:
        later = np.r_[bars.close[n_bars:], np.full(min(n_bars, len(bars)), bars.close[-1])]
        return later / bars.close

    return peek


@pytest.mark.parametrize("n_bars", [1, 5, 700])
def test_a_look_ahead_is_found(n_bars: int) -> None:
    # 700 bars ahead is further than the part around a row reaches; the first row sees it all.
    found = problems(ahead(n_bars))
    assert found[0].startswith("feature mine looks ahead: its value on ")
    assert found[0].endswith("; use rows up to t only")


def peeking(at: np.ndarray, n_bars: int = 2) -> Callable[[OHLCV], FloatArray]:
    """A moving average that looks ahead on some sessions only."""

    def peek(bars: OHLCV) -> FloatArray:
        values = rolling_mean(bars.close, 5) / bars.close
        rows = np.flatnonzero(np.isin(bars.date, at))
        values[rows] *= bars.close[np.minimum(rows + n_bars, len(bars) - 1)] / bars.close[rows]
        return values

    return peek


@pytest.mark.parametrize("row", [4, 5, 699, 1199, 1497])
def test_a_look_ahead_at_a_single_row_is_found(row: int) -> None:
    session = WORLD.date[row]
    line = only(problems(peeking(WORLD.date[[row]]), 4, rows=(100, 0)))
    assert line.startswith(f"feature mine looks ahead: its value on {session} goes from ")
    assert line.endswith(f" when the bars after {session} are cut off; use rows up to t only")


def test_a_rare_look_ahead_is_refused_whatever_the_seed() -> None:
    # On 2% of the rows: ten that are tried at random mostly miss all of them.
    bars = WORLD.head(500)
    rng = np.random.default_rng(5)
    for seed in range(20):
        at = bars.date[rng.choice(np.arange(10, 490), 10, replace=False)]
        with pytest.raises(FeatureError, match=r"^feature mine looks ahead: "):
            require_causal(mine(peeking(at), 4), bars, seed)
        require_causal(mine(peeking(at[:0]), 4), bars, seed)


def test_a_look_ahead_below_the_tolerance_is_found_where_the_future_is_changed() -> None:
    def peek(bars: OHLCV) -> FloatArray:
        return 1e-9 * np.append(bars.close[1:], bars.close[-1])

    assert only(problems(peek)).startswith("feature mine looks ahead: its value on ")


def test_a_look_back_that_is_too_short_is_found() -> None:
    found = problems(lambda bars: np.cumsum(bars.close) / np.arange(1, len(bars) + 1), 5)
    assert only(found).startswith(
        "feature mine remembers more than its look-back of 5 bars: its value on "
        f"{WORLD.date[6]} goes from "
    )
    assert only(found).endswith(
        f" when the bars before {WORLD.date[1]} are cut off; state a longer look-back"
    )


def test_a_built_in_feature_that_remembers_more_has_no_look_back_to_state() -> None:
    # Where bars move by 8% a session a recursive average fades later than in the markets there are.
    close = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(size=1300) * 0.08))
    volatile = make_bars(1300)
    factor = close / volatile.close
    prices = {name: getattr(volatile, name) * factor for name in PRICES}
    volatile = dataclasses.replace(volatile, **prices)
    line = only(prove(REGISTRY["rsi_14"], volatile, (600,), np.random.default_rng(0)))
    assert line.startswith("feature rsi_14 remembers more than its look-back of ")
    assert line.endswith(
        " are cut off; on bars as volatile as these an average fades later than its look-back "
        "says: do without the feature, or take it as it is"
    )


def test_a_memory_that_a_single_row_has_is_found() -> None:
    def remembering(bars: OHLCV) -> FloatArray:
        values = bars.close / bars.open
        values[bars.date == WORLD.date[901]] = bars.close[0] / bars.open[0]
        return values

    assert f"bars: its value on {WORLD.date[901]} goes" in only(problems(remembering, 20))


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_a_look_back_is_right_to_one_part_in_a_million(size: float) -> None:
    def remembering(error: float) -> Callable[[OHLCV], FloatArray]:
        return lambda bars: np.full(len(bars), size * (1 + error * (bars.date[0] == WORLD.date[0])))

    # Not what the changed future is for: a single row, the last, has none.
    assert problems(remembering(0.9e-6), 50, rows=(1499,)) == []
    assert "remembers more" in only(problems(remembering(1.1e-6), 50, rows=(1499,)))


def test_a_value_that_is_not_finite_is_found() -> None:
    def holes(bars: OHLCV) -> FloatArray:
        values = np.ones(len(bars))
        values[np.isin(bars.date, WORLD.date[[3, 40, 900]])] = np.nan
        return values

    assert only(problems(holes, 10)) == (
        f"feature mine is nan on {WORLD.date[40]} (2 rows in all), with 40 bars before it and a "
        "look-back of 10; give every division and logarithm an answer at zero, or state a longer "
        "look-back"
    )


def test_a_value_that_is_missing_without_the_rest_of_history_is_found() -> None:
    line = problems(lambda bars: rolling_mean(bars.close, 20), 10, rows=(500,))[-1]
    assert f"its value on {WORLD.date[19]} goes from" in line
    assert f" to nan when the bars before {WORLD.date[9]} are cut off" in line


@pytest.mark.parametrize(
    ("function", "read"),
    [
        (lambda bars: bars.close / bars.open, "open"),
        (lambda bars: np.nan_to_num(bars.true_range) / bars.close, "high and low"),
        (lambda bars: bars.close * (bars.volume > 1.5 * bars.volume[0]), "volume"),
        (lambda bars: bars.close * (bars.date.astype(np.int64) % 7), "date"),
    ],
)
def test_what_is_read_and_not_declared_is_found(
    function: Callable[[OHLCV], FloatArray], read: str
) -> None:
    one = mine(function, inputs=("close",))
    assert prove(one, WORLD, ROWS, np.random.default_rng(0))[-1] == (
        f"feature mine reads {read}, and its inputs are close; name there all that it reads"
    )


def test_built_in_features_read_what_they_declare() -> None:
    # The document of features lists the inputs of every one.
    rng = np.random.default_rng(0)
    bars = WORLD
    for feature in REGISTRY.values():
        values = feature.function(bars)
        assert _find_undeclared(feature, bars, values, rng) is None
        assert find_unused(feature, bars, rng) is None


def test_a_declared_input_that_no_value_follows_is_found() -> None:
    dates = np.random.default_rng(0).standard_normal(40_000)
    table = mine(lambda bars: dates[bars.date.astype(np.int64)], inputs=("close", "high", "date"))
    assert prove(table, WORLD, ROWS, np.random.default_rng(0)) == []
    assert find_unused(table, WORLD, np.random.default_rng(0)) == (
        "feature mine declares close, high, and no value follows them on these bars; leave out "
        "what it does not read, and let it read nothing but its bars"
    )


KEEPING = {
    "the mean of the first call": """
    return bars.close / bars.open / KEPT.setdefault("mean", (bars.close / bars.open).mean())
""",
    "the next close of every date": """
    for date, ratio in zip(bars.date, bars.close[1:] / bars.close[:-1]):
        KEPT.setdefault(date, ratio)
    return np.array([KEPT.get(date, 1.0) for date in bars.date])
""",
    "the longest of all calls": """
    if len(KEPT.get("ratio", ())) < len(bars):
        KEPT["ratio"] = bars.close / bars.close.mean()
    return KEPT["ratio"][: len(bars)]
""",
    "the bars of the last call": """
    KEPT["bars"] = bars
    return KEPT["bars"].close / KEPT["bars"].open
""",
}


@pytest.mark.parametrize("kept", KEEPING)
def test_what_a_module_keeps_of_later_bars_is_found(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "import numpy as np\nfrom finscale import feature\nKEPT = {}\n@feature(family='f', "
        "meaning='m', formula='f', reference='r', inputs=['open', 'close', 'date'], "
        f"lookback_bars=0)\ndef keeping(bars):{KEEPING[kept]}"
    )
    load_feature_modules([path])
    one, before = REGISTRY["keeping"], dict(REGISTRY)
    # As in a study, which builds its features before they are proved.
    one.function(WORLD)
    found = prove(one, WORLD, ROWS, np.random.default_rng(0))
    if kept == "the bars of the last call":
        assert found == []
    else:
        session = WORLD.date[0]
        line = next(text for text in found if "keeps what it has seen" in text)
        assert line.startswith(
            f"feature keeping keeps what it has seen: its value on {session} goes from "
        )
        assert line.endswith(
            f" when its file is executed anew and sees no bar after {session}; compute it from the "
            "bars of each call alone"
        )
    assert before == REGISTRY


def test_chance_is_found() -> None:
    rng = np.random.default_rng(0)
    found = problems(lambda bars: rng.random(len(bars)))
    assert found[0].startswith(
        f"feature mine is not the same twice: its value on {WORLD.date[0]} goes from "
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda bars: np.diff(bars.close), "returns shape (1499,) for 1500 bars; return one value"),
        (lambda bars: 1.0, "returns shape () for 1500 bars; return one value per bar"),
        (lambda bars: bars.close[:, None], "returns shape (1500, 1) for 1500 bars; return one "),
        (
            lambda bars: bars.closing,
            (
                f"fails on 1500 bars from {WORLD.date[0]}: AttributeError: 'OHLCV' object has no "
                "attribute 'closing'; correct its function"
            ),
        ),
        (lambda bars: ["a"] * len(bars), "fails on 1500 bars from "),
        (
            lambda _bars: sys.exit("two\nlines"),
            f"fails on 1500 bars from {WORLD.date[0]}: SystemExit: two lines; correct its function",
        ),
        (
            lambda _bars: sys.exit(),
            f"fails on 1500 bars from {WORLD.date[0]}: SystemExit; correct its function",
        ),
        # Written for long histories only.
        (lambda bars: bars.close / bars.close[5], "fails on 1 bars from "),
    ],
)
def test_a_function_that_gives_no_values_is_named(
    function: Callable[[OHLCV], FloatArray], message: str
) -> None:
    line = only(problems(function))
    assert line.startswith(f"feature mine {message}")


def test_too_short_a_history_proves_nothing() -> None:
    assert only(problems(lambda bars: bars.close, 1500)) == (
        "feature mine needs 1500 bars before its first value, and there are 1500; give a longer "
        "history"
    )


def test_a_price_level_is_warned_about() -> None:
    line = find_price_unit(mine(lambda bars: rolling_mean(bars.close, 3), 2), WORLD)
    value = rolling_mean(WORLD.close, 3)[2]
    assert line == (
        f"feature mine depends on the unit of the price: on {WORLD.date[2]} it goes from "
        f"{value:.6g} to {8 * value:.6g} when all prices are multiplied by 8; use ratios or log "
        "returns"
    )
    assert find_price_unit(mine(lambda bars: bars.high / bars.low), WORLD) is None
