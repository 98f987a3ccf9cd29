"""Numbers of the page as text: signs, dashes where there is none, and intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from finscale.units import true_minus

NOTHING = "–"


def signed(value: float | None, digits: int = 3) -> str:
    """Format a number with its sign, or a dash where it is undefined; what rounds to 0 is +0."""
    return NOTHING if value is None else true_minus(f"{value:+z.{digits}f}")


def number(value: float | None, digits: int = 3) -> str:
    """Format a number, or a dash where it is undefined."""
    return NOTHING if value is None else true_minus(f"{value:z.{digits}f}")


def percent(value: float, digits: int = 1) -> str:
    """Format a fraction in per cent."""
    return true_minus(f"{100 * value:z.{digits}f}%")


def estimate_text(estimate: Mapping[str, Any] | None, digits: int, *, sign: bool = False) -> str:
    """Format an estimate with its interval, as far as they are defined."""
    show = signed if sign else number
    return with_interval(estimate, lambda value: show(value, digits=digits))


def with_interval(estimate: Mapping[str, Any] | None, show: Callable[[float], str]) -> str:
    """Format an estimate and the ends of its interval, as far as they are defined."""
    if estimate is None or estimate["value"] is None:
        return NOTHING
    if estimate["low"] is None or estimate["high"] is None:
        return show(estimate["value"])
    value, low, high = (show(estimate[end]) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def fitted_text(parameters: Mapping[str, float]) -> str:
    """Format the parameters of a law."""
    return true_minus(", ".join(f"{name} = {value:.4g}" for name, value in parameters.items()))
