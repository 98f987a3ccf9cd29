from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.machine.heat import Heat, HeatGuard, HeatLimits, advance, heat_limits
from finscale.study import Machine

LIMITS = HeatLimits(accept_c=70, resume_c=75, pause_c=85, stop_c=95, confirm_s=15)
AT_ONCE = replace(LIMITS, confirm_s=0)


def phases(temperatures: list[float | None], limits: HeatLimits = LIMITS) -> list[str]:
    """Return the phase after each of some readings, 10 s apart."""
    heat = Heat()
    found: list[str] = []
    for number, temperature_c in enumerate(temperatures):
        heat = advance(heat, temperature_c, 10.0 * number, limits)
        found.append(heat.phase)
    return found


def test_the_limits_themselves() -> None:
    for temperature_c, phase in [
        (20.0, "cool"),
        (69.9, "cool"),
        (70.0, "acceptable"),
        (84.9, "acceptable"),
        (85.0, "paused"),
        (94.9, "paused"),
        (95.0, "stopped"),
        (None, "cool"),
    ]:
        assert phases([temperature_c], AT_ONCE) == [phase]


def test_a_pause_lasts_until_it_is_cool_again() -> None:
    assert phases([84.0, 86.0, 84.0, 76.0, 75.0, 84.0, 85.0, 69.0, 84.0]) == [
        "acceptable",
        "paused",
        "paused",
        "paused",
        "acceptable",
        "acceptable",
        "paused",
        "cool",
        "acceptable",
    ]


def test_a_pause_ends_when_the_sensor_is_gone() -> None:
    assert phases([86.0, 80.0, None, 80.0]) == ["paused", "paused", "cool", "acceptable"]


def test_a_moment_of_great_heat_pauses_and_does_not_stop() -> None:
    assert phases([97.0, 90.0, 97.0, 90.0]) == ["paused"] * 4


def test_heat_that_lasts_in_the_pause_stops_for_good() -> None:
    assert phases([97.0, 96.0, 95.0, 20.0, None]) == [
        "paused",
        "paused",
        "stopped",
        "stopped",
        "stopped",
    ]


def test_when_a_phase_began() -> None:
    heat = advance(Heat(), 86.0, 10.0, LIMITS)
    assert heat == Heat("paused", since_s=10.0)
    heat = advance(heat, 95.0, 20.0, LIMITS)
    assert heat == Heat("paused", since_s=10.0, critical_since_s=20.0)
    assert advance(heat, 96.0, 34.9, LIMITS).phase == "paused"
    assert advance(heat, 96.0, 35.0, LIMITS) == Heat("stopped", 35.0, critical_since_s=20.0)
    assert advance(heat, 94.0, 35.0, LIMITS) == Heat("paused", 10.0)


@given(st.lists(st.none() | st.floats(0, 120), max_size=30))
def test_computing_is_never_allowed_from_the_pause_temperature(
    temperatures: list[float | None],
) -> None:
    for temperature_c, phase in zip(temperatures, phases(temperatures), strict=True):
        if temperature_c is not None and temperature_c >= LIMITS.pause_c:
            assert phase in {"paused", "stopped"}
        elif temperature_c is not None and temperature_c <= LIMITS.resume_c:
            assert phase != "paused"


def test_the_limits_are_those_of_the_study() -> None:
    assert heat_limits(Machine()) == LIMITS
    machine = Machine(accept_c=50, resume_c=55, pause_c=60, stop_c=65, sample_every_s=2)
    assert heat_limits(machine) == HeatLimits(50, 55, 60, 65, confirm_s=3)


