"""What the report says of forecasts of a return: quantile scores, and coverage of intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finscale.report.comparisons import claims, difference_table
from finscale.report.numbers import estimate_text, number, percent, with_interval
from finscale.report.stability import models_shown, stability_section
from finscale.report.tables import Table
from finscale.report.theme import display
from finscale.report.trading import trading_section
from finscale.tasks import N_RETURN_BINS

_LEVELS = (0.05, 0.5, 0.95)
_KINDS = ("raw", "split", "adaptive")


def describe_return_cell(
    summary: Mapping[str, Any],
    cell: str,
    evidence: Mapping[str, Any] | None = None,
    baselines: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Return the tables of one cell and what to know of them; None where the task is binary.

    Parameters
    ----------
    evidence
        What `finscale.pipeline.returns.draw_return_evidence` returns of the cell.
    baselines
        Of the study; those that there are not for a return are named.
    """
    models = summary.get("returns", {}).get(cell)
    if not models:
        return None
    some = next(iter(models.values()))
    return {
        "scores": _scores(models),
        "coverage": _coverage(models),
        "confidence": some["confidence"],
        "n_bins": N_RETURN_BINS,
        "nominal": some["raw"]["nominal"],
        "mean_block": some["mean_block"],
        "differences": None if evidence is None else difference_table(evidence),
        "claims": () if evidence is None else claims(evidence),
        "stability": None
        if evidence is None
        else stability_section(evidence, models_shown(evidence), event="rises"),
        "left_out": ()
        if evidence is None
        else tuple(display(name) for name in baselines if name not in evidence["baselines"]),
        "trading": None if evidence is None else trading_section(evidence),
    }


def _scores(models: Mapping[str, Any]) -> Table:
    rows = []
    for name, evidence in models.items():
        scores = evidence["scores"]
        pinball = dict(zip(scores["levels"], scores["pinball"], strict=True))
        rows.append(
            (
                display(name),
                _percent(scores["crps"], digits=4),
                estimate_text(scores["crps_skill"], 3, sign=True),
                *(_percent(pinball[level], digits=4) for level in _LEVELS),
                estimate_text(evidence["r2"], 3, sign=True),
            )
        )
    header = ("model", "CRPS, %", "CRPS skill", *(f"pinball {x:g}, %" for x in _LEVELS), "R²")
    return Table(header, tuple(rows))


def _coverage(models: Mapping[str, Any]) -> Table:
    rows = []
    for name, evidence in models.items():
        middle = next(one for one in evidence["scores"]["intervals"] if one["nominal"] == 0.5)
        cells = [_share(middle["coverage"])]
        for kind in _KINDS:
            one = evidence[kind]
            infinite = f", {100 * one['infinite_frac']:.1f}% infinite" * (one["infinite_frac"] > 0)
            cells += [_share(one["coverage"]), _percent(one["width"], digits=2) + infinite]
        rows.append((display(name), *cells))
    wide = next(iter(models.values()))["raw"]["nominal"]
    header = ["model", "50% as forecast"]
    for kind in ("as forecast", "split conformal", "adaptive conformal"):
        header += [f"{100 * wide:.0f}% {kind}", "width, %"]
    return Table(tuple(header), tuple(rows))


def _percent(estimate: Mapping[str, float | None], *, digits: int) -> str:
    return with_interval(estimate, lambda x: number(100 * x, digits=digits))


def _share(estimate: Mapping[str, float | None]) -> str:
    return with_interval(estimate, percent)
