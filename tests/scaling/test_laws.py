from __future__ import annotations

import numpy as np
import pytest

from finscale.scaling.laws import (
    LAW_OF,
    BrokenPowerLaw,
    Constant,
    DataConstrained,
    PowerLaw,
    PowerLawWithFloor,
    Surface,
    effective,
    find_law,
    short_name,
    unique_size,
)


@pytest.mark.parametrize(
    ("law", "params", "expected"),
    [
        (Constant, {"E": 0.35}, [0.35, 0.35]),
        (PowerLaw, {"A": 4.0, "alpha": 0.5}, [0.4, 0.04]),
        (PowerLawWithFloor, {"E": 0.3, "A": 4.0, "alpha": 0.5}, [0.7, 0.34]),
        (PowerLawWithFloor, {"E": 0.3, "A": -1.0, "alpha": 0.5}, [0.2, 0.29]),
    ],
)
def test_predictions_by_hand(law, params, expected):
    assert law.predict(params, [100, 10_000]).tolist() == pytest.approx(expected)


def test_number_of_parameters():
    assert [law.n_parameters for law in (Constant, PowerLaw, PowerLawWithFloor)] == [1, 2, 3]


def test_prediction_keeps_the_shape():
    assert PowerLaw.predict({"A": 1.0, "alpha": 1.0}, np.ones((2, 3))).shape == (2, 3)


def test_missing_parameter_is_an_error():
    with pytest.raises(KeyError):
        PowerLawWithFloor.predict({"E": 0.3}, [1])


def test_a_surface_by_hand() -> None:
    p = {"E": 1.0, "A": 4.0, "B": 9.0, "alpha": 0.5, "beta": 0.5}
    assert Surface.predict(p, [4.0, 16.0], [9.0, 81.0]) == pytest.approx([6.0, 3.0])
    assert Surface.variables == ("N", "D")
    with pytest.raises(TypeError, match="takes N, D, got 1 arrays"):
        Surface.predict(p, [1.0])


def test_repeated_data_by_hand() -> None:
    # One repetition at R* = 1: D' = U (1 + 1 - 1/e); as much as there is, or less, counts in full.
    total, unique = np.array([200.0, 100.0, 50.0]), np.array([100.0, 100.0, 100.0])
    assert effective(total, unique, 1.0) == pytest.approx([163.21205588, 100.0, 50.0])
    # Endless repetition is worth U (1 + R*).
    assert effective(np.array([1e9]), np.array([100.0]), 15.4) == pytest.approx([1640.0])


def test_the_size_that_unique_data_deserve() -> None:
    # Equal terms: as much size as data.
    p = {"A": 3.0, "B": 3.0, "alpha": 0.4, "beta": 0.4}
    n, unique = np.array([1e3, 1e7]), np.array([1e5, 1e5])
    assert unique_size(p, n, unique) == pytest.approx([1e3, 1e5])
    assert unique_size(p | {"B": 0.0}, n, unique) == pytest.approx([1e3, 1e7])


def test_without_repetition_the_data_constrained_law_is_the_surface() -> None:
    p = {"E": 1.0, "A": 3.0, "B": 3.0, "alpha": 0.4, "beta": 0.4}
    n, d = np.array([1e3, 1e4]), np.array([1e5, 1e6])
    constrained = DataConstrained.predict(p | {"R_D": 15.4, "R_N": 5.3}, n, d, d)
    assert constrained == pytest.approx(Surface.predict(p, n, d))
    # Half as many distinct samples can only be worse.
    repeated = DataConstrained.predict(p | {"R_D": 15.4, "R_N": 5.3}, n, d, d / 2)
    assert (repeated > constrained).all()


def test_a_broken_law_has_the_slopes_it_says() -> None:
    p = {"E": 0.0, "A": 2.0, "alpha": 0.1, "c": 0.4, "N_b": 1e6, "f": 0.3}
    for n, slope in ((1e2, -0.1), (1e12, -0.5)):
        low, high = np.log(BrokenPowerLaw.predict(p, [n, n * 1.01]))
        assert (high - low) / np.log(1.01) == pytest.approx(slope, abs=1e-6)
    # Equation 1 at the break itself: A N_b^-alpha 2^(-c f).
    assert BrokenPowerLaw.predict(p, 1e6) == pytest.approx(2 * 1e6**-0.1 * 2 ** (-0.12))
    sharp = BrokenPowerLaw.predict(p | {"f": 1e-3}, [1e-3, 1e12])
    assert np.isfinite(sharp).all()


def test_laws_are_found_by_either_name() -> None:
    for name, law in LAW_OF.items():
        assert find_law(name) is find_law(law.name) is law
        assert short_name(law) == name
        assert law.n_parameters == len(law.parameters)
