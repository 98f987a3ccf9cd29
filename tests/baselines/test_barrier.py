from __future__ import annotations

import numpy as np
import pytest

from finscale.baselines.barrier import needed_log_return, share_reaching
from finscale.market.bars import OHLCV
from finscale.tasks import get_task, label_rows, log_reach


def test_what_is_needed() -> None:
    assert needed_log_return(get_task("threshold_2pct")) == pytest.approx(0.0198026273)
    assert needed_log_return(get_task("threshold_1pct_close")) == pytest.approx(0.00995033085)
    assert needed_log_return(get_task("direction")) == 0.0


def test_shares_by_hand_count_equals_as_reaching_and_are_never_zero_or_one() -> None:
    known = np.array([3.0, 1.0, 2.0, 2.0])
    found = share_reaching(known, np.array([0.0, 1.0, 2.0, 2.5, 9.0]))
    assert found.tolist() == [4.5 / 5, 4.5 / 5, 3.5 / 5, 1.5 / 5, 0.5 / 5]


@pytest.mark.parametrize("task", ["threshold_1pct", "threshold_1pct_close", "direction"])
@pytest.mark.parametrize("horizon", [1, 3])
def test_a_label_says_whether_the_reach_is_what_is_needed(task: str, horizon: int) -> None:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(300)))
    high = close * np.exp(0.01 * rng.random(300))
    dates = np.datetime64("2001-01-01") + np.arange(300)
    bars = OHLCV(dates, close, high, close * 0.99, close, np.ones(300))
    wanted = get_task(task)  # type: ignore[arg-type]
    labels = label_rows(bars, wanted, horizon)
    reach = log_reach(bars, wanted, horizon)
    assert np.array_equal(np.isnan(reach), np.isnan(labels))
    known = ~np.isnan(labels)
    assert np.array_equal(reach[known] >= needed_log_return(wanted), labels[known] == 1)
    assert 0.1 < labels[known].mean() < 0.9


def test_too_few_bars_have_no_reach() -> None:
    one = np.ones(2)
    bars = OHLCV(np.arange(2).astype("datetime64[D]"), one, one, one, one, one)
    assert np.isnan(log_reach(bars, get_task("threshold_1pct"), 5)).all()
