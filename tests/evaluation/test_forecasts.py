from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from finscale.evaluation.closes import grid_closes
from finscale.evaluation.forecasts import gather_forecasts
from finscale.evaluation.metrics import log_loss
from finscale.evaluation.predictions import predictions_frame


def lines(model, probabilities, *, seed=None, rows=(4, 5, 9), part="test"):
    where = {4: ("b", 3, 1), 5: ("b", 4, 0), 9: ("a", 4, 1)}
    return predictions_frame(
        rows=rows,
        symbols=[where[row][0] for row in rows],
        dates=[date(2020, 1, where[row][1]) for row in rows],
        part=part,
        labels=[where[row][2] for row in rows],
        model=model,
        seed=seed,
        probabilities=probabilities,
    )


def test_rows_come_by_date_and_symbol_and_models_as_they_appear():
    frame = pl.concat([lines("2M", [0.4, 0.5, 0.9]), lines("base_rate", [0.2] * 3)])

    found = gather_forecasts(frame, "test")

    assert found.models == ("2M", "base_rate")
    assert found.row_B.tolist() == [4, 9, 5]
    assert found.symbol_B.tolist() == ["b", "a", "b"]
    assert found.date_B.tolist() == [date(2020, 1, 3), date(2020, 1, 4), date(2020, 1, 4)]
    assert found.y_B.tolist() == [1, 1, 0]
    assert found.of("2M").tolist() == [0.4, 0.9, 0.5]
    assert found.mean_loss("2M") == pytest.approx(log_loss([0.4, 0.9, 0.5], [1, 1, 0]))
    assert found.losses("base_rate").loss_B[0] == pytest.approx(-np.log(0.2))


def test_the_line_without_a_seed_is_the_average_and_is_made_where_it_is_missing():
    given = pl.concat(
        [lines("2M", [0.1] * 3, seed=1), lines("2M", [0.5] * 3, seed=2), lines("2M", [0.35] * 3)]
    )

    assert gather_forecasts(given, "test").of("2M")[0] == 0.35
    assert gather_forecasts(given.filter(pl.col("seed").is_not_null()), "test").of("2M")[
        0
    ] == pytest.approx(0.3)


def test_a_model_scored_on_other_rows_is_refused():
    frame = pl.concat([lines("2M", [0.4, 0.5, 0.9]), lines("20M", [0.4, 0.5], rows=(4, 5))])

    with pytest.raises(ValueError, match="20M lacks 1 of 3 test rows"):
        gather_forecasts(frame, "test")
    with pytest.raises(ValueError, match="no predictions on validation"):
        gather_forecasts(frame, "validation")


def test_closes_on_a_grid():
    found = grid_closes(
        pl.DataFrame(
            {
                "symbol": ["b", "a", "b"],
                "date": [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 3)],
                "close": [1.0, 2.0, 3.0],
            }
        )
    )

    assert found.symbols == ("a", "b")
    assert np.isnan(found.close_TN[0, 0])
    assert found.close_TN[:, 1].tolist() == [1.0, 3.0]
    dates = np.array(["2020-01-03", "2020-01-02"], dtype="datetime64[D]")
    assert [part.tolist() for part in found.places(dates, np.array(["a", "b"]))] == [[1, 0], [0, 1]]
    assert found.up_to(np.datetime64("2020-01-02")).close_TN.shape == (1, 2)
    for symbol, day in (("a", "2020-01-02"), ("c", "2020-01-03"), ("b", "2020-01-05")):
        with pytest.raises(ValueError, match=f"no close of {symbol} on {day}"):
            found.places(np.array([day], dtype="datetime64[D]"), np.array([symbol]))


def test_closes_that_are_none_are_refused():
    frame = pl.DataFrame({"symbol": ["a"], "date": [date(2020, 1, 2)], "close": [1.0]})

    with pytest.raises(ValueError, match="missing: \\['close'\\]"):
        grid_closes(frame.drop("close"))
    with pytest.raises(ValueError, match="twice"):
        grid_closes(pl.concat([frame, frame]))
