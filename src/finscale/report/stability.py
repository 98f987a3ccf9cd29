"""Skill by year, by regime of volatility and walked forward, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finscale.report.numbers import NOTHING, estimate_text, signed
from finscale.report.tables import Table
from finscale.report.theme import display

Item = Mapping[str, Any]


@dataclass(frozen=True)
class StabilitySection:
    """What the page shows of a cell beyond its one test part; None where nothing was walked."""

    years: Table
    regimes: Table
    walk_forward: Table | None


def stability_section(
    evidence: Item, shown: Sequence[str], *, event: str = "events"
) -> StabilitySection:
    """Return the tables of one cell.

    Parameters
    ----------
    evidence
        Of the cell, with ``stability`` by model, and ``walk_forward`` by budget.
    shown
        Models of the tables by year and by regime.
    event
        What the share of rows beside them is of.
    """
    return StabilitySection(
        years=_groups(evidence, shown, "by_year", event),
        regimes=_groups(evidence, shown, "by_regime", event),
        walk_forward=_walk_forward(evidence.get("walk_forward") or {}),
    )


def models_shown(evidence: Item) -> list[str]:
    """Return the models that the detailed tables show: the best of each kind, and volatility."""
    names = (
        evidence["best_budget"],
        evidence["best_other_baseline"],
        evidence["volatility_baseline"],
    )
    return [name for name in dict.fromkeys(names) if name is not None]


def _groups(evidence: Item, shown: Sequence[str], kind: str, event: str) -> Table:
    groups: dict[str, dict[str, Item]] = {}
    for model in shown:
        for one in evidence["stability"][model][kind]:
            groups.setdefault(one["group"], {})[model] = one
    rows = []
    for group, found in groups.items():
        first = next(iter(found.values()))
        few = " (few)" if first["few_rows"] else ""
        rows.append(
            (
                group,
                f"{first['n_rows']}{few}",
                f"{100 * first['event_rate']:.0f}%",
                *(estimate_text(found[model]["skill"], 3, sign=True) for model in shown),
            )
        )
    header = (
        "year" if kind == "by_year" else "volatility",
        *("rows", event),
        *(f"skill of {display(model)}" for model in shown),
    )
    return Table(header, tuple(rows))


def _walk_forward(walked: Mapping[str, Item]) -> Table | None:
    if not walked:
        return None
    most = max((one["blocks"] for one in walked.values()), key=len)

    def skill(block: Item, loss: float) -> str:
        return signed(1.0 - loss / block["base_loss"])

    rows = [
        (
            budget,
            *(skill(block, block["loss"]) for block in one["blocks"]),
            *[NOTHING] * (len(most) - len(one["blocks"])),
            signed(one["summary"]["pooled_skill"]),
            estimate_text(one["summary"]["mean_skill"], 3, sign=True),
            f"{one['summary']['n_positive']} of {one['summary']['n_periods']}",
        )
        for budget, one in walked.items()
    ]
    rows += [
        (display(name), *(skill(block, block["baselines"][name]) for block in most), *[NOTHING] * 3)
        for name in most[0]["baselines"]
    ]
    header = (
        "model",
        *(f"{block['first'][:7]} to {block['last'][:7]}" for block in most),
        *("all rows", "mean of blocks", "blocks above 0"),
    )
    return Table(header, tuple(rows))
