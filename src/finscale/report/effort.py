"""How well each budget was searched, and laws along other axes: two tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from finscale.report.numbers import NOTHING, number
from finscale.report.tables import Table
from finscale.report.theme import BLUE, GREY, legend_once, panel, small_multiples
from finscale.scaling.tuning import MIN_TRIALS, MIN_TRIALS_TO_BE_TUNED
from finscale.units import count_text, flops_text

_TUNED = {
    "fully_tuned": "fully tuned",
    "still_falling": "still falling",
    "undecided": "undecided",
    "unknown": "unknown",
}
_KINDS = {
    "falls": "falls",
    "rises": "rises",
    "no_evidence": "no evidence",
    "too_few_points": "too few points",
    "descriptive": "describes only",
}
_BAND = "rgba(0,114,178,0.18)"

TUNING_TEXT = (
    "Best validation loss to be expected after so many independent random trials: the line is the "
    "median, the band holds the whole curve with the stated confidence, and the dashed line is the "
    "mean. A curve that still falls at the vertical mark, the random trials that were run, says "
    "that more trials would have found better; beyond the mark it is what these trials alone can "
    "say. The band has no lower limit where the data give none."
)


def effort_table(effort: Mapping[str, Any]) -> Table:
    """Return effort, tuning and optimism of every budget of one cell."""
    rows = []
    for budget, one in effort["budgets"].items():
        gain = one["curve"] and one["curve"]["gain_of_half"]
        rows.append(
            (
                budget,
                _TUNED[one["tuned"]],
                f"{one['n_trials']}",
                f"{one['n_independent']}",
                NOTHING if one["flops"] is None else flops_text(one["flops"]),
                _gain(gain),
                number(one["best_loss"], digits=4),
                number(one["best_at_equal_effort"], digits=4),
                number(one["retrained_loss"], digits=4),
                number(one["optimism"], digits=4),
                number(one["test_loss"], digits=4),
            )
        )
    header = (
        *("budget", "frontier", "trials", "random", "FLOPs", "gain of 2nd half, interval"),
        *("best trial", f"best of first {effort['equal_effort']}", "retrained", "optimism"),
        "test",
    )
    return Table(header, tuple(rows), n_text=2)


def effort_note(effort: Mapping[str, Any]) -> str:
    """Say how the table is to be read."""
    sigma = effort["seed_sigma"]
    noise = (
        "there is none here, so no frontier is judged"
        if sigma is None
        else f"{sigma:.4f} nats on validation here"
    )
    return (
        "A frontier is fully tuned if the second half of the random trials lowered the expected "
        f"best loss by less than the noise of one run between seeds ({noise}), upper limit "
        f"included, and there were {MIN_TRIALS_TO_BE_TUNED} of them or more, so that a recipe as "
        "rare as one in ten would have been met; still falling if by more; unknown with fewer than "
        f"{MIN_TRIALS}. Optimism "
        "is the loss of the best recipe trained again with new seeds, less that of the trial that "
        "was chosen: what choosing the best of many flattered it by. Losses are log-losses in nats."
    )


def tuning_figure(effort: Mapping[str, Any]) -> go.Figure | None:
    """Plot the tuning curves of one cell, a panel per budget; None if there are none."""
    curves = {
        budget: one["curve"]
        for budget, one in effort["budgets"].items()
        if one["curve"] is not None and one["n_independent"] > 1
    }
    if not curves:
        return None
    titles = [f"<b>{budget}</b>, {_TUNED[effort['budgets'][budget]['tuned']]}" for budget in curves]
    figure = small_multiples(titles, x_title="random trials", y_title="log-loss, nats")
    low = min(min(curve["median"]) for curve in curves.values())
    top = max(max(curve["median"][0], curve["expected"][0]) for curve in curves.values())
    room = 0.15 * (top - low) + 1e-3
    for place, curve in enumerate(curves.values()):
        for trace in _traces(curve, floor=low - room, ceiling=top + room):
            figure.add_trace(trace, **panel(place, len(curves)))
        figure.add_vline(
            x=curve["n_independent"],
            line={"color": GREY, "width": 1, "dash": "dot"},
            **panel(place, len(curves)),
        )
    figure.update_yaxes(range=[low - room, top + room])
    return legend_once(figure)


def axes_table(axes: Sequence[Mapping[str, Any]]) -> Table:
    """Return what the loss does along training compute and training rows."""
    rows = [
        (
            one["of"],
            one["axis"],
            *_weighing(one),
            _limits(one["alpha"], one["alpha_low"], one["alpha_high"]),
            NOTHING if one["loss_difference"] is None else _limits(*one["loss_difference"]),
        )
        for one in axes
    ]
    header = (
        *("of", "axis", "loss", "points", "span", "ΔAICc over a constant"),
        *("alpha, interval", "largest − smallest, interval"),
    )
    return Table(header, tuple(rows), n_text=3)


def measures_table(measures: Sequence[Mapping[str, Any]]) -> Table:
    """Return what measures of either sign do along parameters and training compute."""
    rows = [
        (
            one["cell"],
            one["measure"],
            one["size"],
            *_weighing(one),
            _limits(*one["change"]),
        )
        for one in measures
    ]
    header = (
        *("of", "measure", "against", "it", "points", "span", "ΔAICc over a constant"),
        "largest − smallest, interval",
    )
    return Table(header, tuple(rows), n_text=4)


def _weighing(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return what was found, on how many points and which span, and how surely."""
    return (
        _KINDS[one["kind"]],
        str(one["n_points"]),
        f"×{one['span_ratio']:.3g}",
        number(one["delta_aicc"], digits=1),
    )


