"""Which architectures of a grid were tried, and which never: what a search can have missed.

Reads architectures only, no torch, so that the report can use it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from finscale.models.architecture import Architecture
from finscale.records import Record, TrialRecord, supplementary_runs

Origin = Literal["search", "forced", "supplementary"]
_Key = TypeVar("_Key", float, tuple[int, int])
_DIMENSIONS: dict[str, Callable[[Architecture], float]] = {
    "d_model": lambda one: one.d_model,
    "n_layers": lambda one: one.n_layers,
    "n_heads": lambda one: one.n_heads,
    "ff_ratio": lambda one: one.ff_ratio,
}


@dataclass(frozen=True)
class Cells:
    """How much of a group of architectures was tried.

    Attributes
    ----------
    n
        Architectures of the grid in the group.
    n_tried
        Those of them that were trained at least once.
    n_trials
        Trainings of them, repeated architectures counted each time.
    """

    n: int
    n_tried: int
    n_trials: int

    def as_dict(self) -> dict[str, int]:
        """Return the counts, JSON-ready."""
        return {"n": self.n, "n_tried": self.n_tried, "n_trials": self.n_trials}


@dataclass(frozen=True)
class Coverage:
    """What was tried of one experiment's grid.

    Attributes
    ----------
    total
        Of the whole grid.
    extremes
        Of those that a search tries first.
    n_trials_by_origin
        Trainings by what asked for them.
    outside
        Architectures that were trained and are not in the grid, sorted.
    by_dimension
        Dimension to value to the architectures of that value, values ascending.
    by_shape
        (n_layers, d_model) to the architectures of that depth and width.
    never
        The architectures of the grid that no training had, sorted.
    """

    total: Cells
    n_trials_by_origin: Mapping[Origin, int]
    outside: tuple[Architecture, ...]
    by_dimension: Mapping[str, Mapping[float, Cells]]
    by_shape: Mapping[tuple[int, int], Cells]
    never: tuple[Architecture, ...]
    extremes: Cells = Cells(0, 0, 0)

    def as_dict(self) -> dict[str, Any]:
        """Return the coverage, JSON-ready; architectures by their labels."""
        return {
            **self.total.as_dict(),
            "extremes": self.extremes.as_dict(),
            "n_trials_by_origin": dict(self.n_trials_by_origin),
            "outside": [one.label for one in self.outside],
            "by_dimension": {
                name: {f"{value:g}": cells.as_dict() for value, cells in values.items()}
                for name, values in self.by_dimension.items()
            },
            "by_shape": [
                {"n_layers": n_layers, "d_model": d_model, **cells.as_dict()}
                for (n_layers, d_model), cells in self.by_shape.items()
            ],
            "never": [one.label for one in self.never],
        }


def coverage(
    architectures: Iterable[Architecture],
    tried: Iterable[tuple[Architecture, Origin]],
    extremes: Iterable[Architecture] = (),
) -> Coverage:
    """Compare what was tried with a grid.

    Parameters
    ----------
    architectures
        All of the experiment's.
    tried
        One item per training run, and what asked for it. A trial that failed counts: it was tried.
    extremes
        Those that a search tries first.
    """
    grid = sorted(set(architectures))
    runs = list(tried)
    counts = Counter(one for one, _ in runs)
    by_origin = Counter(origin for _, origin in runs)

    def cells(group: Sequence[Architecture]) -> Cells:
        return Cells(
            n=len(group),
            n_tried=sum(counts[one] > 0 for one in group),
            n_trials=sum(counts[one] for one in group),
        )

    def grouped(key: Callable[[Architecture], _Key]) -> dict[_Key, Cells]:
        values = sorted({key(one) for one in grid})
        return {value: cells([one for one in grid if key(one) == value]) for value in values}

    return Coverage(
        total=cells(grid),
        n_trials_by_origin={origin: by_origin[origin] for origin in sorted(by_origin)},
        outside=tuple(sorted(set(counts) - set(grid))),
        by_dimension={name: grouped(value) for name, value in _DIMENSIONS.items()},
        by_shape=grouped(lambda one: (one.n_layers, one.d_model)),
        never=tuple(one for one in grid if not counts[one]),
        extremes=cells(sorted(set(extremes))),
    )


def tried_in(records: Iterable[Record]) -> list[tuple[Architecture, Origin]]:
    """Return what the records of an experiment say was trained, and what asked for it."""
    known = list(records)
    trials: list[tuple[Architecture, Origin]] = [
        (Architecture.parse(one.architecture), "forced" if one.forced else "search")
        for one in known
        if isinstance(one, TrialRecord)
    ]
    return trials + [
        (Architecture.parse(one.architecture), "supplementary") for one in supplementary_runs(known)
    ]


def short_line(found: Coverage) -> str:
    """Return ``tried 12 of 48 architectures, 9 of 9 extremes``."""
    total, forced = found.total, found.extremes
    text = f"tried {total.n_tried} of {total.n} architectures"
    return f"{text}, {forced.n_tried} of {forced.n} extremes" if forced.n else text


def describe(found: Coverage) -> str:
    """Return the coverage in one line."""
    total = found.total
    origins = ", ".join(f"{n} {origin}" for origin, n in found.n_trials_by_origin.items())
    never = untouched(found)
    text = f"{total.n_tried} of {total.n} architectures tried in {count(total.n_trials, 'run')}"
    text += f" ({origins})" if origins else ""
    return f"{text}; never: {', '.join(never)}" if never else text


def untouched(found: Coverage) -> list[str]:
    """Return the values of the grid's dimensions that no run had: ``n_layers 96``."""
    return [
        f"{name} {value:g}"
        for name, values in found.by_dimension.items()
        for value, cells in values.items()
        if cells.n_tried == 0
    ]


def count(number: int, noun: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
