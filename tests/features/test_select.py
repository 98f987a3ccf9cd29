from __future__ import annotations

from pathlib import Path

import pytest

from finscale.errors import FeatureError
from finscale.features.registry import REGISTRY
from finscale.features.select import own_features, study_features
from finscale.features.tiers import TIERS
from tiny import tiny_study

SOURCE = """\
from finscale.features.registry import feature

@feature(
    family="mine", meaning="m", formula="f", reference="r (2000)", inputs=["close"],
    lookback_bars=0,
)
def {name}(bars):
    return bars.close / bars.open
"""


def module(directory: Path, name: str) -> str:
    path = directory / f"{name}.py"
    path.write_text(SOURCE.format(name=name))
    return str(path)


def test_the_tier_and_then_the_extra_features() -> None:
    study = tiny_study({"features": {"tier": "a25", "extra": ["gap_share_120"]}})
    names = [one.name for one in study_features(study)]
    assert names == [*TIERS["a25"], "gap_share_120"]
    assert own_features(study) == ()


def test_features_of_the_studys_own_modules(tmp_path: Path) -> None:
    study = tiny_study(
        {"features": {"modules": [module(tmp_path, "mine")], "extra": ["mine", "gap_share_120"]}}
    )
    assert [one.name for one in own_features(study)] == ["mine"]
    assert [one.name for one in study_features(study)][-2:] == ["mine", "gap_share_120"]


def test_a_feature_that_another_study_registered_is_not_this_ones(tmp_path: Path) -> None:
    study_features(tiny_study({"features.modules": [module(tmp_path, "mine")]}))
    assert "mine" in REGISTRY
    for others in ([], [module(tmp_path, "other")]):
        with pytest.raises(FeatureError) as caught:
            study_features(tiny_study({"features": {"modules": others, "extra": ["mine"]}}))
        assert str(caught.value) == (
            "features.extra: no feature 'mine'; name one of another tier, or one that a file in "
            "features.modules registers"
        )


def test_a_feature_that_stands_twice_is_refused() -> None:
    with pytest.raises(FeatureError, match=r"^features: rsi_14 would stand twice; remove one$"):
        study_features(tiny_study({"features.extra": ["rsi_14"]}))
