from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import finscale
from finscale.errors import FitError
from finscale.scaling.line import fit_line

SIZES = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8]


def test_the_numbers_are_those_worked_out_by_hand() -> None:
    # x = e^0, e^1, e^2; y = 0, 1, 1: slope 1/2, intercept 1/6, residuals -1/6, 1/3, -1/6.
    line = fit_line(x=np.exp([0.0, 1.0, 2.0]), y=[0.0, 1.0, 1.0], confidence=0.5)
    assert (line.a.estimate, line.b.estimate) == pytest.approx((1 / 6, 1 / 2))
    assert line.rss == pytest.approx(1 / 6)
    # s² = rss / 1; se(b) = s / sqrt(2); t of one degree of freedom has quartile 1.
    assert line.standard_errors["b"] == pytest.approx(math.sqrt(1 / 12))
    assert line.b.high - line.b.estimate == pytest.approx(math.sqrt(1 / 12))
    assert line.change.estimate == pytest.approx(1.0)
    assert line.predict(math.e**4) == pytest.approx(1 / 6 + 2.0)


@pytest.mark.parametrize(("slope", "kind"), [(0.3, "rises"), (-0.3, "falls")])
def test_a_planted_slope_is_found(slope: float, kind: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 6)
    line = fit_line(x=SIZES, y=-1.0 + slope * np.log(SIZES) + noise)
    assert line.kind == kind
    assert line.b.low < slope < line.b.high


@pytest.mark.parametrize("n_rows", [1, 3])
def test_noise_is_seldom_a_slope_and_intervals_cover(n_rows: int) -> None:
    rng = np.random.default_rng(1)
    n = 1000
    # Rows of one size share its noise, as the horizons and tiers of one budget do.
    lines = [fit_line(x=np.repeat(SIZES, n_rows), y=rng.normal(size=6).repeat(n_rows))
             for _ in range(n)]  # fmt: skip
    found = sum(line.kind != "no_evidence" for line in lines)
    covered = sum(line.b.low <= 0.0 <= line.b.high for line in lines)
    # Both ends of a binomial test at 1 in 10,000: a rate of at most 2%, a coverage of 95%.
    assert found <= stats.binom.ppf(1 - 1e-4, n, 0.02)
    assert stats.binom.ppf(1e-4, n, 0.95) <= covered <= stats.binom.ppf(1 - 1e-4, n, 0.95)


def test_it_is_the_regression_of_scipy() -> None:
    y = np.random.default_rng(2).normal(size=6)
    line, known = fit_line(x=SIZES, y=y), stats.linregress(np.log(SIZES), y)
    assert line.a.estimate == pytest.approx(known.intercept)
    assert line.b.estimate == pytest.approx(known.slope)
    assert line.standard_errors == pytest.approx({"a": known.intercept_stderr, "b": known.stderr})


@given(
    y=st.lists(st.floats(-10, 10), min_size=6, max_size=6),
    unit=st.floats(1e-3, 1e3),
)
@settings(max_examples=50)
def test_the_unit_of_size_changes_nothing_but_the_intercept(y: list[float], unit: float) -> None:
    one, other = fit_line(x=SIZES, y=y), fit_line(x=np.multiply(SIZES, unit), y=y)
    assert one.b.estimate == pytest.approx(other.b.estimate, abs=1e-9)
    assert one.change.low == pytest.approx(other.change.low, abs=1e-7)


@pytest.mark.parametrize("level", [0.0, -0.3])
def test_what_never_changes_is_no_evidence(level: float) -> None:
    line = fit_line(x=SIZES, y=[level] * 6)
    assert line.kind == "no_evidence"
    assert line.change.estimate == pytest.approx(0.0, abs=1e-12)


def test_five_sizes_are_too_few() -> None:
    assert fit_line(x=SIZES[:5], y=[1, 2, 3, 4, 5]).kind == "too_few_points"


def test_the_facade_reads_tables_and_expressions() -> None:
    table = {"params": SIZES, "sharpe": [-0.2, 0.1, 0.0, 0.3, -0.1, 0.2]}
    line = finscale.fit_line(table, x="2*params", y="sharpe - 1")
    assert line.n_points == 6
    told = line.as_dict()
    assert told["law"] == "line"
    assert set(told["parameters"]) == set(told["standard_errors"]) == set(told["intervals"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": [1, 2], "y": [1, 2]}, "points: a line needs three sizes, got 2; measure more"),
        ({"x": [1, 1, 2], "y": [1, 2, 3]}, "points: a line needs three sizes, got 2"),
        ({"x": [1, 2, 3], "y": [1, 2, 1e300]}, "points: numbers beyond 1e\\+50"),
        ({"x": [1e-300, 2, 3], "y": [1, 2, 3]}, "points: numbers beyond 1e\\+50"),
        ({"x": [1, 2, 3], "y": [1, 2]}, "points: x has 3 values and y 2"),
        ({"x": [1, -2, 3], "y": [1, 2, 3]}, "row 2: x is -2, and must be positive and finite"),
        ({"x": [1, 2, 3], "y": [1, 2, "x"]}, "row 3: y is 'x', not a number"),
        ({"x": [1, 2, 3], "y": [1, 2, math.inf]}, "row 3: y is inf, and must be finite"),
        ({"x": "a", "y": [1, 2, 3]}, "x a: a column needs points to be one of"),
        ({"x": [1, 2, 3], "y": [1, 2, 3], "confidence": 1.0}, "confidence 1: give a share"),
    ],
)
def test_what_cannot_be_fitted_is_refused(given: dict, message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit_line(**given)