def surface_table(surfaces: Sequence[Mapping[str, Any]]) -> Table:
    """Return the fitted surfaces, and what compute would be spent best on."""
    rows = []
    for one in surfaces:
        fit = one["fit"]
        if fit is None:
            rows.append((one["of"], str(one["n_points"]), *[NOTHING] * 6, one["why"]))
            continue
        intervals = fit["intervals"] or {}
        numbers = [
            _limits(fit["parameters"][name], *(intervals.get(name) or (None, None)))
            for name in ("E", "A", "B", "alpha", "beta")
        ]
        said = ["converged" if fit["converged"] else "not converged"]
        said += [] if fit["identified"] else ["not identified: other values fit as well"]
        said += [f"{name} at a bound" for name in fit["at_bound"]]
        rows.append((one["of"], str(one["n_points"]), *numbers, _allocation(one), ", ".join(said)))
    header = (
        *("of", "points", "E", "A", "B", "alpha", "beta"),
        *("best use of the largest compute", "fit"),
    )
    return Table(header, tuple(rows))


def _allocation(surface: Mapping[str, Any]) -> str:
    best = surface["allocation"]
    if best is None:
        return NOTHING
    return (
        f"{count_text(best['n_optimal']['estimate'])} parameters "
        f"({count_text(best['n_optimal']['low'])} to {count_text(best['n_optimal']['high'])}), "
        f"{count_text(best['d_optimal']['estimate'])} rows "
        f"({count_text(best['d_optimal']['low'])} to {count_text(best['d_optimal']['high'])})"
    )


def _traces(curve: Mapping[str, Any], *, floor: float, ceiling: float) -> list[go.Scatter]:
    trials = list(curve["trials"])
    # The band ends at the panel's edge where it has no limit: an area needs a number.
    low = [floor if value is None else min(max(floor, value), ceiling) for value in curve["low"]]
    high = [ceiling if value is None else min(ceiling, value) for value in curve["high"]]
    percent = f"{100 * curve['confidence']:g}% band"
    return [
        go.Scatter(
            x=trials + trials[::-1],
            y=high + low[::-1],
            fill="toself",
            fillcolor=_BAND,
            line={"width": 0},
            name=percent,
            hoverinfo="skip",
        ),
        go.Scatter(
            x=trials,
            y=list(curve["expected"]),
            mode="lines",
            name="expected best",
            line={"color": BLUE, "dash": "dash", "width": 1.2},
        ),
        go.Scatter(
            x=trials,
            y=list(curve["median"]),
            mode="lines",
            name="median best",
            line={"color": BLUE, "width": 2, "shape": "hv"},
        ),
    ]


def _gain(gain: Mapping[str, Any] | None) -> str:
    return NOTHING if gain is None else _limits(gain["estimate"], gain["low"], gain["high"])


def _limits(estimate: float | None, low: float | None, high: float | None) -> str:
    if estimate is None:
        return NOTHING
    return f"{number(estimate, digits=4)} ({number(low, digits=4)} to {number(high, digits=4)})"
