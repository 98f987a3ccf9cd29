"""Sharpe ratio against size: the economic measure beside the law, and never instead of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from finscale.report.numbers import number
from finscale.report.theme import BLUE, GREY, ORANGE, display, dress, round_ticks
from finscale.units import count_text, flops_text

TEXT = (
    "Sharpe ratio after costs of holding the market only while the forecast is above a threshold "
    "chosen on validation, against parameters and against the training compute of the seeds that "
    "are averaged, with intervals; lines are buy and hold and the same rule on the volatility "
    "baseline. Read nothing into differences that the intervals do not bear."
)

_RULE = "threshold"


def sharpe_against_size(
    evidence: Mapping[str, Any], sizes: Mapping[str, tuple[int, float]]
) -> go.Figure | None:
    """Plot the Sharpe ratio of every budget of one cell; None if there are no backtests.

    Parameters
    ----------
    evidence
        `finscale.evaluation.evidence.Evidence.as_dict` of the cell.
    sizes
        Budget to its built parameters and training FLOPs.
    """
    if evidence["economics"] is None:
        return None
    found = {one["name"]: one["sharpe"] for one in evidence["economics"]["timing"]}
    budgets = [
        budget
        for budget in evidence["budgets"]
        if budget in sizes and found.get(f"{budget}/{_RULE}", {}).get("value") is not None
    ]
    if not budgets:
        return None
    figure = go.Figure().set_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    for column, text in ((1, count_text), (2, flops_text)):
        x = [sizes[budget][column - 1] for budget in budgets]
        estimates = [found[f"{budget}/{_RULE}"] for budget in budgets]
        figure.add_trace(_budgets(x, estimates, budgets, shown=column == 1), row=1, col=column)
        for name, label, colour in _lines(evidence):
            if found.get(name, {}).get("value") is not None:
                line = _line(x, found[name]["value"], label, colour, shown=column == 1)
                figure.add_trace(line, row=1, col=column)
        ticks = round_ticks(min(x), max(x))
        figure.update_xaxes(
            type="log", tickvals=ticks, ticktext=[text(tick) for tick in ticks], row=1, col=column
        )
    figure.update_xaxes(title_text="built parameters", row=1, col=1)
    figure.update_xaxes(title_text="training FLOPs", row=1, col=2)
    figure.update_yaxes(title_text="Sharpe ratio a year", row=1, col=1)
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
            f"{name}: {number(one['value'], digits=2)}"
            for name, one in zip(names, estimates, strict=True)
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
