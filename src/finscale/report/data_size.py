"""Losses of different data sizes side by side, where a study has more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from finscale.records import BASE_RATE
from finscale.report.numbers import NOTHING, number, signed
from finscale.report.tables import COLLAPSED_MARK, Table
from finscale.report.theme import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    display,
    dress,
    round_ticks,
)
from finscale.study_rows import DataSize
from finscale.units import count_text

_BUDGET_COLORS = (BLUE, GREEN, ORANGE, SKY, AMBER)
_BASELINE_DASHES = ("dash", "dashdot", "longdash", "solid", "longdashdot")
_DIGITS = 4


@dataclass(frozen=True)
class DataSizes:
    """One horizon and task across its data sizes.

    Attributes
    ----------
    table
        Log-loss on test of every model, a column for each size, the smallest first.
    figure
        The same against training rows; None while fewer than two sizes have a score.
    """

    horizon_bars: int
    task: str
    table: Table
    figure: go.Figure | None

    @property
    def name(self) -> str:
        """``h1_threshold_1pct``."""
        return f"h{self.horizon_bars}_{self.task}"


@dataclass(frozen=True)
class _Model:
    """Log-losses on test by size: of each seed, or of the one fit of a baseline."""

    label: str
    is_budget: bool
    losses: tuple[tuple[float, ...], ...]
    collapsed: tuple[bool, ...]

    def mean(self, place: int) -> float | None:
        of_seeds = self.losses[place]
        return sum(of_seeds) / len(of_seeds) if of_seeds else None


def compare_data_sizes(summary: Mapping[str, Any]) -> list[DataSizes]:
    """Return every horizon and task that a study has at two data sizes or more.

    Every size is scored on the same rows, so log-losses compare. Skill does not quite: it is
    measured from each size's own training base rate.

    Parameters
    ----------
    summary
        Of `finscale.report.summary.build_summary`.
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for cell in summary["cells"]:
        groups.setdefault((cell["task"], cell["horizon_bars"]), []).append(cell)
    return [
        _compare(horizon, task, cells) for (task, horizon), cells in groups.items() if cells[1:]
    ]


def _compare(horizon: int, task: str, cells: Sequence[Mapping[str, Any]]) -> DataSizes:
    # Before there are data nobody knows how many rows a size trains on.
    cells = sorted(cells, key=lambda cell: _n_rows(cell) or 0)
    models = _models(cells)
    return DataSizes(horizon, task, _table(cells, models), _figure(cells, models))


def _models(cells: Sequence[Mapping[str, Any]]) -> list[_Model]:
    baselines = dict.fromkeys(name for cell in cells for name in cell["baselines"])
    budgets = dict.fromkeys(label for cell in cells for label in cell["budgets"])
    return [_baseline(name, cells) for name in baselines] + [_budget(b, cells) for b in budgets]


def _baseline(name: str, cells: Sequence[Mapping[str, Any]]) -> _Model:
    scores = [cell["baselines"].get(name) for cell in cells]
    return _Model(
        label=display(name),
        is_budget=False,
        losses=tuple(() if one is None else (one["test"]["log_loss"],) for one in scores),
        # The base rate cannot but be collapsed: it is the yardstick, not a finding.
        collapsed=tuple(
            one is not None and name != BASE_RATE and bool(one["test"]["collapsed"])
            for one in scores
        ),
    )


def _budget(label: str, cells: Sequence[Mapping[str, Any]]) -> _Model:
    found = [cell["budgets"].get(label) for cell in cells]
    return _Model(
        label=f"{label} transformer",
        is_budget=True,
        losses=tuple(
            () if one is None else tuple(seed["test"]["log_loss"] for seed in one["seeds"])
            for one in found
        ),
        collapsed=tuple(one is not None and "test" in one["collapsed_on"] for one in found),
    )


def _n_rows(cell: Mapping[str, Any]) -> int | None:
    part = cell["parts"].get("train")
    return None if part is None else int(part["n"])


