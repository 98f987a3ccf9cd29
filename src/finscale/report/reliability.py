"""The reliability diagram: how often the event came against the probability given."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from finscale.evaluation.calibration import ReliabilityBin, reliability_curve
from finscale.report.theme import BLUE, GREY, ORANGE, display, dress

_N_BINS = 10
_Z_95 = 1.959964


def reliability_diagram(
    predictions: pl.DataFrame, *, budget: str | None, baseline: str | None
) -> go.Figure:
    """Plot how often the event came against the probability given, on test.

    Parameters
    ----------
    predictions
        Predictions of one cell; the budget's seed average and the baseline have a null seed.
    budget, baseline
        What is drawn; None, or a model without such predictions, is left out.
    """
    figure = go.Figure()
    curves = {
        (name, model, color, symbol): reliability_on_test(predictions, model)
        for name, model, color, symbol in (
            (f"{budget} transformer, average of seeds", budget, BLUE, "diamond"),
            (f"{display(baseline)}", baseline, ORANGE, "square"),
        )
        if model is not None
    }
    highest = 0.0
    for (name, _, color, symbol), bins in curves.items():
        if not bins:
            continue
        limits = [wilson_interval(b.observed_frequency, b.count) for b in bins]
        highest = max(highest, *(b.mean_predicted for b in bins), *(high for _, high in limits))
        observed = [b.observed_frequency for b in bins]
        figure.add_scatter(
            x=[b.mean_predicted for b in bins],
            y=observed,
            mode="lines+markers",
            name=name,
            line={"color": color, "width": 1.5},
            marker={"color": color, "symbol": symbol, "size": 8},
            error_y={
                "array": [high - o for o, (_, high) in zip(observed, limits, strict=True)],
                "arrayminus": [o - low for o, (low, _) in zip(observed, limits, strict=True)],
                "thickness": 1,
                "width": 0,
                "color": color,
            },
            customdata=[b.count for b in bins],
            hovertemplate="%{customdata} rows<br>predicted %{x:.3f}<br>observed %{y:.3f}"
            f"<extra>{name}</extra>",
        )
    top = min(1.0, 1.05 * highest)
    figure.add_scatter(
        x=[0, top],
        y=[0, top],
        mode="lines",
        name="perfect calibration",
        hoverinfo="skip",
        line={"color": GREY, "dash": "dot", "width": 1.5},
    )
    figure.update_xaxes(title_text="predicted probability, mean of the bin", range=[0, top])
    figure.update_yaxes(title_text="observed frequency of the event", range=[0, top])
    return dress(figure, height=470)


def reliability_on_test(predictions: pl.DataFrame, model: str | None) -> list[ReliabilityBin]:
    """Return the reliability curve of a model without a seed on test; empty if it is not there."""
    if model is None:
        return []
    rows = predictions.filter(
        pl.col("part") == "test", pl.col("model") == model, pl.col("seed").is_null()
    )
    if rows.is_empty():
        return []
    return reliability_curve(rows["probability"].to_numpy(), rows["label"].to_numpy(), _N_BINS)


def wilson_interval(frequency: float, count: int) -> tuple[float, float]:
    """Return the 95% score interval of a proportion (Wilson 1927), for independent rows.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22.
    """
    spread = _Z_95**2 / count
    centre = (frequency + spread / 2) / (1 + spread)
    half = (spread * (frequency * (1 - frequency) + spread / 4)) ** 0.5 / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
