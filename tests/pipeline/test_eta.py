from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.pipeline.eta import Work, time_left_s, total_s, with_first_trials


def work(
    *trials_s: float,
    finals_s: tuple[float, ...] = (),
    measured: float = 0.0,
    planned: float = 100.0,
    left: tuple[int, int] = (0, 0),
) -> Work:
    return Work(trials_s, finals_s, measured, planned, *left)


def test_an_experiment_takes_what_its_own_trials_took() -> None:
    # 4 trials of 20 s and 2 final runs of 50 s, shared by three workers.
    own = work(10.0, 30.0, finals_s=(50.0,), measured=100.0, left=(4, 2))
    assert time_left_s([own], 3) == [pytest.approx(60.0)]


def test_before_the_first_final_run_it_takes_as_long_as_a_trial() -> None:
    assert time_left_s([work(10.0, measured=100.0, left=(1, 3))], 1) == [40.0]


def test_an_experiment_without_trials_is_scaled_by_flops_from_the_nearest() -> None:
    small = work(1.0, measured=10.0, planned=12.0)
    large = work(600.0, measured=1000.0, planned=1000.0)
    # Nearer to the large one as a ratio (4 against 25), though not as a difference.
    between = work(planned=250.0, left=(2, 0))
    assert time_left_s([small, large, between], 1) == [0.0, 0.0, pytest.approx(300.0)]


def doing(label: str, epoch: int, passed_s: int) -> dict[str, object]:
    times = {"run_started_at": "2024-01-01T00:00:00+00:00", "epochs": 30}
    return times | {"label": label, "epoch": epoch, "at": f"2024-01-01T00:00:{passed_s:02d}+00:00"}


def test_first_trials_under_way_are_taken_to_go_on_at_their_pace() -> None:
    first = work(left=(4, 0))
    # 10 epochs in 20 s: 60 s for the 30 of the trial. 15 in 50 s: 100 s.
    known = with_first_trials(
        first, [doing("trial 0 (extreme)", 10, 20), doing("trial 1", 15, 50)], 1
    )
    assert time_left_s([known], 2) == [pytest.approx(4 * 80.0 / 2)]
    assert with_first_trials(first, [doing("trial 0", 10, 20)], 3).trials_s == [180.0]
    for nothing in (doing("trial 0", 0, 5), doing("trial 0", 3, 0), doing("seed 0", 3, 9)):
        assert with_first_trials(first, [nothing], 1) == first
    measured = work(10.0, measured=100.0, left=(1, 0))
    assert with_first_trials(measured, [doing("trial 1", 10, 20)], 1) == measured


def test_nothing_measured_is_unknown_and_nothing_left_is_nothing() -> None:
    times = time_left_s([work(left=(5, 3)), work()], 2)
    assert times == [None, 0.0]
    assert total_s(times) is None
    assert total_s([1.0, 2.0]) == 3.0
    assert total_s([]) == 0.0


def test_without_a_live_worker_it_is_as_with_one() -> None:
    one = work(10.0, measured=1.0, left=(3, 0))
    assert time_left_s([one], 0) == time_left_s([one], 1) == [30.0]


@given(
    st.floats(1.0, 1e6),
    st.floats(1e6, 1e15),
    st.floats(1e6, 1e15),
    st.integers(1, 50),
    st.integers(1, 16),
)
def test_time_is_in_proportion_to_flops_and_work_and_workers(
    trial_s: float, measured: float, planned: float, n_left: int, n_workers: int
) -> None:
    known = work(trial_s, measured=measured, planned=measured)
    other = work(planned=planned, left=(n_left, 0))
    [_, left_s] = time_left_s([known, other], n_workers)
    assert left_s == pytest.approx(trial_s * planned / measured * n_left / n_workers)
