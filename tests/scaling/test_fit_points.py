from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_laws import planted_surface

import finscale
from finscale.errors import FitError
from finscale.scaling.estimate import estimate_law
from finscale.scaling.fit_points import OBJECTIVES, fit_law
from finscale.scaling.laws import LAW_OF, PowerLaw, Surface
from finscale.scaling.objective import Objective
from finscale.scaling.resampling import resample_points

POINTS = planted_surface(0, n_points=60)
FRAME = pl.DataFrame({"params": POINTS.n, "flops": 6 * POINTS.n * POINTS.d, "loss": POINTS.loss})


def test_the_facade_fits_files_frames_and_arrays_alike(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "points.csv")
    FRAME.write_parquet(tmp_path / "points.parquet")
    columns = {"n": "params", "d": "flops/(6*params)", "loss": "loss", "bootstrap": 30}
    arrays = finscale.fit_law(n=POINTS.n, d=POINTS.d, loss=POINTS.loss, bootstrap=30)
    for points in (
        tmp_path / "points.csv",
        str(tmp_path / "points.parquet"),
        FRAME,
        FRAME.to_dict(as_series=False),
    ):
        fitted = finscale.fit_law(points, law="surface", **columns)
        assert fitted.parameters == pytest.approx(arrays.parameters, rel=1e-5)
        assert fitted.standard_errors == pytest.approx(arrays.standard_errors, rel=1e-4)


def test_it_is_the_estimate_and_its_resampling() -> None:
    fitted = fit_law(n=POINTS.n, d=POINTS.d, loss=POINTS.loss, bootstrap=40, seed=3)
    fit = estimate_law(Surface, [POINTS.n, POINTS.d], POINTS.loss, Objective("huber", 1e-3))
    refits = resample_points(fit, POINTS.loss, n_samples=40, seed=3)
    assert fitted.law is Surface
    assert fitted.parameters == fit.parameters
    assert fitted.intervals == refits.intervals(0.95)
    np.testing.assert_allclose(fitted.predict(1e9, 1e10), fit.predict(1e9, 1e10))


def test_as_json_has_the_promised_keys_first() -> None:
    fitted = fit_law(FRAME, n="params", d="flops/(6*params)", loss="loss", bootstrap=30, seed=5)
    told = json.loads(json.dumps(fitted.as_dict(), allow_nan=False))
    assert list(told)[:7] == [
        "law",
        "parameters",
        "standard_errors",
        "intervals",
        "objective",
        "n_points",
        "converged",
    ]
    names = ["E", "A", "B", "alpha", "beta"]
    assert list(told["parameters"]) == list(told["standard_errors"]) == names
    assert list(told["intervals"]) == names
    low, high = told["intervals"]["alpha"]
    assert low < told["parameters"]["alpha"] < high
    assert (told["law"], told["n_points"], told["converged"]) == ("surface", 60, True)
    assert (told["huber"], told["seed"], told["resampling"]) == (1e-3, 5, "points")
    assert told["n_bootstrap"] == told["n_bootstrap_converged"] == 30


def test_without_a_bootstrap_there_is_no_spread() -> None:
    told = fit_law(n=POINTS.n, d=POINTS.d, loss=POINTS.loss, bootstrap=0).as_dict()
    assert told["standard_errors"] is told["intervals"] is told["resampling"] is None
    assert "seed" not in told


def test_the_highest_losses_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("n,loss\n1,9\n10,3\n100,9\n1000,2\n10000,1.5\n100000,9\n")
    fitted = fit_law(path, law="power", x="n", loss="loss", drop_highest=2, bootstrap=0)
    # Of the three equal losses the first is kept; lines count the header.
    assert fitted.dropped == (4, 7)
    np.testing.assert_array_equal(fitted.loss_P, [9, 3, 2, 1.5])
    np.testing.assert_array_equal(fitted.variables["N"], [1, 10, 1000, 10000])


def test_objectives_and_resampling() -> None:
    n = np.geomspace(1e4, 1e8, 10)
    loss = 3.0 * n**-0.1 * np.exp(0.01 * np.sin(np.arange(10)))

    def told(**settings: object) -> tuple[str, str | None, float | None]:
        fitted = fit_law(law="power", x=n, loss=loss, bootstrap=20, **settings)
        one = fitted.as_dict()
        return one["objective_kind"], one["resampling"], one["huber"]

    assert told() == ("least-squares", "noise", None)
    assert told(resampling="points") == ("least-squares", "points", None)
    assert told(objective="log-least-squares") == ("log-least-squares", "noise", None)
    assert told(huber=0.01) == ("huber", "points", 0.01)
    assert told(objective="huber") == ("huber", "points", 1e-3)


def test_every_law_by_its_name() -> None:
    rng = np.random.default_rng(0)
    n = np.geomspace(1e4, 1e8, 24)
    d = np.resize(np.geomspace(1e6, 1e9, 5), 24)
    loss = (0.3 + 3.0 * n**-0.2 + 8.0 * d**-0.3) * np.exp(0.01 * rng.standard_normal(24))
    given = {
        "constant": {"bootstrap": 20},
        "power": {"d": n, "bootstrap": 20},
        "power-floor": {"n": n, "bootstrap": 20},
        "broken": {"x": n, "bootstrap": 2},
        "surface": {"n": n, "d": d, "bootstrap": 2},
        "data-constrained": {"n": n, "d": d, "unique_d": d / 2, "bootstrap": 0},
    }
    assert set(given) == set(LAW_OF)
    for name, options in given.items():
        fitted = fit_law(law=name, loss=loss, **options)
        assert fitted.as_dict()["law"] == name
        assert fitted.law is LAW_OF[name]
    assert fit_law(law=PowerLaw, x=n, loss=loss, bootstrap=0).law is PowerLaw


