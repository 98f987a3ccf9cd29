"""Sharpe ratio and R² against size: measures beside the law, and never instead of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from finscale.report.numbers import number
from finscale.report.theme import BLUE, GREY, ORANGE, display, dress, round_ticks
from finscale.units import count_text, flops_text

SHARPE_TEXT = (
    "Sharpe ratio after costs of holding the market only while the forecast is above a threshold "
    "chosen on validation, against parameters and against the training compute of the seeds that "
    "are averaged, with intervals; lines are buy and hold and the same rule on the volatility "
    "baseline. Read nothing into differences that the intervals do not bear."
)

R2_TEXT = (
    "R² of the forecast mean against the historical mean of training (Campbell and Thompson 2008), "
    "against parameters and against the training compute of the seeds that are averaged, with "
    "intervals; at 0, the dashed line, the forecast is no better than that mean."
)

_RULE = "threshold"

Estimates = Mapping[str, Mapping[str, Any]]
"""Names to ``value``, ``low`` and ``high``."""

Sizes = Mapping[str, tuple[int, float]]
"""Budgets to their built parameters and training FLOPs."""


def sharpe_against_size(evidence: Mapping[str, Any], sizes: Sizes) -> go.Figure | None:
    """Plot the Sharpe ratio of every budget of one cell; None if there are no backtests.

    Parameters
    ----------
    evidence
        `finscale.evaluation.evidence.Evidence.as_dict` of the cell.
    """
    if evidence["economics"] is None:
        return None
    found = {one["name"]: one["sharpe"] for one in evidence["economics"]["timing"]}
    of_budgets = {
        budget: found[f"{budget}/{_RULE}"]
        for budget in evidence["budgets"]
        if f"{budget}/{_RULE}" in found
    }
    lines = [
        (found[name]["value"], label, colour)
        for name, label, colour in _lines(evidence)
        if found.get(name, {}).get("value") is not None
    ]
    return _against_size(of_budgets, sizes, lines, "Sharpe ratio a year")


def r2_against_size(returns: Mapping[str, Mapping[str, Any]], sizes: Sizes) -> go.Figure | None:
    """Plot R² of every budget of a cell of the task ``return``; None if there is none.

    Parameters
    ----------
    returns
        Model to `finscale.evaluation.return_evidence.ReturnEvidence.as_dict`.
    """
    of_budgets = {name: one["r2"] for name, one in returns.items() if one["r2"] is not None}
    return _against_size(of_budgets, sizes, [(0.0, "historical mean", GREY)], "R²")


def _against_size(
    estimates: Estimates, sizes: Sizes, lines: Sequence[tuple[float, str, str]], title: str
) -> go.Figure | None:
    budgets = [
        name for name, one in estimates.items() if name in sizes and one.get("value") is not None
    ]
    if not budgets:
        return None
    figure = go.Figure().set_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    for column, text in ((1, count_text), (2, flops_text)):
        x = [sizes[budget][column - 1] for budget in budgets]
        own = [estimates[budget] for budget in budgets]
        figure.add_trace(_budgets(x, own, budgets, shown=column == 1), row=1, col=column)
        for value, label, colour in lines:
            line = _line(x, value, label, colour, shown=column == 1)
            figure.add_trace(line, row=1, col=column)
        ticks = round_ticks(min(x), max(x))
        figure.update_xaxes(
            type="log", tickvals=ticks, ticktext=[text(tick) for tick in ticks], row=1, col=column
        )
    figure.update_xaxes(title_text="built parameters", row=1, col=1)
    figure.update_xaxes(title_text="training FLOPs", row=1, col=2)
    figure.update_yaxes(title_text=title, row=1, col=1)
    return dress(figure, height=330)


def _lines(evidence: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    lines = [("buy_and_hold", "buy and hold", GREY)]
    volatility = evidence["volatility_baseline"]
    if volatility is not None:
        lines.append((f"{volatility}/{_RULE}", display(volatility), ORANGE))
    return lines


def _budgets(
    x: Sequence[float], estimates: Sequence[Mapping[str, Any]], names: Sequence[str], *, shown: bool
) -> go.Scatter:
    def reach(one: Mapping[str, Any], end: str) -> float:
        return 0.0 if one[end] is None else abs(one[end] - one["value"])

    return go.Scatter(
        x=list(x),
        y=[one["value"] for one in estimates],
        error_y={
            "type": "data",
            "array": [reach(one, "high") for one in estimates],
            "arrayminus": [reach(one, "low") for one in estimates],
            "thickness": 1.2,
        },
        mode="markers",
        marker={"symbol": "diamond", "size": 9, "color": BLUE},
        name="budget, averaged forecast",
        text=[
            f"{name}: {number(one['value'])}" for name, one in zip(names, estimates, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
        legendgroup="budgets",
        showlegend=shown,
    )


def _line(x: Sequence[float], y: float, label: str, colour: str, *, shown: bool) -> go.Scatter:
    return go.Scatter(
        x=[min(x), max(x)],
        y=[y, y],
        mode="lines",
        line={"color": colour, "dash": "dash", "width": 1.5},
        name=label,
        legendgroup=label,
        showlegend=shown,
    )
