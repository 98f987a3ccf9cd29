"""The heat guard: silent while cool, training paused while hot, and stopped before harm is done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from finscale.errors import OverheatedError
from finscale.study import Machine
from finscale.units import duration_text

Phase = Literal["cool", "acceptable", "paused", "stopped"]

# More than one reading, and less than two, so that the second one decides.
_CONFIRM_READINGS = 1.5


@dataclass(frozen=True)
class HeatLimits:
    """Temperatures in °C, of the processor or the GPU, whichever is hotter.

    Attributes
    ----------
    accept_c
        From here on it is warm, which is said once and is no reason to worry.
    resume_c
        Paused training goes on at this temperature or below. Well below ``pause_c``, else it would
        stop and go with every reading.
    pause_c
        From here on training pauses.
    stop_c
        From here on training stops: it is paused at once, and left if that does not help.
    confirm_s
        How long ``stop_c`` has to last in the pause before the run is left. Longer than the time
        between readings: processors touch 95 °C for a second when work begins, and a single
        reading should not end a week's run. 0 leaves at once.
    """

    accept_c: float
    resume_c: float
    pause_c: float
    stop_c: float
    confirm_s: float


def heat_limits(machine: Machine) -> HeatLimits:
    """Return the limits of a study, which has checked their order."""
    return HeatLimits(
        accept_c=machine.accept_c,
        resume_c=machine.resume_c,
        pause_c=machine.pause_c,
        stop_c=machine.stop_c,
        confirm_s=_CONFIRM_READINGS * machine.sample_every_s,
    )


@dataclass(frozen=True)
class Heat:
    """Where the guard stands.

    Attributes
    ----------
    since_s
        When the phase began.
    critical_since_s
        Since when it has been at ``stop_c`` or above; None if it is not.
    """

    phase: Phase = "cool"
    since_s: float = 0.0
    critical_since_s: float | None = None


def advance(heat: Heat, temperature_c: float | None, now_s: float, limits: HeatLimits) -> Heat:
    """Return where the guard stands after a reading; a temperature that is not known is cool.

    ``stopped`` is final. ``paused`` lasts until ``resume_c``; the other phases have no memory.
    """
    if heat.phase == "stopped":
        return heat
    celsius = temperature_c if temperature_c is not None else float("-inf")
    critical_since_s = None
    if celsius >= limits.stop_c:
        critical_since_s = heat.critical_since_s if heat.critical_since_s is not None else now_s
    phase = _phase(heat.phase, celsius, limits)
    if critical_since_s is not None and now_s - critical_since_s >= limits.confirm_s:
        phase = "stopped"
    since_s = heat.since_s if phase == heat.phase else now_s
    return replace(heat, phase=phase, since_s=since_s, critical_since_s=critical_since_s)


def _phase(before: Phase, celsius: float, limits: HeatLimits) -> Phase:
    if celsius >= limits.pause_c or (before == "paused" and celsius > limits.resume_c):
        return "paused"
    return "acceptable" if celsius >= limits.accept_c else "cool"


class HeatGuard:
    """Holds training up while the machine is hot.

    Parameters
    ----------
    read
        Returns the latest temperature in °C, or None; called after every optimiser step, so it
        should look at a stored reading (:meth:`finscale.machine.sampler.Sampler.temperature_c`).
    report
        Takes a line when something changes.
    limits
        When to do what.
    resting
        Entered for the time of a pause, as :meth:`finscale.machine.sampler.Sampler.resting`.
    clock, sleep
        Seconds, monotonic; and how to wait for some.
    poll_s
        Time between two looks in a pause.
    remind_s
        After so long a pause, and again and again, a line says that it lasts.
    """

    def __init__(
        self,
        read: Callable[[], float | None],
        report: Callable[[str], None],
        limits: HeatLimits,
        *,
        resting: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        poll_s: float = 1.0,
        remind_s: float = 1800.0,
    ) -> None:
        self._read, self._report, self._limits = read, report, limits
        self._resting, self._clock, self._sleep = resting, clock, sleep
        self._poll_s, self._remind_s = poll_s, remind_s
        self._heat = Heat(since_s=clock())
        self._temperature_c: float | None = None
        self._said: set[str] = set()
        self._paused_s = 0.0
        self._stopped_at = ""

    @property
    def overheated(self) -> bool:
        """Whether the guard has stopped training."""
        return self._heat.phase == "stopped"

    def require_not_overheated(self) -> None:
        """Check that training was not stopped for heat.

        Raises
        ------
        OverheatedError
            If it was; the message says at which temperature.
        """
        if self.overheated:
            raise OverheatedError(
                f"stopped at {self._stopped_at}, too hot to go on (from {self._limits.stop_c:g} °C "
                "on); let the machine cool and see to its fans"
            )

    @property
    def paused_s(self) -> float:
        """Time spent in pauses so far."""
        return self._paused_s

    def wait_while_hot(
        self, should_stop: Callable[[], bool] = lambda: False
    ) -> Literal["go", "stop"]:
        """Return ``go`` as soon as it is cool enough to compute, at once if it is.

        ``stop`` if it is too hot to go on at all, or if ``should_stop`` said so in a pause. To be
        called between optimiser steps or epochs.
        """
        phase = self._look()
        if phase == "paused":
            phase = self._pause(should_stop)
        if phase == "stopped":
            self._stopped_at = self._stopped_at or self._now()
            self._say_once(
                "stopped",
                f"stopped at {self._now()}: too hot to go on; let the machine cool, see to its "
                "fans, and run the same command again",
            )
        return "stop" if phase in {"stopped", "paused"} else "go"

    def _look(self) -> Phase:
        self._temperature_c = self._read()
        if self._temperature_c is None:
            self._say_once(
                "unknown", "the temperature is not known: training is not paused for heat"
            )
        self._heat = advance(self._heat, self._temperature_c, self._clock(), self._limits)
        if self._heat.phase == "acceptable":
            self._say_once(
                "acceptable",
                f"{self._now()}: acceptable; training would pause from {self._limits.pause_c:g} °C",
            )
        return self._heat.phase

    def _pause(self, should_stop: Callable[[], bool]) -> Phase:
        phase: Phase = "paused"
        until = f"until it is {self._limits.resume_c:g} °C"
        self._report(f"paused at {self._now()}, {until}")
        started_s = reminded_s = now_s = self._clock()
        with self._resting():
            while phase == "paused" and not should_stop():
                self._sleep(self._poll_s)
                phase, now_s = self._look(), self._clock()
                if phase == "paused" and now_s - reminded_s >= self._remind_s:
                    reminded_s = now_s
                    self._report(
                        f"still paused at {self._now()} after {duration_text(now_s - started_s)}, "
                        f"{until}; see to fans, air and other programs"
                    )
        self._paused_s += now_s - started_s
        if phase in {"cool", "acceptable"}:
            self._report(f"resumed at {self._now()}, after {duration_text(now_s - started_s)}")
        return phase

    def _now(self) -> str:
        known = self._temperature_c
        return f"{known:.0f} °C" if known is not None else "an unknown temperature"

    def _say_once(self, what: str, line: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._report(line)
