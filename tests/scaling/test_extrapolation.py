from __future__ import annotations

import json

import numpy as np
import pytest

from finscale.errors import FitError
from finscale.scaling.extrapolation import leave_one_out_extrapolation
from finscale.scaling.laws import BrokenPowerLaw, Constant, PowerLaw

SIZES = np.geomspace(1e4, 1e8, 6)


def test_the_planted_law_predicts_the_budget_it_has_not_seen() -> None:
    loss = 0.3 + 4.0 * SIZES**-0.3
    found = leave_one_out_extrapolation(SIZES, loss)
    assert list(found) == ["constant", "power", "power-floor"]
    floor, power, constant = (found[name] for name in ("power-floor", "power", "constant"))
    assert floor.rms_error == pytest.approx(0.0, abs=1e-5)
    assert [one.n for one in floor.left_out] == SIZES.tolist()
    assert floor.largest == floor.left_out[-1]
    # A power law without floor goes on falling where the planted one does not.
    assert power.largest.error < -0.01
    assert constant.largest.error > 0.05


def test_a_constant_by_hand() -> None:
    # Leaving 1, 2, 6 out leaves means of 4, 3.5 and 1.5.
    found = leave_one_out_extrapolation([1, 10, 100], [1.0, 2.0, 6.0], [Constant])["constant"]
    assert [one.predicted for one in found.left_out] == pytest.approx([4.0, 3.5, 1.5])
    assert [one.actual for one in found.left_out] == [1.0, 2.0, 6.0]
    assert [one.error for one in found.left_out] == pytest.approx([3.0, 1.5, -4.5])
    assert found.rms_error == pytest.approx(((9 + 2.25 + 20.25) / 3) ** 0.5)
    assert found.largest.n == 100.0


def test_the_points_of_a_budget_are_left_out_together() -> None:
    found = leave_one_out_extrapolation([1, 1, 10], [1.0, 3.0, 5.0], [Constant])["constant"]
    assert [one.predicted for one in found.left_out] == pytest.approx([5.0, 2.0])
    assert [one.actual for one in found.left_out] == [2.0, 5.0]


def test_a_law_that_the_rest_cannot_determine_has_no_error() -> None:
    found = leave_one_out_extrapolation([1, 10], [1.0, 0.5], [PowerLaw, BrokenPowerLaw])
    for name in ("power", "broken"):
        assert found[name].left_out == ()
        assert found[name].largest is found[name].rms_error is None
    assert json.loads(json.dumps(found["power"].as_dict()))["law"] == "power"


def test_a_single_budget_is_refused() -> None:
    with pytest.raises(FitError, match="a single budget: nothing is left to predict it from"):
        leave_one_out_extrapolation([5, 5], [1.0, 1.1])
