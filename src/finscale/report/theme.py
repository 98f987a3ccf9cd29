"""Colours and layout that all figures share; series are told apart by symbol as well as colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

# Okabe and Ito (2008), "Color universal design": distinct under the common colour-blindnesses.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
AMBER = "#E69F00"
SKY = "#56B4E9"
GREY = "#8A929C"  # reads on a light and on a dark page

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

N_COLUMNS = 3
_PANEL_HEIGHT = 215


def template(*, dark: bool) -> dict[str, Any]:
    """Return the plotly template of a light or dark page; the page picks one when it is shown."""
    ink, grid, line = (
        ("#D9DEE3", "#2B3138", "#5B6570") if dark else ("#24292F", "#E8EBEE", "#A9B1BA")
    )
    axis = {
        "gridcolor": grid,
        "linecolor": line,
        "zerolinecolor": line,
        "tickcolor": line,
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "zeroline": False,
        "title": {"standoff": 8, "font": {"size": 13}},
        "automargin": True,
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 12, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [BLUE, ORANGE, GREEN, AMBER, SKY, GREY],
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {"font": {"family": FONT, "size": 12}, "align": "left"},
        }
    }


def dress(figure: go.Figure, *, height: int) -> go.Figure:
    """Give a figure the shared look, with its legend in one line below the axes."""
    figure.update_layout(
        template=template(dark=False),
        height=height,
        margin={"l": 60, "r": 16, "t": 36, "b": 84},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
    )
    return figure


def two_parts(*, titles: Sequence[str], **axes: Any) -> go.Figure:
    """Return a figure with a panel for validation and one for test on a shared scale."""
    return _left_titles(
        make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.06, **axes)
    )


def small_multiples(titles: Sequence[str], *, x_title: str, y_title: str) -> go.Figure:
    """Return a grid of panels on shared scales, with titles only at its left and lower edge."""
    n_rows = -(-len(titles) // N_COLUMNS)
    height = _PANEL_HEIGHT * n_rows + 120
    figure = _left_titles(
        make_subplots(
            rows=n_rows,
            cols=N_COLUMNS,
            subplot_titles=titles,
            shared_yaxes="all",
            horizontal_spacing=0.035,
            vertical_spacing=0.30 / n_rows if n_rows > 1 else 0.0,
        )
    )
    for row in range(1, n_rows + 1):
        figure.update_yaxes(title_text=y_title, row=row, col=1)
    figure.update_yaxes(tickformat=".3f")
    for number in range(len(titles)):
        if number + N_COLUMNS >= len(titles):
            figure.update_xaxes(title_text=x_title, **panel(number))
    for number in range(len(titles), n_rows * N_COLUMNS):
        figure.update_xaxes(visible=False, **panel(number))
        figure.update_yaxes(visible=False, **panel(number))
    return dress(figure, height=height)


def panel(number: int) -> dict[str, int]:
    """Return the row and column of a panel, counted from 0."""
    return {"row": number // N_COLUMNS + 1, "col": number % N_COLUMNS + 1}


def legend_once(figure: go.Figure) -> go.Figure:
    """Show each series once in the legend, however many panels it is in."""
    seen: set[str] = set()
    for trace in figure.data:
        # An empty series has no entry of its own, so it must not stand for the others.
        first = trace.name not in seen and len(trace.x) > 0
        trace.update(legendgroup=trace.name, showlegend=first)
        seen |= {trace.name} if first else set()
    return figure


def _left_titles(figure: go.Figure) -> go.Figure:
    """Put panel titles flush left above their panels; only they are annotations so far."""
    for axis, title in zip(figure.select_xaxes(), list(figure.layout.annotations), strict=False):
        title.update(x=axis.domain[0], xanchor="left", font={"size": 13})
    return figure
