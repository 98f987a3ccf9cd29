"""Figures of how the results came about: searches, learning curves, architectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Any

import numpy as np
import plotly.graph_objects as go

from finscale.records import FinalRecord, TrialRecord, best_trial
from finscale.report.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    dress,
    legend_once,
    of_traces,
    panel,
    small_multiples,
    whole_ticks,
)

_OFF_SCALE = "above the scale"
_MARKERS: dict[str, dict[str, Any]] = {
    "complete": {"symbol": "circle", "size": 7, "color": BLUE},
    "pruned": {"symbol": "diamond-open", "size": 8, "color": GREY},
    "failed": {"symbol": "x-thin-open", "size": 9, "color": ORANGE, "line": {"width": 2.5}},
    _OFF_SCALE: {"symbol": "triangle-up", "size": 9, "color": ORANGE},
}


def search_history(
    trials: Mapping[str, Sequence[TrialRecord]], *, base_loss: float | None
) -> go.Figure:
    """Plot validation loss against trial number, one panel per budget.

    Trials whose loss would squeeze the others together are drawn at the upper edge, and so are
    failed trials, which have none.

    Parameters
    ----------
    trials
        Trials by budget, at least one of each.
    base_loss
        Validation log-loss of the training base rate, nats; drawn where trials come near it.
    """
    titles = [f"<b>{budget}</b>, {_count(len(runs), 'trial')}" for budget, runs in trials.items()]
    figure = small_multiples(titles, x_title="trial", y_title="log-loss, nats")
    losses = [t.validation_loss for runs in trials.values() for t in runs if t.validation_loss]
    low, ceiling = loss_range(losses)
    room = 0.08 * (ceiling - low) + 1e-3
    ceiling += room
    near_base = base_loss if base_loss is not None and base_loss <= ceiling else None
    for number, runs in enumerate(trials.values()):
        figure.add_traces(
            _history_traces(sorted(runs, key=lambda t: t.trial), ceiling, near_base),
            **of_traces(panel(number, len(trials))),
        )
    figure.update_yaxes(range=[low - room, ceiling + room])
    whole_ticks(figure, max(t.trial for runs in trials.values() for t in runs))
    return legend_once(figure)


def loss_range(losses: Sequence[float]) -> tuple[float, float]:
    """Return the lowest loss, and the highest that is no outlier.

    Outliers are what lies more than 1.5 interquartile ranges above the upper quartile (Tukey 1977,
    "Exploratory Data Analysis", section 2C): a run that diverges must not flatten all the others.
    """
    if not losses:
        return 0.0, 1.0
    low, lower, upper, high = np.quantile(losses, [0.0, 0.25, 0.75, 1.0])
    return float(low), float(min(high, upper + 1.5 * (upper - lower)))


def _history_traces(
    trials: Sequence[TrialRecord], ceiling: float, base_loss: float | None
) -> list[go.Scatter]:
    traces = []
    if base_loss is not None:
        traces.append(
            go.Scatter(
                x=[trials[0].trial, trials[-1].trial],
                y=[base_loss, base_loss],
                mode="lines",
                name="base rate of training",
                line={"color": GREY, "dash": "dot", "width": 1.5},
                hoverinfo="skip",
            )
        )
    steps = best_so_far(trials)
    traces.append(
        go.Scatter(
            x=[number for number, _ in steps],
            y=[loss for _, loss in steps],
            mode="lines",
            name="best so far",
            line={"shape": "hv", "color": GREEN, "width": 1.5},
            hoverinfo="skip",
        )
    )
    height = {t.trial: min(t.validation_loss or ceiling, ceiling) for t in trials}
    forced = [t for t in trials if t.forced]
    traces.append(
        go.Scatter(
            x=[t.trial for t in forced],
            y=[height[t.trial] for t in forced],
            mode="markers",
            name="forced extreme of the grid",
            marker={
                "symbol": "circle-open",
                "size": 14,
                "color": GREEN,
                "line": {"width": 1.4},
            },
            hoverinfo="skip",
        )
    )
    for name, marker in _MARKERS.items():
        chosen = [t for t in trials if _drawn_as(t, ceiling) == name]
        traces.append(
            go.Scatter(
                x=[t.trial for t in chosen],
                y=[height[t.trial] for t in chosen],
                mode="markers",
                name=name,
                marker=marker,
                hovertext=[describe_trial(t) for t in chosen],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    return traces


def best_so_far(trials: Sequence[TrialRecord]) -> list[tuple[int, float]]:
    """Return trial number and the lowest loss completed until then, from the first completed on."""
    steps: list[tuple[int, float]] = []
    for trial in trials:
        known = [steps[-1][1]] if steps else []
        if trial.state == "complete" and trial.validation_loss is not None:
            known.append(trial.validation_loss)
        if known:
            steps.append((trial.trial, min(known)))
    return steps


def describe_trial(trial: TrialRecord) -> str:
    """Describe a trial for the reader who points at it."""
    loss = "none" if trial.validation_loss is None else f"{trial.validation_loss:.4f}"
    recipe = ", ".join(f"{name} {value:.3g}" for name, value in trial.recipe.items())
    lines = [
        f"<b>trial {trial.trial}</b>, {trial.state}: {escape(trial.reason)}",
        f"validation log-loss {loss}",
        f"{trial.architecture}, {trial.n_parameters:,} parameters",
        recipe,
        *([f"forced: {', '.join(trial.forced)}"] if trial.forced else []),
    ]
    return "<br>".join(lines)


def _drawn_as(trial: TrialRecord, ceiling: float) -> str:
    if trial.state == "failed":
        return "failed"
    if trial.validation_loss is None or trial.validation_loss > ceiling:
        return _OFF_SCALE
    return trial.state


def learning_curves(
    finals: Mapping[str, Sequence[FinalRecord]], *, base_loss: float | None
) -> go.Figure:
    """Plot train and validation loss of the final runs, one panel per budget.

    Parameters
    ----------
    finals
        Final runs of the winner by budget, at least one of each.
    base_loss
        Validation log-loss of the training base rate, nats.
    """
    titles = [
        f"<b>{budget}</b>, {runs[0].architecture}, {_count(len(runs), 'seed')}"
        for budget, runs in finals.items()
    ]
    figure = small_multiples(titles, x_title="epoch", y_title="log-loss, nats")
    curves = [run.curve for runs in finals.values() for run in runs]
    last = max([point.epoch for curve in curves for point in curve], default=1)
    ranges = [
        loss_range([getattr(point, name) for curve in curves for point in curve])
        for name in ("train_loss", "validation_loss")
    ]
    low, ceiling = min(low for low, _ in ranges), max(high for _, high in ranges)
    for number, runs in enumerate(finals.values()):
        place = panel(number, len(finals))
        for run in runs:
            figure.add_traces(_curve_traces(run), **of_traces(place))
        if base_loss is not None and base_loss <= ceiling:
            figure.add_scatter(
                x=[0, last],
                y=[base_loss, base_loss],
                mode="lines",
                name="base rate of training",
                line={"color": GREY, "dash": "dot", "width": 1.5},
                hoverinfo="skip",
                **place,
            )
    room = 0.05 * (ceiling - low) + 1e-3
    figure.update_yaxes(range=[low - room, ceiling + room])
    whole_ticks(figure, last)
    return legend_once(figure)


def _curve_traces(run: FinalRecord) -> list[go.Scatter]:
    epochs = [point.epoch for point in run.curve]
    best = [point for point in run.curve if point.epoch == run.best_epoch]
    hover = f"seed {run.seed}, epoch %{{x}}<br>%{{y:.4f}}"
    return [
        go.Scatter(
            x=epochs,
            y=[point.train_loss for point in run.curve],
            mode="lines",
            name="train",
            line={"color": ORANGE, "width": 1, "dash": "dash"},
            hovertemplate=f"{hover}<extra>train</extra>",
        ),
        go.Scatter(
            x=epochs,
            y=[point.validation_loss for point in run.curve],
            mode="lines",
            name="validation",
            line={"color": BLUE, "width": 1.5},
            hovertemplate=f"{hover}<extra>validation</extra>",
        ),
        go.Scatter(
            x=[point.epoch for point in best],
            y=[point.validation_loss for point in best],
            mode="markers",
            name="epoch whose weights were kept",
            marker={"symbol": "circle", "size": 8, "color": BLUE},
            hovertemplate=f"{hover}<extra>best epoch</extra>",
        ),
    ]


def architectures(trials: Mapping[str, Sequence[TrialRecord]]) -> go.Figure:
    """Plot depth against width of every trial with a loss, coloured by validation loss.

    Parameters
    ----------
    trials
        Trials by budget.
    """
    # The best is drawn last: cells that differ in heads or d_ff lie on top of each other.
    scored = sorted(
        ((t.validation_loss, t) for runs in trials.values() for t in runs if t.validation_loss),
        key=lambda item: -item[0],
    )
    low, ceiling = loss_range([loss for loss, _ in scored])
    figure = go.Figure(
        go.Scatter(
            x=[t.d_model for _, t in scored],
            y=[t.n_layers for _, t in scored],
            mode="markers",
            name="trial",
            showlegend=False,
            marker={
                "size": 11,
                "color": [loss for loss, _ in scored],
                "colorscale": "Cividis",
                "cmin": low,
                "cmax": ceiling,
                "line": {"width": 0.5, "color": GREY},
                "colorbar": {
                    "title": {"text": "validation log-loss, nats", "side": "right"},
                    "thickness": 12,
                    "outlinewidth": 0,
                },
            },
            hovertext=[f"{t.budget}, {describe_trial(t)}" for _, t in scored],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    best = {budget: best_trial(runs) for budget, runs in trials.items()}
    winners = {budget: t for budget, t in best.items() if t is not None}
    figure.add_scatter(
        x=[t.d_model for t in winners.values()],
        y=[t.n_layers for t in winners.values()],
        mode="markers+text",
        name="best trial of its budget",
        text=list(winners),
        textposition="top center",
        marker={"symbol": "circle-open", "size": 18, "color": ORANGE, "line": {"width": 2}},
        hoverinfo="skip",
    )
    widths = sorted({t.d_model for _, t in scored})
    depths = sorted({t.n_layers for _, t in scored})
    figure.update_xaxes(type="log", title_text="width, d_model", **_ticks(widths))
    figure.update_yaxes(type="log", title_text="depth, layers", **_ticks(depths))
    return dress(figure, height=470)


def _ticks(values: Sequence[int]) -> dict[str, Any]:
    """Put ticks at the values themselves, and leave out those too close to the one before."""
    kept: list[int] = []
    gap = (log10(values[-1]) - log10(values[0])) / 12 if values else 0.0
    for value in values:
        if not kept or log10(value) - log10(kept[-1]) >= gap:
            kept.append(value)
    return {"tickvals": kept, "ticktext": [str(value) for value in kept]}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
