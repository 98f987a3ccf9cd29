"""The figure of what was tried of the grids: depth against width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from finscale.report.theme import BLUE, GREY, dress
from finscale.search.coverage import Coverage, count

_HEIGHT = 430


def coverage_figure(found: Mapping[str, Coverage]) -> go.Figure:
    """Plot every depth and width of the grids, filled where something of it was tried.

    Shapes that were tried are coloured by the share of their architectures (heads and
    feed-forward ratios) that were; shapes never tried are open.

    Parameters
    ----------
    found
        Coverage by budget, at least one. A shape that belongs to two budgets is one marker.
    """
    shapes = sorted({shape for one in found.values() for shape in one.by_shape})
    points = [_point(shape, found) for shape in shapes]
    tried = [point for point in points if point["n_tried"]]
    never = [point for point in points if not point["n_tried"]]
    figure = go.Figure()
    figure.add_trace(
        _trace(
            never,
            name="never tried",
            marker={"symbol": "circle-open", "size": 9, "color": GREY, "line": {"width": 1.2}},
        )
    )
    figure.add_trace(
        _trace(
            tried,
            name="tried",
            marker={
                "symbol": "circle",
                "size": 12,
                "color": [point["n_tried"] / point["n"] for point in tried],
                "colorscale": [[0.0, "#B9D9EC"], [1.0, BLUE]],
                "cmin": 0.0,
                "cmax": 1.0,
                "line": {"width": 0.5, "color": GREY},
                "colorbar": {
                    "title": {"text": "share of architectures tried", "side": "right"},
                    "tickformat": ".0%",
                    "thickness": 12,
                    "outlinewidth": 0,
                },
            },
        )
    )
    for update, title, values in (
        (figure.update_xaxes, "width, d_model", sorted({width for _, width in shapes})),
        (figure.update_yaxes, "depth, layers", sorted({depth for depth, _ in shapes})),
    ):
        # The grid's own values, evenly spaced: what is between them is not in the grid.
        texts = [str(value) for value in values]
        update(type="category", categoryorder="array", categoryarray=texts, title_text=title)
    return dress(figure, height=_HEIGHT)


def _point(shape: tuple[int, int], found: Mapping[str, Coverage]) -> dict[str, Any]:
    cells = {label: one.by_shape[shape] for label, one in found.items() if shape in one.by_shape}
    depth, width = shape
    lines = [
        f"{label}: {one.n_tried} of {one.n} architectures, {count(one.n_trials, 'run')}"
        for label, one in cells.items()
    ]
    return {
        "x": str(width),
        "y": str(depth),
        "n": sum(one.n for one in cells.values()),
        "n_tried": sum(one.n_tried for one in cells.values()),
        "hover": "<br>".join([f"width {width}, {count(depth, 'layer')}", *lines]),
    }


def _trace(points: Sequence[Mapping[str, Any]], *, name: str, marker: dict[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=[point["x"] for point in points],
        y=[point["y"] for point in points],
        mode="markers",
        name=name,
        marker=marker,
        hovertext=[point["hover"] for point in points],
        hovertemplate="%{hovertext}<extra></extra>",
    )