class Room:
    """A machine whose temperature is a function of time, which passes in sleep only."""

    def __init__(self, temperature_c: Callable[[float], float | None]) -> None:
        self.temperature_c = temperature_c
        self.now_s = 0.0
        self.said: list[str] = []
        self.rested = 0
        self.resting_now = False
        self.slept_hot = False

    def guard(self, limits: HeatLimits = LIMITS) -> HeatGuard:
        return HeatGuard(
            lambda: self.temperature_c(self.now_s),
            self.said.append,
            limits,
            resting=self.resting,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        assert self.resting_now
        self.now_s += seconds

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        self.rested += 1
        self.resting_now = True
        yield
        self.resting_now = False


def test_a_cool_machine_is_never_held_up() -> None:
    room = Room(lambda _: 69.0)
    guard = room.guard()
    assert [guard.wait_while_hot() for _ in range(3)] == ["go"] * 3
    assert (room.said, room.now_s, room.rested) == ([], 0, 0)


def test_a_warm_machine_is_mentioned_once() -> None:
    temperatures = iter([69.0, 70.0, 71.0, 60.0, 72.0])
    room = Room(lambda _: next(temperatures))
    guard = room.guard()
    assert [guard.wait_while_hot() for _ in range(5)] == ["go"] * 5
    assert room.said == ["70 °C: acceptable; training would pause from 85 °C"]


def test_a_hot_machine_waits_until_it_is_cool() -> None:
    # 88 °C, and a tenth of a degree less every second: 75 °C after 130 s.
    room = Room(lambda now_s: 88 - now_s / 10)
    guard = room.guard()
    assert guard.wait_while_hot() == "go"
    assert room.now_s == pytest.approx(130)
    assert guard.paused_s == pytest.approx(130)
    assert room.said == [
        "paused at 88 °C, until it is 75 °C",
        "75 °C: acceptable; training would pause from 85 °C",
        "resumed at 75 °C, after 2m",
    ]
    assert (room.rested, guard.overheated) == (1, False)
    assert guard.wait_while_hot() == "go"
    assert room.now_s == pytest.approx(130)


def test_pauses_add_up() -> None:
    # Every 100 s it is hot for 40 s.
    room = Room(lambda now_s: 90 if now_s % 100 < 40 else 60)
    guard = room.guard()
    for _ in range(3):
        assert guard.wait_while_hot() == "go"
        room.now_s += 60
    assert guard.paused_s == 120
    assert [line.partition(" ")[0] for line in room.said] == ["paused", "resumed"] * 3


def test_a_machine_that_gets_too_hot_is_left() -> None:
    room = Room(lambda now_s: 90 + now_s / 10)
    guard = room.guard()
    assert guard.wait_while_hot() == "stop"
    # 95 °C after 50 s, confirmed after 15 more.
    assert room.now_s == pytest.approx(65, abs=1)
    assert guard.overheated
    assert guard.wait_while_hot() == "stop"
    assert [line.partition(":")[0] for line in room.said] == [
        "paused at 90 °C, until it is 75 °C",
        f"stopped at {90 + room.now_s / 10:.0f} °C",
    ]
    assert "run the same command again" in room.said[-1]


def test_it_can_be_left_at_once() -> None:
    room = Room(lambda _: 95.0)
    guard = room.guard(AT_ONCE)
    assert [guard.wait_while_hot(), guard.wait_while_hot()] == ["stop", "stop"]
    assert (room.now_s, guard.paused_s) == (0, 0)
    [line] = room.said
    assert line.startswith("stopped at 95 °C: too hot to go on; ")


def test_a_stop_request_ends_a_pause() -> None:
    room = Room(lambda _: 88.0)
    guard = room.guard()
    assert guard.wait_while_hot(lambda: room.now_s >= 5) == "stop"
    assert room.now_s == 5
    assert not guard.overheated
    assert room.said == ["paused at 88 °C, until it is 75 °C"]


def test_a_stop_request_does_not_matter_while_cool() -> None:
    room = Room(lambda _: 60.0)
    assert room.guard().wait_while_hot(lambda: True) == "go"


def test_a_long_pause_is_remembered() -> None:
    room = Room(lambda now_s: 80.0 if 0 < now_s < 2 * 3600 else 70.0 if now_s else 86.0)
    assert room.guard().wait_while_hot() == "go"
    reminders = [line for line in room.said if line.startswith("still paused")]
    assert [line.partition(" after ")[2].partition(",")[0] for line in reminders] == [
        "30m",
        "1h00m",
        "1h30m",
    ]
    assert reminders[0].startswith("still paused at 80 °C after 30m, until it is 75 °C; see to")


def test_an_unknown_temperature_is_mentioned_once() -> None:
    room = Room(lambda _: None)
    guard = room.guard()
    assert [guard.wait_while_hot() for _ in range(3)] == ["go"] * 3
    assert room.said == ["the temperature is not known: training is not paused for heat"]
