"""Every budget's averaged forecast with all that was measured of it, one row each.

The table is what ``averages.csv`` of a run holds: skill, Sharpe ratios and R², which may have
either sign, beside the sizes that they may depend on. `finscale fit-line` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finscale.errors import FitError
from finscale.records import EnsembleRecord, Record
from finscale.scaling.axes import cell_columns
from finscale.scaling.ledger import by_cell, finals_by_budget, metrics_of, winning_ensemble
from finscale.scaling.line import fit_line
from finscale.study import Study

_TIMED = ("threshold", "proportional")
_CROSS_SECTIONS = ("decile", "forecast_weighted")
_EARNED = ("annual_return", "max_drawdown", "annual_turnover")

COLUMNS = (
    *("study", "cell", "horizon_bars", "task", "history_frac", "n_symbols", "tier", "budget"),
    *("params", "features", "rows", "n_seeds", "flops"),
    *("validation_loss", "validation_skill", "test_loss", "test_skill"),
    *("test_skill_vs_volatility", "test_auc", "test_crps", "test_r2"),
    *(f"sharpe_{rule}" for rule in (*_TIMED, *_CROSS_SECTIONS)),
    *(f"{name}_{rule}" for rule in _TIMED for name in _EARNED),
)
"""Columns of the table. ``flops`` are those of all seeds together; Sharpe ratios, returns and
turnover are per year, after costs, on test. What a task or a panel does not have is empty."""

MEASURES = {
    "test_skill": "skill",
    "test_skill_vs_volatility": "skill over the volatility baseline",
    "test_r2": "R² over the historical mean",
    "sharpe_threshold": "Sharpe ratio, above a threshold",
    "sharpe_proportional": "Sharpe ratio, in proportion",
    "sharpe_decile": "Sharpe ratio, deciles",
    "sharpe_forecast_weighted": "Sharpe ratio, forecast-weighted",
}
"""Columns that a line is fitted to, with their names in words."""

SIZES = {"params": "parameters", "flops": "training FLOPs"}
"""Columns that it is fitted against."""


def average_rows(
    study: Study,
    records: Sequence[Record],
    data: Mapping[str, Any],
    evidence: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return a row per cell and budget that has an averaged forecast; keys are `COLUMNS`.

    Parameters
    ----------
    records
        Current records, in the order of the ledger.
    data
        As in data.json.
    evidence
        Cell name to `finscale.evaluation.evidence.Evidence.as_dict`; cells without it have no
        economic measures.
    """
    rows = []
    for cell, runs in by_cell(records).items():
        if cell not in data["cells"]:
            continue
        for budget, finals in finals_by_budget(runs).items():
            average = winning_ensemble([one for one in runs if one.budget == budget])
            if average is None:
                continue
            row = {
                **cell_columns(study, data, cell),
                "budget": budget,
                "params": average.n_parameters,
                "n_seeds": len(finals),
                "flops": sum(final.flops for final in finals),
                **_scores(average),
                **_weighed(evidence.get(cell), budget),
            }
            rows.append({name: row.get(name) for name in COLUMNS})
    return rows


def measure_lines(rows: Sequence[Mapping[str, Any]], *, confidence: float) -> list[dict[str, Any]]:
    """Fit every measure of either sign against every size, cell by cell.

    Returns
    -------
    list of dict
        ``cell``, ``measure`` and ``size`` in words, ``column`` of the measure, and
        `finscale.scaling.line.Line.as_dict`; what is not measured on every budget, or on fewer
        than three, is left out.
    """
    found = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        own = [row for row in rows if row["cell"] == cell]
        for column, measure in MEASURES.items():
            for axis, size in SIZES.items():
                try:
                    line = fit_line(
                        x=[row[axis] for row in own],
                        y=[row[column] for row in own],
                        confidence=confidence,
                    )
                except FitError:
                    continue
                named = {"cell": cell, "measure": measure, "size": size, "column": column}
                found.append(named | line.as_dict())
    return found


def _scores(average: EnsembleRecord) -> dict[str, Any]:
    validation, test = (metrics_of(average.scores, part) for part in ("validation", "test"))
    return {
        "validation_loss": validation["log_loss"],
        "validation_skill": validation["skill"],
        "test_loss": test["log_loss"],
        "test_skill": test["skill"],
        "test_crps": test.get("crps"),
        "test_r2": test.get("r2"),
    }


def _weighed(evidence: Mapping[str, Any] | None, budget: str) -> dict[str, Any]:
    """Return what the evidence adds to the scores of one budget."""
    if evidence is None or budget not in evidence["budgets"]:
        return {}
    found = {}
    # Those of a return are in its record.
    if "scores" in evidence:
        scores = evidence["scores"][budget]
        against = scores["skill_vs_benchmark"]
        found["test_auc"] = scores["auc"]["value"]
        found["test_skill_vs_volatility"] = None if against is None else against["value"]
    economics = evidence["economics"]
    if economics is None:
        return found
    backtests = {one["name"]: one for one in (*economics["timing"], *economics["cross_section"])}
    for rule in (*_TIMED, *_CROSS_SECTIONS):
        backtest = backtests.get(f"{budget}/{rule}")
        if backtest is not None:
            found[f"sharpe_{rule}"] = backtest["sharpe"]["value"]
            found |= {f"{name}_{rule}": backtest[name] for name in _EARNED}
    return found
