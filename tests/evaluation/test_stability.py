from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from finscale.evaluation.bootstrap import resample
from finscale.evaluation.stability import (
    realised_volatility,
    skill_by_group,
    volatility_regimes,
)
from finscale.evaluation.walk_forward import PeriodScore, summarise_walk_forward


def test_skill_by_group_by_hand():
    drawn = resample(np.arange(6), mean_block=1.0, n_samples=100, seed=0)
    loss = np.array([0.5, 0.3, 0.2, 0.6, 0.6, 9.0])
    base = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 9.0])

    found = skill_by_group(
        loss,
        base,
        np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0]),
        ["2019", "2019", "2019", "2020", "2020", ""],
        drawn,
        benchmark_loss_B=base / 2,
    )

    assert [one.group for one in found] == ["2019", "2020"]
    assert [one.n_rows for one in found] == [3, 2]
    assert [one.few_rows for one in found] == [True, True]
    assert [one.event_rate for one in found] == pytest.approx([1 / 3, 1 / 2])
    assert [one.skill.value for one in found] == pytest.approx([1 / 3, -0.2])
    assert [one.skill_vs_benchmark.value for one in found] == pytest.approx([-1 / 3, -1.4])


def test_a_regime_in_which_there_is_no_skill_is_found():
    rng = np.random.default_rng(0)
    regimes = np.repeat(["calm", "turbulent"], 500)
    rate = np.where(regimes == "turbulent", rng.choice([0.1, 0.7], 1000), 0.4)
    y = (rng.random(1000) < rate).astype(float)
    drawn = resample(np.arange(1000), mean_block=2.0, n_samples=300, seed=0)

    def loss(p):
        return -np.log(np.where(y == 1, p, 1 - p))

    calm, turbulent = skill_by_group(loss(rate), loss(np.full(1000, 0.4)), y, regimes, drawn)

    assert (calm.skill.value, calm.few_rows) == (pytest.approx(0.0), False)
    assert turbulent.skill.low > 0.1
    assert turbulent.skill_vs_benchmark is None


def test_regimes_are_sorted_from_calm_to_turbulent():
    drawn = resample(np.arange(3), mean_block=1.0, n_samples=10, seed=0)

    found = skill_by_group(
        np.ones(3), np.ones(3), np.ones(3), ["turbulent", "middling", "calm"], drawn
    )

    assert [one.group for one in found] == ["calm", "middling", "turbulent"]
    assert skill_by_group(np.ones(3), np.ones(3), np.ones(3), [""] * 3, drawn) == ()


def test_realised_volatility_reads_the_past_only():
    close = np.exp(np.cumsum([0.0, 0.01, -0.01, 0.03, 0.01]))

    found = realised_volatility(close, window=2)

    assert np.isnan(found[:2]).all()
    assert found[2:] == pytest.approx([0.01, 0.02, 0.01])
    assert np.isnan(realised_volatility([1.0, 2.0], window=2)).all()


def test_regimes_are_cut_where_the_training_rows_are_cut():
    # Terciles of 1 … 7 are 3 and 5.
    found = volatility_regimes([2.9, 3.0, 4.9, 5.0, np.nan], [1, 2, 3, 4, 5, 6, 7, np.nan])

    assert found == ["calm", "middling", "middling", "turbulent", ""]
    assert volatility_regimes([1.0, 2.0], [np.nan]) == ["", ""]


def period(year, n_rows, loss, base=0.5, benchmark=None):
    return PeriodScore(date(year, 1, 1), date(year, 12, 31), n_rows, loss, base, benchmark)


def test_walk_forward_by_hand():
    found = summarise_walk_forward(
        [period(2001, 100, 0.4), period(2002, 300, 0.45), period(2003, 100, 0.55)]
    )

    # Skills 0.2, 0.1 and -0.1; pooled 1 - (40 + 135 + 55) / 250.
    assert found.skills == pytest.approx((0.2, 0.1, -0.1))
    assert found.pooled_skill == pytest.approx(0.08)
    assert (found.n_positive, found.n_periods, found.n_rows) == (2, 3, 500)
    assert found.sign_p_value == pytest.approx(0.5)
    assert (found.worst, found.best) == pytest.approx((-0.1, 0.2))
    # t at 97.5% with two degrees of freedom 4.3027, standard deviation 0.15275.
    reach = 4.3027 * 0.15275 / np.sqrt(3)
    assert found.mean_skill.value == pytest.approx(0.2 / 3)
    assert found.mean_skill.high == pytest.approx(0.2 / 3 + reach, rel=1e-4)
    assert found.pooled_skill_vs_benchmark is None


def test_walk_forward_against_a_benchmark():
    found = summarise_walk_forward([period(2001, 10, 0.4, benchmark=0.8)])

    assert found.pooled_skill_vs_benchmark == pytest.approx(0.5)
    assert found.mean_skill.low is None


@pytest.mark.parametrize(
    "periods",
    [
        [],
        [period(2001, 0, 0.4)],
        [period(2002, 5, 0.4), period(2001, 5, 0.4)],
        [period(2001, 5, 0.4), period(2002, 5, 0.4, benchmark=0.4)],
    ],
)
def test_a_walk_that_is_not_forward_is_refused(periods):
    with pytest.raises(ValueError, match="period"):
        summarise_walk_forward(periods)