@settings(max_examples=25, deadline=None)
@given(data=st.data(), law=st.sampled_from(sorted(LAW_OF)), n_points=st.integers(1, 9))
def test_any_positive_numbers_have_a_fit_or_an_error(data, law: str, n_points: int) -> None:
    # Numeric warnings are errors here, and JSON takes neither NaN nor infinity.
    one = st.one_of(st.sampled_from([1.0, 2.0, 1e9]), st.floats(1e-20, 1e20))
    names = [{"N": "n", "D": "d", "U_D": "unique_d"}[name] for name in LAW_OF[law].variables]
    columns = {
        name: data.draw(st.lists(one, min_size=n_points, max_size=n_points))
        for name in [*names, "loss"]
    }
    if "unique_d" in columns:
        columns["unique_d"] = np.minimum(columns["unique_d"], columns["d"])
    kind = data.draw(st.sampled_from(OBJECTIVES))
    with contextlib.suppress(FitError):
        fitted = fit_law(law=law, objective=kind, bootstrap=2, **columns)
        told = json.loads(json.dumps(fitted.as_dict(), allow_nan=False))
        assert told["objective"] >= 0.0
        assert np.isfinite(fitted.predict(*fitted.variables.values())).all()


GOOD = {"n": POINTS.n, "d": POINTS.d, "loss": POINTS.loss, "bootstrap": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law": "cubic"}, "law cubic: no such law; choose one of constant, power,"),
        ({"objective": "l1"}, "objective l1: no such objective; choose one of huber,"),
        (
            {"objective": "least-squares", "huber": 0.1},
            "huber 0.1: a width belongs to objective huber, not to least-squares",
        ),
        ({"huber": -1.0}, "huber -1.0: the width must be positive and finite; 1e-3 is usual"),
        ({"huber": np.inf}, "huber inf: the width must be positive and finite; 1e-3 is usual"),
        ({"resampling": "rows"}, "resampling rows: no such way; choose points or noise"),
        ({"resampling": "noise"}, "resampling noise: a Huber fit says nothing of how"),
        ({"drop_highest": -1}, "drop-highest -1: give a number of points, 0 or more"),
        ({"drop_highest": 60}, "drop-highest 60: there are 60 points; leave some to be fitted"),
        ({"drop_highest": 57}, "points: surface has 5 parameters and needs at least as many"),
        ({"bootstrap": 1}, "bootstrap 1: give 0 for none, or 2 samples or more"),
        ({"confidence": 1.0}, "confidence 1: give a share between 0 and 1, such as 0.95"),
        ({"d": None}, "surface is a law of n, d, got n; give exactly these"),
        ({"x": POINTS.n}, "surface is a law of n, d, got x, n, d; give exactly these"),
        ({"law": "power"}, "power is a law of one variable, got n and d; give x, or n, or d"),
        ({"n": "params"}, "n params: a column needs points to be one of; give them first"),
        ({"n": POINTS.n[1:]}, "points: N has 59 values and the loss 60"),
        ({"seed": -1}, "seed -1: give a whole number, 0 or more"),
        (
            {"law": "data-constrained", "d": np.full(60, 100.0), "unique_d": [*[100] * 59, 200]},
            "points, number 60: unique_d is 200 and d 100; unique_d counts the distinct samples",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes, message: str) -> None:
    with pytest.raises(FitError) as caught:
        fit_law(**(GOOD | changes))
    assert str(caught.value).startswith(message)


def test_distinct_samples_may_be_all_of_them_up_to_rounding() -> None:
    seen = np.array([1e5, 262654.0, 1e6] * 4)
    distinct = seen * (1 + 1e-15)
    assert (distinct > seen).any()
    law = {"law": "data-constrained", "n": np.geomspace(1e4, 1e7, 12), "bootstrap": 0}
    fit_law(**law, d=seen, unique_d=distinct, loss=1 + np.geomspace(2, 1, 12))


def test_what_the_points_do_not_tell_apart_has_no_intervals() -> None:
    # Over a span of a thousandth a power and a floor are one straight line.
    n = np.geomspace(1.000e6, 1.001e6, 40)
    fitted = fit_law(n=n, loss=1.0 + 9.0 * n**-0.2, law="power-floor", bootstrap=50)
    assert not fitted.estimate.is_identified
    assert (fitted.intervals, fitted.standard_errors, fitted.resampling) == (None, None, None)
    told = fitted.as_dict()
    assert (told["identified"], told["intervals"]) == (False, None)


def test_data_in_proportion_to_size_is_no_second_variable() -> None:
    n = np.geomspace(1e6, 1e9, 30)
    with pytest.raises(FitError, match="D is in proportion to a power of N"):
        fit_law(n=n, d=20 * n, loss=1.8 + 480 * n**-0.35 + 2000 * (20 * n) ** -0.37)


@pytest.mark.parametrize("few", ["n", "d"])
def test_a_surface_needs_three_values_of_each_variable(few: str) -> None:
    many = np.tile(np.geomspace(1e3, 1e6, 6), 2)
    two = np.repeat([1e4, 1e5], 6)
    given = {"n": many, "d": two} if few == "d" else {"n": two, "d": many}
    with pytest.raises(FitError, match=rf"{few.upper()} takes 2 values"):
        fit_law(**given, loss=1 + many**-0.3 + two**-0.3, bootstrap=0)
