"""The evidence of one cell as tables: intervals, comparisons, calibration, stability, backtests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finscale.report.comparisons import claims, difference_table
from finscale.report.numbers import NOTHING, estimate_text, number, percent, signed
from finscale.report.tables import Table
from finscale.report.theme import display

Item = Mapping[str, Any]

_MAPS = ("platt", "isotonic", "temperature")


@dataclass(frozen=True)
class EvidenceSection:
    """What the page shows of one cell's evidence; a table that has nothing to show is None."""

    scores: Table
    more_scores: Table
    differences: Table | None
    claims: tuple[str, ...]
    detection: Table | None
    thresholds: Table | None
    calibration: Table
    years: Table
    regimes: Table
    walk_forward: Table | None
    economics: Table | None
    note: str
    trading_note: str


def evidence_section(evidence: Item) -> EvidenceSection:
    """Return the tables of one cell; ``evidence`` is `Evidence.as_dict` of the cell."""
    shown = _shown(evidence)
    best = evidence["best_budget"] or evidence["best_other_baseline"]
    return EvidenceSection(
        scores=_scores(evidence),
        more_scores=_more_scores(evidence),
        differences=difference_table(evidence),
        claims=claims(evidence),
        detection=_detection(evidence),
        thresholds=None if best is None else _thresholds(evidence["scores"][best]),
        calibration=_calibration(evidence, shown),
        years=_groups(evidence, shown, "by_year"),
        regimes=_groups(evidence, shown, "by_regime"),
        walk_forward=_walk_forward(evidence.get("walk_forward") or {}),
        economics=_economics(evidence),
        note=_note(evidence),
        trading_note=_trading_note(evidence),
    )


def _shown(evidence: Item) -> list[str]:
    """Return the models that the detailed tables show: the best of each kind, and volatility."""
    names = (
        evidence["best_budget"],
        evidence["best_other_baseline"],
        evidence["volatility_baseline"],
    )
    return [name for name in dict.fromkeys(names) if name is not None]


def _in_order(evidence: Item) -> list[str]:
    return [*evidence["budgets"], *evidence["baselines"]]


def _scores(evidence: Item) -> Table:
    rows = []
    for model in _in_order(evidence):
        one = evidence["scores"][model]
        rows.append(
            (
                display(model),
                estimate_text(one["log_loss"], 4),
                estimate_text(one["skill"], 3, sign=True),
                estimate_text(one["skill_vs_benchmark"], 3, sign=True),
                estimate_text(one["auc"], 3),
            )
        )
    return Table(("model", "log-loss", "skill", "skill over volatility", "AUC"), tuple(rows))


def _more_scores(evidence: Item) -> Table:
    rows = []
    for model in _in_order(evidence):
        one = evidence["scores"][model]
        parts = one["calibration"]
        rows.append(
            (
                display(model),
                estimate_text(one["brier"], 4),
                estimate_text(parts["reliability"], 4),
                estimate_text(parts["resolution"], 4),
                estimate_text(parts["uncertainty"], 4),
                estimate_text(one["average_precision"], 3),
                estimate_text(parts["calibration_error"], 3),
            )
        )
    header = (
        *("model", "Brier", "reliability", "resolution", "uncertainty", "average precision"),
        "calibration error",
    )
    return Table(header, tuple(rows))


def _detection(evidence: Item) -> Table | None:
    recalls = sorted(
        {p["recall"] for one in evidence["scores"].values() for p in one["precision_at_recall"]}
    )
    if not recalls:
        return None
    rows = []
    for model in _in_order(evidence):
        one = evidence["scores"][model]
        precision = {p["recall"]: p["precision"] for p in one["precision_at_recall"]}
        reach = one["prediction_range"]
        rows.append(
            (
                display(model),
                *(estimate_text(precision.get(recall), 3) for recall in recalls),
                number(reach["p_min"]),
                number(reach["p_05"]["value"]),
                number(reach["p_50"]["value"]),
                number(reach["p_95"]["value"]),
                number(reach["p_max"]),
            )
        )
    header = (
        "model",
        *(f"precision at recall {recall:g}" for recall in recalls),
        *("lowest forecast", "5%", "median", "95%", "highest"),
    )
    return Table(header, tuple(rows))


