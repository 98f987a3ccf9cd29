from __future__ import annotations

import numpy as np
import pytest

from finscale.scaling.laws import Constant, PowerLaw, PowerLawWithFloor


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
