"""Figures of the results: loss against size, skill, and the splits; and where all others are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from finscale.records import BASE_RATE
from finscale.report.band import law_band
from finscale.report.numbers import signed
from finscale.report.reliability import (
    reliability_diagram,
    reliability_on_test,
    wilson_interval,
)
from finscale.report.search_figures import architectures, learning_curves, search_history
from finscale.report.theme import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    display,
    dress,
    legend_once,
    round_ticks,
    two_parts,
)
from finscale.scaling.ledger import PARTS
from finscale.units import count_text, true_minus

_LINES = (BLUE, ORANGE, GREEN, AMBER, SKY, GREY, BLUE, ORANGE)

__all__ = [
    "architectures",
    "learning_curves",
    "loss_against_parameters",
    "price_with_splits",
    "reliability_diagram",
    "reliability_on_test",
    "search_history",
    "skill_dots",
    "wilson_interval",
]

_PART_TITLES = ("<b>Validation</b>, recipes chosen on it", "<b>Test</b>, scored once per recipe")


def loss_against_parameters(cell: Mapping[str, Any], judged: Mapping[str, Any]) -> go.Figure:
    """Plot log-loss against built parameters, with the base rate and the best baseline.

    The fitted law and its interval are drawn only where the verdict is that the loss falls or
    rises: a curve through points that show no trend would claim one.

    Parameters
    ----------
    cell
        One of the cells of the summary.
    judged
        The same cell of `finscale.scaling.ledger.judge_cells`, with at least one point.
    """
    figure = two_parts(titles=_PART_TITLES, shared_yaxes=True)
    points = judged["points"]
    sizes = [point["n_parameters"] for point in points]
    reach = [min(sizes) / 1.5, max(sizes) * 1.5]
    for column, part in enumerate(PARTS, start=1):
        losses = [point["losses"][part] for point in points]
        traces = _law_traces(points, judged[part], part)
        for name, label, color, dash in (
            (BASE_RATE, "base rate of training", GREY, "dot"),
            (
                cell["best_baseline"],
                f"best baseline: {display(cell['best_baseline'])}",
                ORANGE,
                "dash",
            ),
        ):
            if name in cell["baselines"]:
                loss = cell["baselines"][name][part]["log_loss"]
                line = {"color": color, "dash": dash, "width": 2}
                traces.append(
                    go.Scatter(
                        x=reach,
                        y=[loss, loss],
                        mode="lines",
                        name=label,
                        line=line,
                        hovertemplate=f"{label}: %{{y:.4f}}<extra></extra>",
                    )
                )
        traces.append(
            go.Scatter(
                x=[n for n, of_seeds in zip(sizes, losses, strict=True) for _ in of_seeds],
                y=[loss for of_seeds in losses for loss in of_seeds],
                mode="markers",
                name="one seed",
                marker={"symbol": "circle-open", "size": 7, "color": BLUE, "line": {"width": 1.2}},
                hovertemplate="one seed<br>%{x:,} parameters<br>log-loss %{y:.4f}<extra></extra>",
            )
        )
        traces.append(
            go.Scatter(
                x=sizes,
                y=[sum(of_seeds) / len(of_seeds) for of_seeds in losses],
                mode="markers",
                name="mean over seeds",
                marker={"symbol": "diamond", "size": 10, "color": BLUE},
                text=[point["budget"] for point in points],
                hovertemplate="%{text}, mean over seeds<br>%{x:,} parameters<br>"
                "log-loss %{y:.4f}<extra></extra>",
            )
        )
        figure.add_traces(traces, rows=1, cols=column)
    ticks = round_ticks(*reach)
    figure.update_xaxes(
        type="log",
        title_text="built parameters",
        tickvals=ticks,
        ticktext=[count_text(tick) for tick in ticks],
    )
    figure.update_yaxes(title_text="log-loss, nats", col=1)
    figure.update_yaxes(tickformat=".3f")
    return legend_once(dress(figure, height=430))


def _law_traces(points: Sequence[Mapping[str, Any]], verdict: Any, part: str) -> list[Any]:
    if verdict is None or verdict["kind"] not in ("falls", "rises"):
        return []
    band = law_band(points, verdict, part)
    fill = "rgba({},{},{},0.14)".format(*hex_to_rgb(GREEN))
    percent = f"{100 * verdict['confidence']:g}%"
    return [
        go.Scatter(
            x=[*band.n_parameters, *reversed(band.n_parameters)],
            y=[*band.low, *reversed(band.high)],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=fill,
            name=f"{percent} interval of the law",
            hoverinfo="skip",
        ),
        go.Scatter(
            x=list(band.n_parameters),
            y=list(band.loss),
            mode="lines",
            name="fitted law",
            line={"color": GREEN, "width": 2},
            hovertemplate=f"{true_minus(band.formula)}<br>%{{x:,.0f}} parameters<br>%{{y:.4f}}"
            "<extra></extra>",
        ),
    ]


def skill_dots(cell: Mapping[str, Any]) -> go.Figure:
    """Plot the skill of every baseline and budget on validation and test, side by side."""
    figure = two_parts(titles=_PART_TITLES, shared_yaxes=True, shared_xaxes="all")
    models = {name: scores for name, scores in cell["baselines"].items() if name != BASE_RATE}
    trained = {label: budget for label, budget in cell["budgets"].items() if budget["seeds"]}
    label_of = {
        label: f"{label} transformer" + " (collapsed)" * budget["collapsed"]
        for label, budget in trained.items()
    }
    for column, part in enumerate(PARTS, start=1):
        of_seeds = [
            (label_of[label], seed[part]["skill"])
            for label, budget in trained.items()
            for seed in budget["seeds"]
        ]
        averages = [
            (label_of[label], budget["seed_average"][part]["skill"])
            for label, budget in trained.items()
            if budget["seed_average"] is not None
        ]
        means = [(label_of[name], b["seed_mean"][part]["skill"]) for name, b in trained.items()]
        series: list[tuple[str, list[tuple[str, float]], dict[str, Any]]] = [
            (
                "baseline",
                [(display(name), scores[part]["skill"]) for name, scores in models.items()],
                {"symbol": "square", "size": 10, "color": ORANGE},
            ),
            ("one seed", of_seeds, {"symbol": "circle-open", "size": 7, "color": BLUE}),
            ("mean over seeds", means, {"symbol": "diamond", "size": 10, "color": BLUE}),
            (
                "average of the seeds' probabilities",
                averages,
                {"symbol": "line-ns-open", "size": 15, "color": GREEN, "line": {"width": 3}},
            ),
        ]
        for name, values, marker in series:
            figure.add_trace(
                go.Scatter(
                    x=[value for _, value in values],
                    y=[label for label, _ in values],
                    mode="markers",
                    name=name,
                    marker=marker,
                    # Plotly writes the signs of ticks as minus signs, those of hover texts not.
                    text=[signed(value, 4) for _, value in values],
                    hovertemplate=f"%{{y}}, {name}<br>skill %{{text}}<extra></extra>",
                ),
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="skill over the base rate", zeroline=True)
    shown = [0.0, *(value for trace in figure.data for value in trace.x)]
    # Zero is always in sight, with room for the symbols at either end.
    room = 0.06 * (max(shown) - min(shown)) + 1e-3
    figure.update_xaxes(
        zerolinewidth=2, tickformat="+.2f", range=[min(shown) - room, max(shown) + room]
    )
    order = [display(name) for name in models] + list(label_of.values())
    # Half a line of room above and below; the first model on top.
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=order,
        range=[len(order) - 0.4, -0.6],
        ticklen=6,
        tickwidth=0,
    )
    return legend_once(dress(figure, height=150 + 27 * len(order)))


def price_with_splits(data: Mapping[str, Any], parts: Mapping[str, Any]) -> go.Figure:
    """Plot the close with the train, validation and test parts shaded.

    Parameters
    ----------
    data
        As in data.json.
    parts
        The parts of one cell, by name.
    """
    closes = data["closes"]
    single = len(closes) == 1
    series = {
        # Several are drawn as multiples of their first close, or one would flatten the rest.
        symbol: one["close"] if single else [value / one["close"][0] for value in one["close"]]
        for symbol, one in closes.items()
    }
    figure = go.Figure()
    for (symbol, values), color in zip(series.items(), _LINES, strict=False):
        figure.add_scatter(
            x=closes[symbol]["date"],
            y=values,
            mode="lines",
            name=symbol,
            line={"color": GREY if single else color, "width": 1.2},
            showlegend=not single,
            hovertemplate=f"{symbol} %{{x|%Y-%m-%d}}<br>%{{y:,.2f}}<extra></extra>",
        )
    for name, color in (("train", GREY), ("validation", SKY), ("test", AMBER)):
        if name in parts:
            part = parts[name]
            figure.add_vrect(
                x0=part["first_date"],
                x1=part["last_date"],
                fillcolor=color,
                opacity=0.18,
                line_width=0,
                layer="below",
            )
            figure.add_annotation(
                x=part["first_date"],
                y=1.0,
                yref="paper",
                xanchor="left",
                yanchor="bottom",
                text=f"<b>{name}</b>",
                showarrow=False,
                align="left",
            )
    drawn = [value for values in series.values() for value in values]
    ticks = round_ticks(min(drawn), max(drawn))
    what = f"close of {next(iter(series))}" if single else "close / first close"
    figure.update_yaxes(
        type="log",
        title_text=f"{what}, log scale",
        tickvals=ticks,
        ticktext=[f"{tick:,g}" for tick in ticks],
    )
    figure.update_xaxes(title_text="session")
    dress(figure, height=330)
    return figure.update_layout(margin={"b": 56 if single else 84})