def _thresholds(scores: Item) -> Table:
    rows = [
        (
            f"{one['threshold']:g}",
            estimate_text(one["precision"], 3),
            estimate_text(one["recall"], 3),
            estimate_text(one["flagged_frac"], 3),
        )
        for one in scores["thresholds"]
    ]
    return Table(("forecast above", "precision", "recall", "share of rows"), tuple(rows))


def _calibration(evidence: Item, shown: Sequence[str]) -> Table:
    rows = []
    for model in shown:
        one = evidence["scores"][model]
        rows.append(
            (
                display(model),
                "as it is",
                estimate_text(one["log_loss"], 4),
                estimate_text(one["skill"], 3, sign=True),
                estimate_text(one["calibration"]["calibration_error"], 3),
                number(one["calibration"]["calibration_noise"]),
                NOTHING,
            )
        )
        for name in _MAPS:
            mapped = evidence["recalibration"][model].get(name)
            if mapped is not None:
                rows.append(
                    (
                        "",
                        name,
                        estimate_text(mapped["log_loss"], 4),
                        estimate_text(mapped["skill"], 3, sign=True),
                        estimate_text(mapped["calibration"]["calibration_error"], 3),
                        number(mapped["calibration"]["calibration_noise"]),
                        estimate_text(mapped["gain"], 4, sign=True),
                    )
                )
    header = (
        *("model", "fitted on validation", "log-loss", "skill", "calibration error"),
        *("of which noise", "gain"),
    )
    return Table(header, tuple(rows), n_text=2)


def _groups(evidence: Item, shown: Sequence[str], kind: str) -> Table:
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
        *("rows", "events"),
        *(f"skill of {display(model)}" for model in shown),
    )
    return Table(header, tuple(rows))


def _walk_forward(walked: Mapping[str, Item]) -> Table | None:
    if not walked:
        return None
    most = max((one["blocks"] for one in walked.values()), key=len)

    def skill(block: Item, loss: float) -> str:
        return signed(1.0 - loss / block["base_log_loss"])

    rows = [
        (
            budget,
            *(skill(block, block["log_loss"]) for block in one["blocks"]),
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


def _economics(evidence: Item) -> Table | None:
    if evidence["economics"] is None:
        return None
    every = (*evidence["economics"]["timing"], *evidence["economics"]["cross_section"])
    rows = [
        (
            display(one["name"]).replace("/", ", "),
            percent(one["annual_return"]),
            percent(one["annual_volatility"]),
            estimate_text(one["sharpe"], 2, sign=True),
            percent(one["max_drawdown"]),
            number(one["annual_turnover"], digits=1),
            number(one["deflated_sharpe"], digits=2),
        )
        for one in every
    ]
    header = (
        *("strategy", "return a year", "volatility", "Sharpe ratio", "worst drawdown"),
        *("turnover a year", "deflated Sharpe"),
    )
    return Table(header, tuple(rows))


def _note(evidence: Item) -> str:
    return (
        f"Test rows, {evidence['n_rows']:,} on {evidence['n_dates']:,} dates. Intervals are "
        f"{evidence['confidence']:.0%}, from {evidence['n_samples']:,} resamplings of the dates in "
        f"blocks of {evidence['mean_block']:.0f} on average (stationary bootstrap, Politis and "
        f"Romano 1994; of {evidence['comparison_block']:.0f} for comparisons), since neighbouring "
        "rows depend on each other: the losses with the market's calm and turbulence, differences "
        "between two models' losses for a shorter time. A budget's forecast is the average of its "
        "seeds."
    )


def _trading_note(evidence: Item) -> str:
    if evidence["economics"] is None:
        return ""
    economics = evidence["economics"]
    trading = economics["trading"]
    when = "the same close" if trading["lag"] == 0 else f"a close {trading['lag']} later"
    return (
        f"Never the headline: what the forecasts would have earned as positions traded at {when}, "
        f"{trading['cost_bps']:g} basis points for each full turn, rules chosen on validation. The "
        "deflated Sharpe ratio (Bailey and López de Prado 2014) is the probability of beating the "
        f"best of {economics['n_strategies']:,} strategies without skill: "
        f"{economics['n_models']:,} models (every trial of the searches here, and the baselines) "
        f"under {economics['n_rules']} rules each, and buy and hold. Strategies that resemble each "
        "other count in full, so the probability is too low rather than too high."
    )
