from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import DataError
from finscale.market.names import bars_name, features_name, parse_name

LIKE = "; names are like SPY.OHLCV.daily or SPY.features.a25"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("SPY.OHLCV.daily", ("SPY", "raw", "daily")),
        ("SPY.features.a25", ("SPY", "processed", "a25")),
        ("BRK.B.OHLCV.weekly", ("BRK.B", "raw", "weekly")),
        ("^DJI.OHLCV.2d", ("^DJI", "raw", "2d")),
        ("EURUSD=X.features.a500", ("EURUSD=X", "processed", "a500")),
        ("A.OHLCV.daily.features.a25", ("A.OHLCV.daily", "processed", "a25")),
        ("日経 225.OHLCV.daily", ("日経 225", "raw", "daily")),
    ],
)
def test_a_name_is_split_from_the_right(name: str, parts: tuple[str, str, str]) -> None:
    assert parse_name(name) == parts


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a/b.OHLCV.daily", "holds '/'"),
        ("a\\b.OHLCV.daily", r"holds '\\'"),
        ("../x.OHLCV.daily", "holds '/'"),
        ("..OHLCV.daily", "holds '..'"),
        ("A..OHLCV.daily", "holds '..'"),
        (".SPY.OHLCV.daily", "starts with a dot"),
        (".OHLCV.daily", "starts with a dot"),
        ("S\nPY.OHLCV.daily", r"holds '\n'"),
        ("S\x00PY.OHLCV.daily", r"holds '\x00'"),
        ("S\x7fPY.OHLCV.daily", r"holds '\x7f'"),
        ("S\u202ePY.OHLCV.daily", r"holds '\u202e'"),
        ("S\ud800.OHLCV.daily", r"holds '\ud800'"),
        (" SPY.OHLCV.daily", "starts or ends with a blank"),
        ("SPY .OHLCV.daily", "its symbol starts or ends with a blank"),
        ("SPY.OHLCV.daily ", "starts or ends with a blank"),
        ("SPY.OHLCV", "is neither SYMBOL.OHLCV.SCALE nor SYMBOL.features.TIER"),
        ("OHLCV.daily", "is neither SYMBOL.OHLCV.SCALE nor SYMBOL.features.TIER"),
        ("SPY.ohlcv.daily", "is neither SYMBOL.OHLCV.SCALE nor SYMBOL.features.TIER"),
        ("", "is neither SYMBOL.OHLCV.SCALE nor SYMBOL.features.TIER"),
        ("SPY.OHLCV.", "ends in ''"),
        ("SPY.OHLCV.da ily", "ends in 'da ily'"),
        ("S" * 110 + ".OHLCV.daily", "is longer than 120 bytes"),
    ],
)
def test_what_is_no_name_is_refused(name: str, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_name(name)
    assert str(caught.value) == f"data set {name!r}: {fault}{LIKE}"
    assert "\n" not in str(caught.value)


@given(st.text(max_size=130))
def test_a_name_that_is_taken_is_one_step_below_its_directory(symbol: str) -> None:
    try:
        name = bars_name(symbol)
    except DataError:
        return
    assert parse_name(name) == (symbol, "raw", "daily")
    assert not set(name) & set("/\\\0\n\r\t")
    assert name not in {".", ".."}
    name.encode()


def test_names_are_made_and_checked() -> None:
    assert bars_name("SPY") == "SPY.OHLCV.daily"
    assert bars_name("^VIX", "weekly") == "^VIX.OHLCV.weekly"
    assert features_name("BRK.B", "a25") == "BRK.B.features.a25"
    with pytest.raises(DataError, match="holds '/'"):
        bars_name("a/b")
    for name, symbol in (("SPY.OHLCV.daily", "SPY"), ("BRK.B.features.a25", "BRK.B")):
        with pytest.raises(DataError) as caught:
            bars_name(name)
        assert str(caught.value) == (
            f"symbol {name!r}: is the name of a data set; give the symbol alone ({symbol})"
        )
    with pytest.raises(DataError, match="holds '/'"):
        features_name("a", "a/25")
