from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from finscale.errors import FeatureError
from finscale.features.modules import execute_anew, load_feature_modules
from finscale.features.registry import REGISTRY
from strategies import make_bars

HEAD = """\
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from finscale.features.registry import feature
from finscale.market.bars import OHLCV
"""
FEATURE = """
@feature(
    family="mine", meaning="m", formula="f", reference="r (2000)", inputs=["close"],
    lookback_bars={lookback},
)
def {name}(bars: OHLCV):
    return {value}
"""


def source(*names: str, value: str = "bars.close / bars.open", lookback: int = 0) -> str:
    return HEAD + "".join(
        FEATURE.format(name=name, value=value, lookback=lookback) for name in names
    )


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def user_modules() -> list[str]:
    return [name for name in sys.modules if name.startswith("finscale_user_features_")]


def test_features_are_registered_in_the_order_of_the_file(tmp_path: Path) -> None:
    one = write(tmp_path / "one.py", source("zebra", "apple"))
    two = write(tmp_path / "two.py", source("banana"))
    assert load_feature_modules([one, two]) == {one: ("zebra", "apple"), two: ("banana",)}
    world = make_bars(5)
    np.testing.assert_array_equal(REGISTRY["apple"].function(world), world.close / world.open)


def test_the_same_content_is_executed_once(tmp_path: Path) -> None:
    text = source("mine") + "\nwith open('count', 'a') as stream: stream.write('x')\n"
    path = write(tmp_path / "my.py", text.replace("'count'", repr(str(tmp_path / "count"))))
    copy = write(tmp_path / "copy.py", path.read_bytes())
    first = load_feature_modules([path])
    kept = REGISTRY["mine"]
    assert load_feature_modules([path]) == first == {path: ("mine",)}
    assert load_feature_modules([copy, path]) == {copy: ("mine",), path: ("mine",)}
    assert REGISTRY["mine"] is kept
    assert (tmp_path / "count").read_text() == "x"


def test_a_file_that_is_executed_anew_leaves_what_is_registered(tmp_path: Path) -> None:
    path = write(tmp_path / "my.py", source("mine", "other"))
    load_feature_modules([path])
    before, modules = dict(REGISTRY), dict(sys.modules)
    # What was executed counts, not what the file holds by now.
    path.unlink()
    anew = execute_anew(REGISTRY["other"])
    assert anew is not None
    assert (anew.name, anew.function is REGISTRY["other"].function) == ("other", False)
    assert before == REGISTRY
    assert all(REGISTRY[name] is one for name, one in before.items())
    assert modules == sys.modules
    assert execute_anew(REGISTRY["return_1"]) is None


def test_a_file_that_registers_otherwise_when_executed_anew_is_refused(tmp_path: Path) -> None:
    text = (
        source("mine").replace("@feature", "register = feature")
        + """
from pathlib import Path
seen = Path(__file__).with_suffix(".seen")
mine.__name__ = "other" if seen.exists() else "mine"
seen.touch()
register(mine)
"""
    )
    path = write(tmp_path / "my.py", text)
    load_feature_modules([path])
    with pytest.raises(FeatureError) as caught:
        execute_anew(REGISTRY["mine"])
    assert str(caught.value) == (
        f"{path}: registers mine at times only; register it whenever it is executed"
    )


def test_content_whose_features_are_gone_is_executed_again(tmp_path: Path) -> None:
    path = write(tmp_path / "my.py", source("mine"))
    load_feature_modules([path])
    del REGISTRY["mine"]
    assert load_feature_modules([path]) == {path: ("mine",)}
    assert "mine" in REGISTRY


def test_a_changed_file_replaces_what_it_registered(tmp_path: Path) -> None:
    path = write(tmp_path / "my.py", source("old", "kept", lookback=1))
    load_feature_modules([path])
    write(path, source("kept", "new", lookback=2))
    assert load_feature_modules([path]) == {path: ("kept", "new")}
    assert "old" not in REGISTRY
    assert REGISTRY["kept"].lookback_bars == 2


def test_a_changed_file_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = write(tmp_path / "my.py", source("mine"))
    load_feature_modules([path])
    before = dict(REGISTRY)
    write(path, source("mine", "other") + "1 / 0\n")
    with pytest.raises(FeatureError, match=r"my.py, line \d+: ZeroDivisionError"):
        load_feature_modules([path])
    assert before == REGISTRY


