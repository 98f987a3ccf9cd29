from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator

import pytest

from finscale.market.sources.retry import Patience, RateLimitedError, Retrying, TemporaryError


class BelievedError(TemporaryError):
    max_retries = 1


class Clock:
    """A clock that only sleeping moves, and that remembers how long each sleep was."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
        self.now_s += duration_s


class Highest(random.Random):
    """Draws the upper end of every interval, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.intervals: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.intervals.append((a, b))
        return b


@pytest.fixture
def clock() -> Clock:
    return Clock()


def retrying(clock: Clock, rng: random.Random | None = None, **given: float) -> Retrying:
    patience = Patience(**given)
    return Retrying(patience, clock.sleep, lambda: clock.now_s, rng or Highest())


def answers(*outcomes: Exception | str) -> Callable[[], str]:
    left: Iterator[Exception | str] = iter(outcomes)

    def ask() -> str:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return ask


def test_an_answer_is_taken_at_once(clock: Clock) -> None:
    assert retrying(clock)(answers("yes"), what="SPY") == ("yes", 1)
    assert clock.slept_s == []


def test_pauses_double_up_to_the_cap(clock: Clock) -> None:
    ask = answers(*[TemporaryError("no")] * 5, "yes")
    assert retrying(clock, base_s=2, cap_s=10, min_interval_s=0)(ask, what="SPY") == ("yes", 6)
    assert clock.slept_s == [2, 4, 8, 10, 10]


def test_pauses_are_drawn_from_the_whole_interval(clock: Clock) -> None:
    ask = answers(TemporaryError("no"), TemporaryError("no"), RateLimitedError("limit"), "yes")
    rng = Highest()
    given = {"base_s": 2, "rate_limit_base_s": 30, "rate_limit_cap_s": 100}
    retrying(clock, rng, **given)(ask, what="SPY")
    assert rng.intervals == [(0, 2), (0, 4), (30, 130)]
    # Two programs that fail together do not come back together.
    assert Retrying().rng.random() != Retrying().rng.random()


def test_a_rate_limit_waits_longer(clock: Clock) -> None:
    ask = answers(*[RateLimitedError("limit")] * 5, "yes")
    given = {"rate_limit_base_s": 30, "rate_limit_cap_s": 100, "min_interval_s": 0}
    assert retrying(clock, **given)(ask, what="SPY") == ("yes", 6)
    assert clock.slept_s == [60, 90, 130, 130, 130]


def test_requests_keep_their_distance(clock: Clock) -> None:
    ask = retrying(clock, min_interval_s=3, base_s=1)
    ask(answers("a"), what="SPY")
    ask(answers("b"), what="DIA")
    clock.now_s += 2
    ask(answers("c"), what="QQQ")
    clock.now_s += 5
    ask(answers("d"), what="IWM")
    assert clock.slept_s == [3, 1]
    # After a failure too: the pause of 1 s is shorter than the distance.
    ask(answers(TemporaryError("no"), "e"), what="EFA")
    assert clock.slept_s == [3, 1, 3, 1, 2]


@pytest.mark.parametrize("n_retries", [0, 3])
def test_the_last_error_comes_out_when_patience_ends(clock: Clock, n_retries: int) -> None:
    errors = [TemporaryError(str(number)) for number in range(10)]
    with pytest.raises(TemporaryError, match=f"^{n_retries}$"):
        retrying(clock, n_retries=n_retries, min_interval_s=0)(answers(*errors), what="SPY")
    assert len(clock.slept_s) == n_retries


def test_some_errors_are_believed_sooner(clock: Clock) -> None:
    ask = answers(
        TemporaryError("no"), BelievedError("a"), TemporaryError("no"), BelievedError("b"), "yes"
    )
    with pytest.raises(BelievedError, match=r"^b$"):
        retrying(clock)(ask, what="SPY")


def test_other_errors_pass(clock: Clock) -> None:
    with pytest.raises(KeyError):
        retrying(clock)(answers(KeyError("bug")), what="SPY")
    assert clock.slept_s == []


def test_the_user_is_told_why_nothing_happens(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="finscale"):
        retrying(clock)(answers(RateLimitedError("too many"), "yes"), what="Yahoo ^DJI")
    assert caplog.messages == ["Yahoo ^DJI: too many; asking again in 60 s (1 of 5)"]


def test_patience_without_end_does_not_overflow() -> None:
    assert Patience(cap_s=60).bound_s(10_000, rate_limited=False) == (0.0, 60)
