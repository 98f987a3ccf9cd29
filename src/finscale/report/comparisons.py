"""Budgets against baselines on the same rows: differences, and what they allow to be claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finscale.evaluation.multiplicity import rejects
from finscale.records import BASE_RATE
from finscale.report.numbers import NOTHING, estimate_text, number
from finscale.report.tables import Table
from finscale.report.theme import display

Item = Mapping[str, Any]


def difference_table(compared: Item) -> Table | None:
    """Return every budget's differences of log-loss to three rivals; None if there are none.

    Parameters
    ----------
    compared
        `finscale.evaluation.evidence.Evidence.as_dict` of a cell, or what
        `finscale.evaluation.return_comparison.compare_returns` returns of one.
    """
    if not compared["differences"]:
        return None
    rivals = [
        name
        for name in dict.fromkeys(
            (BASE_RATE, compared["volatility_baseline"], compared["best_other_baseline"])
        )
        if name in compared["baselines"]
    ]
    corrected = (compared["correction"] or {}).get("p_values", {})
    found = {(one["model"], one["benchmark"]): one for one in compared["differences"]}
    rows = []
    for budget in compared["budgets"]:
        p_value = corrected.get(budget)
        rows.append(
            (
                budget,
                *(
                    estimate_text(found[budget, rival]["difference"], 4, sign=True)
                    for rival in rivals
                ),
                NOTHING if p_value is None else number(p_value["p_value"]),
                NOTHING if p_value is None else number(p_value["holm"]),
                _in_set(compared, budget),
            )
        )
    header = (
        "budget",
        *(f"less {display(rival)}" for rival in rivals),
        *("p over volatility", "p, Holm", "in confidence set"),
    )
    return Table(header, tuple(rows))


def claims(compared: Item) -> tuple[str, ...]:
    """Say what the comparisons of a cell allow, in sentences."""
    said = []
    for one in compared["superior_ability"]:
        beaten = rejects(one["p_value"], 1.0 - compared["confidence"])
        found = "at least one budget beats" if beaten else "no budget is shown to beat"
        n = len(one["models"])
        together = f", taking all {n} budgets together" if n > 1 else ""
        said.append(
            f"Superior predictive ability (Hansen 2005): {found} {display(one['benchmark'])}"
            f"{together} (p = {one['p_value']:.3f})."
        )
    chosen = compared["confidence_set"]
    if chosen is not None:
        names = "; ".join(display(name) for name in chosen["included"])
        said.append(
            f"Model confidence set (Hansen, Lunde and Nason 2011), {chosen['confidence']:.0%}: the "
            f"data do not tell these apart from the best: {names}."
        )
    if compared["correction"] is not None:
        said.append(compared["correction"]["statement"])
    return tuple(said)


def _in_set(compared: Item, model: str) -> str:
    chosen = compared["confidence_set"]
    return NOTHING if chosen is None else "yes" if model in chosen["included"] else "no"