def _size_text(cell: Mapping[str, Any]) -> str:
    label = DataSize(**cell["data_size"]).label.replace("_", " ") or "all data"
    rows = _n_rows(cell)
    return label if rows is None else f"{label}, {rows:,} rows"


def _table(cells: Sequence[Mapping[str, Any]], models: Sequence[_Model]) -> Table:
    rows = []
    for model in models:
        means = [model.mean(place) for place in range(len(cells))]
        smallest, largest = means[0], means[-1]
        change = None if smallest is None or largest is None else largest - smallest
        rows.append(
            (
                model.label,
                *(
                    number(mean, _DIGITS) + COLLAPSED_MARK * is_collapsed
                    for mean, is_collapsed in zip(means, model.collapsed, strict=True)
                ),
                signed(change, _DIGITS),
                _seed_range(model),
            )
        )
    header = ("model", *map(_size_text, cells), "largest − smallest", "widest range of seeds")
    return Table(header, tuple(rows))


def _seed_range(model: _Model) -> str:
    """Return how far apart the seeds of one size are at most: what a change has to exceed."""
    several = [of_seeds for of_seeds in model.losses if len(of_seeds) > 1]
    if not several:
        return NOTHING
    return number(max(max(of_seeds) - min(of_seeds) for of_seeds in several), _DIGITS)


def _figure(cells: Sequence[Mapping[str, Any]], models: Sequence[_Model]) -> go.Figure | None:
    scored = [
        place
        for place, cell in enumerate(cells)
        if _n_rows(cell) and any(model.losses[place] for model in models)
    ]
    if len(scored) < 2:
        return None
    figure = go.Figure()
    baselines = [model for model in models if not model.is_budget]
    budgets = [model for model in models if model.is_budget and any(model.losses)]
    for place, model in enumerate(baselines):
        dash = (
            "dot"
            if model.label == display(BASE_RATE)
            else _BASELINE_DASHES[place % len(_BASELINE_DASHES)]
        )
        figure.add_trace(_line(cells, model, {"color": GREY, "width": 1, "dash": dash}))
    for place, model in enumerate(budgets):
        color = _BUDGET_COLORS[place % len(_BUDGET_COLORS)]
        figure.add_trace(_line(cells, model, {"color": color, "width": 2}))
    sizes = [_n_rows(cells[place]) or 0 for place in scored]
    low, high = min(sizes) / 1.15, max(sizes) * 1.15
    ticks = round_ticks(low, high)
    figure.update_xaxes(
        type="log",
        title_text="training rows",
        tickvals=ticks,
        ticktext=[count_text(tick) for tick in ticks],
    )
    figure.update_yaxes(title_text="log-loss on test, nats", tickformat=".3f")
    return dress(figure, height=420)


def _line(cells: Sequence[Mapping[str, Any]], model: _Model, line: Mapping[str, Any]) -> go.Scatter:
    points = [
        (_n_rows(cell), sum(of_seeds) / len(of_seeds), of_seeds, _size_text(cell))
        for cell, of_seeds in zip(cells, model.losses, strict=True)
        if of_seeds and _n_rows(cell)
    ]
    spread = {
        "type": "data",
        "symmetric": False,
        "array": [max(of_seeds) - mean for _, mean, of_seeds, _ in points],
        "arrayminus": [mean - min(of_seeds) for _, mean, of_seeds, _ in points],
        "thickness": 1.2,
        "width": 3,
    }
    return go.Scatter(
        x=[rows for rows, _, _, _ in points],
        y=[mean for _, mean, _, _ in points],
        mode="lines+markers" if model.is_budget else "lines",
        name=model.label,
        line=dict(line),
        marker={"symbol": "diamond", "size": 9},
        error_y=spread if model.is_budget else None,
        text=[size for _, _, _, size in points],
        hovertemplate=f"{model.label}, %{{text}}<br>log-loss %{{y:.4f}}<extra></extra>",
    )