def test_a_file_may_define_and_compare_what_looks_up_its_module(tmp_path: Path) -> None:
    # A dataclass with postponed annotations looks its module up by name.
    text = source("mine", value="np.full(len(bars), float(Size(3).n))")
    path = write(tmp_path / "my.py", text + "\n@dataclass\nclass Size:\n    n: int\n")
    load_feature_modules([path])
    assert REGISTRY["mine"].function(make_bars(2)).tolist() == [3.0, 3.0]


def line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


BROKEN = source("good") + "def f():\n    raise KeyError('no\\nway')\nf()\n"
COLLIDING = source("good", "return_1")
IMPORTING = source("good") + "import my_helpers\n"
LEAVING = source("good") + "import sys\nsys.exit(3)\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import numpy\ndef f(:\n", ", line 2: not Python (invalid syntax); correct the file"),
        (
            BROKEN,
            f", line {line_of(BROKEN, 'raise KeyError')}: KeyError: 'no\\nway'; correct the file",
        ),
        (
            COLLIDING,
            (
                f", line {line_of(COLLIDING, 'def return_1') - 4}: feature 'return_1' is "
                "registered twice; rename one"
            ),
        ),
        (
            IMPORTING,
            (
                f", line {line_of(IMPORTING, 'my_helpers')}: No module named 'my_helpers'; "
                "install it, or move what is needed from a file beside this one into it"
            ),
        ),
        (LEAVING, f", line {line_of(LEAVING, 'sys.exit')}: SystemExit: 3; correct the file"),
        (
            HEAD,
            ": registers no feature; decorate a function with finscale.features.registry.feature",
        ),
        ("", ": registers no feature; "),
        (
            source("mine", lookback=-1),
            ", line 7: feature 'mine', lookback_bars: got -1; give a whole number of bars, 0 or",
        ),
        (
            source("mine").replace("lookback_bars=0", "lookback_bars=1.5"),
            ", line 7: feature 'mine', lookback_bars: got 1.5; give a whole number of bars, 0 or",
        ),
        (
            source("mine").replace("lookback_bars=0", "lookback_bars=lambda: '3'"),
            ", line 7: feature 'mine', lookback_bars: got '3'; give a whole number of bars, 0 or",
        ),
        (
            source("Mine"),
            (
                ", line 7: feature 'Mine': write its name in lower case letters, digits and '_', a "
                "letter first"
            ),
        ),
    ],
)
def test_a_faulty_file_is_refused_and_leaves_no_trace(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path / "my.py", text)
    write(tmp_path / "my_helpers.py", "")
    before = dict(REGISTRY)
    with pytest.raises(FeatureError) as caught:
        load_feature_modules([path])
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)
    assert before == REGISTRY
    assert user_modules() == []
    # It is no better the second time.
    with pytest.raises(FeatureError):
        load_feature_modules([path])


@pytest.mark.parametrize("content", [b"x = '\xff'\n", b"x\0 = 1\n", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "my.py", content)
    with pytest.raises(FeatureError) as caught:
        load_feature_modules([path])
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("; correct the file")
    assert "\n" not in str(caught.value)


def test_a_name_of_another_module_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.py", source("mine"))
    two = write(tmp_path / "two.py", source("mine", lookback=1))
    with pytest.raises(FeatureError, match=r"two.py, line \d+: feature 'mine' is registered twice"):
        load_feature_modules([one, two])
    assert REGISTRY["mine"].lookback_bars == 0


def test_an_interruption_is_not_swallowed(tmp_path: Path) -> None:
    path = write(tmp_path / "my.py", source("mine") + "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_feature_modules([path])
    assert "mine" not in REGISTRY
    assert user_modules() == []


@pytest.mark.parametrize(("name", "message"), [("no.py", "no such file"), (".", "Is a directory")])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(FeatureError) as caught:
        load_feature_modules([tmp_path / name])
    assert str(caught.value) == (
        f"{tmp_path / name}: {message}; give the path of a Python file that registers features"
    )


def test_no_paths_no_names() -> None:
    assert load_feature_modules([]) == {}
