from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine, fault_of

from finscale.features.tiers import TIERS
from strategies import make_bars, to_frame

SOUND = """\
from finscale.features.registry import feature

@feature(family="mine", meaning="m", formula="f", reference="r", inputs=["open", "close"],
         lookback_bars=1)
def my_body(bars):
    return bars.close / bars.open

@feature(family="mine", meaning="m", formula="f", reference="r", inputs=["close"], lookback_bars=0)
def my_level(bars):
    return bars.close + 1
"""
FAULTY = """\
import numpy as np
from finscale.features.registry import feature

@feature(family="mine", meaning="m", formula="f", reference="r", inputs=["close"], lookback_bars=0)
def my_peek(bars):
    return np.append(bars.close[1:], bars.close[-1]) / bars.close
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    to_frame(make_bars(400, seed=3)).drop("symbol").write_csv(path)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def document(text: str) -> Any:
    return json.loads(text)


def test_the_tier_passes_on_the_bundled_market(finscale: CommandLine) -> None:
    finished = finscale("features", "check", "--rows", "4")
    assert (finished.code, finished.err) == (0, "")
    assert finished.out == (
        "25 features pass on bundled SP500 (5,031 bars, 1999-01-04 to 2018-12-31): at 4 rows no "
        "future was found to matter; finite from the look-back on, which is all that values need\n"
    )


def test_features_of_ones_own_on_bars_of_ones_own(
    finscale: CommandLine, data: Path, tmp_path: Path
) -> None:
    mine = write(tmp_path / "mine.py", SOUND)
    finished = finscale("features", "check", data, "--module", mine)
    assert (finished.code, finished.err) == (0, "")
    warning, summary = finished.out.splitlines()
    assert warning.startswith("warning: feature my_level depends on the unit of the price: on ")
    assert summary.startswith("2 features pass on mine.csv (400 bars, ")
    assert summary.endswith("; warnings: 1, see above")


def test_a_feature_that_reads_a_file_is_warned_about(
    finscale: CommandLine, data: Path, tmp_path: Path
) -> None:
    world = make_bars(400, seed=3)
    np.save(tmp_path / "next.npy", np.append(world.close[1:] / world.close[:-1], 1.0))
    text = (
        SOUND.partition("\n\n@")[0]
        + f"""
import numpy as np
table = dict(zip(np.array({[str(one) for one in world.date]}, 'datetime64[D]'),
                 np.load({str(tmp_path / "next.npy")!r})))

@feature(family="mine", meaning="m", formula="f", reference="r", inputs=["close", "date"],
         lookback_bars=0)
def my_table(bars):
    return np.array([table.get(one, 1.0) for one in bars.date])
"""
    )
    finished = finscale("features", "check", data, "--module", write(tmp_path / "mine.py", text))
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.splitlines()[0] == (
        "warning: feature my_table declares close, and no value follows it on these bars; leave "
        "out what it does not read, and let it read nothing but its bars"
    )


def test_a_feature_that_looks_ahead_fails(
    finscale: CommandLine, data: Path, tmp_path: Path
) -> None:
    one, two = write(tmp_path / "one.py", SOUND), write(tmp_path / "two.py", FAULTY)
    finished = finscale("features", "check", data, "--module", one, "--module", two)
    assert finished.code == 2
    lines = finished.out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["warning:", "feature", "my_level"],
        ["feature", "my_peek", "looks"],
    ]
    assert finished.err == (
        "finscale: 1 of 3 features fail on mine.csv; correct what is named above\n"
    )


def test_one_json_document(finscale: CommandLine, data: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "two.py", FAULTY)
    command = ["features", "check", data, "--module", mine, "--rows", "3", "--json"]
    finished = finscale(*command)
    assert finished.code == 2
    found = document(finished.out)
    world = make_bars(400, seed=3)
    assert (found["data"], found["n_bars"], found["passed"]) == ("mine.csv", 400, False)
    assert (found["first_date"], found["last_date"]) == (str(world.date[0]), str(world.date[-1]))
    assert found["dates_tried"] == [str(world.date[row]) for row in (200, 0, 398)]
    [feature] = found["features"]
    assert (feature["name"], feature["lookback_bars"], feature["passed"]) == ("my_peek", 0, False)
    assert feature["problems"][0].startswith("feature my_peek looks ahead: its value on ")
    assert feature["warnings"] == []
    # The same seed finds the same.
    assert document(finscale(*command).out) == found
    other = finscale("features", "check", data, "--feature", "return_5", "--json", "--seed", "1")
    assert (other.code, document(other.out)["passed"]) == (0, True)
    assert len(set(document(other.out)["dates_tried"])) == 20


def test_the_features_that_are_checked(finscale: CommandLine, data: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.py", SOUND)

    def checked(*options: str | Path) -> list[str]:
        found = document(finscale("features", "check", data, "--json", "--rows", "3", *options).out)
        return [one["name"] for one in found["features"]]

    assert checked() == list(TIERS["a25"])
    assert checked("--module", mine) == ["my_body", "my_level"]
    assert checked("--module", mine, "--tier", "a25") == ["my_body", "my_level", *TIERS["a25"]]
    assert checked("--module", mine, "--feature", "my_level", "--feature", "rsi_14") == [
        *("my_level", "rsi_14")
    ]
    assert checked("--feature", "rsi_14", "--feature", "rsi_14") == ["rsi_14"]


def test_few_bars(finscale: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    to_frame(make_bars(2)).drop("symbol").write_csv(path)
    passed = finscale("features", "check", path, "--feature", "return_1")
    assert (passed.code, passed.err) == (0, "")
    assert passed.out.startswith("1 feature passes on short.csv (2 bars, ")
    failed = finscale("features", "check", path, "--feature", "return_5")
    assert failed.code == 2
    assert failed.out == (
        "feature return_5 needs 5 bars before its first value, and there are 2; give a longer "
        "history\n"
    )


def test_a_symbol_of_several(finscale: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    one, other = to_frame(make_bars(300), "AAA"), to_frame(make_bars(310), "BBB")
    one.vstack(other).write_csv(path)
    path = Path("two.csv")
    finished = finscale(
        "features", "check", path, "--symbol", "BBB", "--feature", "return_1", "--json"
    )
    assert (finished.code, document(finished.out)["n_bars"]) == (0, 310)
    assert fault_of(finscale("features", "check", path)) == (
        "two.csv: holds 2 symbols (AAA, BBB); choose one with --symbol"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NODATA"], "NODATA: no such file, and no bundled symbol; give a .csv or .parquet file, "),
        (["no.csv"], "no.csv: no such file"),
        (["--symbol", "SPY"], "bundled SP500 is one symbol; leave out --symbol"),
        (["--tier", "a7"], "unknown tier 'a7'; choose one of a25"),
        (["--feature", "rsi_41"], "unknown feature 'rsi_41'; did you mean rsi_14"),
        (["--feature", "zzzzzz"], "unknown feature 'zzzzzz'; see finscale features list"),
        (
            ["--tier", "a25", "--feature", "rsi_14"],
            "features check: give --tier or --feature, not both",
        ),
        (["--module", "no.py"], "no.py: no such file; give the path of a Python file that "),
    ],
)
def test_bad_input(finscale: CommandLine, arguments: list[str], message: str) -> None:
    assert fault_of(finscale("features", "check", *arguments)).startswith(message)


def test_fewer_than_three_rows_prove_little(finscale: CommandLine) -> None:
    assert finscale("features", "check", "--rows", "2").code == 2
