"""Colours and layout that all figures share; series are told apart by symbol as well as colour."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
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

# Baselines whose names say too little, or are abbreviations.
_WORDS = {
    "garch": "GARCH",
    "har_range": "HAR of the range",
    "logistic_window": "logistic, window summaries",
    "linear_window": "linear, whole window",
    "mlp_window": "perceptron, whole window",
}

_PANEL_HEIGHT = 215
_MOST_TICKS = 8


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
    n_columns = _n_columns(len(titles))
    n_rows = -(-len(titles) // n_columns)
    height = _PANEL_HEIGHT * n_rows + 120
    figure = _left_titles(
        make_subplots(
            rows=n_rows,
            cols=n_columns,
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
        if number + n_columns >= len(titles):
            figure.update_xaxes(title_text=x_title, **panel(number, len(titles)))
    for number in range(len(titles), n_rows * n_columns):
        figure.update_xaxes(visible=False, **panel(number, len(titles)))
        figure.update_yaxes(visible=False, **panel(number, len(titles)))
    return dress(figure, height=height)


def panel(number: int, n_panels: int) -> dict[str, int]:
    """Return the row and column of a panel, counted from 0, among ``n_panels``."""
    row, column = divmod(number, _n_columns(n_panels))
    return {"row": row + 1, "col": column + 1}


def of_traces(place: dict[str, int]) -> dict[str, int]:
    """Return a panel's place as plotly wants it for several traces at once."""
    return {"rows": place["row"], "cols": place["col"]}


def whole_ticks(figure: go.Figure, last: int) -> None:
    """Keep ticks between whole numbers off the horizontal axes."""
    if last <= 8:
        figure.update_xaxes(dtick=1)


def legend_once(figure: go.Figure) -> go.Figure:
    """Show each series once in the legend, however many panels it is in."""
    seen: set[str] = set()
    for trace in figure.data:
        # An empty series has no entry of its own, so it must not stand for the others.
        first = trace.name not in seen and len(trace.x) > 0
        trace.update(legendgroup=trace.name, showlegend=first)
        seen |= {trace.name} if first else set()
    return figure


def display(name: str | None) -> str:
    """Return a baseline's name as words."""
    if name is None:
        return ""
    return _WORDS.get(name, name.replace("_", " "))


def round_ticks(low: float, high: float) -> list[float]:
    """Return some three to eight round values within [low, high] for a logarithmic axis."""
    if low >= high:
        return [low]
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for leading in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [digit * 10.0**decade for decade in decades for digit in leading]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks[:: ceil(len(ticks) / _MOST_TICKS)]
    return _even_ticks(low, high)


def _even_ticks(low: float, high: float) -> list[float]:
    """Return at least three multiples of the widest round step that gives so many.

    Steps grow by 2.5 at most, and the next one gives two: there are never more than eight.
    """
    largest = ceil(log10(high - low))
    for decade in range(largest, largest - 4, -1):
        for digit in (5, 2, 1):
            step = digit * 10.0**decade
            # Whole multiples within the interval, ends included whatever the rounding.
            first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
            if last - first >= 2:
                return [float(f"{n * step:.12g}") for n in range(first, last + 1)]
    return [low, high]


def _n_columns(n_panels: int) -> int:
    return min(n_panels, 2) if n_panels in (1, 2, 4) else 3


def _left_titles(figure: go.Figure) -> go.Figure:
    """Put panel titles flush left above their panels; only they are annotations so far."""
    for axis, title in zip(figure.select_xaxes(), list(figure.layout.annotations), strict=False):
        title.update(x=axis.domain[0], xanchor="left", font={"size": 13})
    return figure
