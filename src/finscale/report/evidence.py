"""The evidence of one cell as tables: intervals, comparisons, calibration, thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finscale.report.comparisons import claims, difference_table
from finscale.report.numbers import NOTHING, estimate_text, number
from finscale.report.stability import StabilitySection, models_shown, stability_section
from finscale.report.tables import Table
from finscale.report.theme import display
from finscale.report.trading import TradingSection, trading_section

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
    stability: StabilitySection
    trading: TradingSection | None
    note: str


def evidence_section(evidence: Item) -> EvidenceSection:
    """Return the tables of one cell; ``evidence`` is `Evidence.as_dict` of the cell."""
    shown = models_shown(evidence)
    best = evidence["best_budget"] or evidence["best_other_baseline"]
    return EvidenceSection(
        scores=_scores(evidence),
        more_scores=_more_scores(evidence),
        differences=difference_table(evidence),
        claims=claims(evidence),
        detection=_detection(evidence),
        thresholds=None if best is None else _thresholds(evidence["scores"][best]),
        calibration=_calibration(evidence, shown),
        stability=stability_section(evidence, shown),
        trading=trading_section(evidence),
        note=_note(evidence),
    )


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
