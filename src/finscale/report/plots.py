"""The figures of the page in their order, each with the sentence that says how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import plotly.graph_objects as go

from finscale.records import BASE_RATE, FinalRecord, Record, TrialRecord
from finscale.report import economics_figure, figures
from finscale.report.coverage_figure import coverage_figure
from finscale.report.effort import TUNING_TEXT, tuning_figure
from finscale.report.imported import ImportedSection
from finscale.report.inputs import ReportInput
from finscale.scaling.ledger import finals_by_budget
from finscale.search.coverage import Coverage

_SKILL_TEXT = (
    "Further right is better and 0 is the base rate of training; compare a budget's diamond with "
    "the squares, and its distance to the next one with the spread of its seeds, which shows the "
    "noise of training but not that of a finite test part."
)
_SEARCH_TEXT = (
    "Each mark is a trial at its lowest validation loss over epochs, and the green line the best "
    "completed so far: a line still falling at its right end says that the search was too short. "
    "Point at a mark for its architecture and recipe."
)
_CURVES_TEXT = (
    "Where the solid validation line turns up while the dashed training line goes on falling the "
    "model overfits; the dot is the epoch whose weights were kept. The two are not on one level: "
    "training loss is of other years, and averaged over the epoch with dropout on."
)
_DATA_SIZE_TEXT = (
    "Lower is better: a line that falls to the right says that more data helped, if it falls by "
    "more than the bars, which reach from the best to the worst seed; thin grey lines are the "
    "baselines, trained on the same rows."
)
_COVERAGE_TEXT = (
    "Every depth and width of the grids: where a marker is open no run had it, so that the search "
    "says nothing of it; the darker a filled one, the more of its choices of heads and "
    "feed-forward ratio were tried. Point at a marker for the counts."
)
_ARCHITECTURE_TEXT = (
    "Every trial that has a loss by width and depth, darker is better; a ring marks the best trial "
    "of each budget, which is deep and narrow at the upper left and shallow and wide at the lower "
    "right."
)

_TITLES = {
    "loss": "Loss against size",
    "skill": "Skill of every model",
    "search": "Trials of the searches",
    "tuning": "Best loss against trials",
    "curves": "Learning curves",
    "sharpe": "Sharpe ratio against size",
    "r2": "R² against size",
    "reliability": "Calibration",
    "architectures": "Architectures tried",
    "coverage": "Depths and widths tried",
    "size": "Loss against data size",
}
_HALVES = ("reliability", "architectures")


@dataclass(frozen=True)
class Plot:
    """A figure of the page, with its title and the sentence that says how to read it."""

    key: str
    title: str
    figure: go.Figure
    caption: str
    is_half: bool = False

    @property
    def height(self) -> int:
        """Height in CSS pixels."""
        return int(self.figure.layout.height)


def cell_plots(
    report: ReportInput,
    cell: Mapping[str, Any],
    judged: Mapping[str, Any] | None,
    records: Mapping[str, Sequence[Record]],
    tried: Mapping[str, Coverage],
) -> list[Plot]:
    """Return the figures of one cell that there is something to draw for.

    Parameters
    ----------
    cell, judged
        Of the summary and of the scaling laws.
    records
        By cell.
    tried
        Budget to what was tried of its grid.
    """
    runs = records.get(cell["cell"], ())
    trials = {
        label: [r for r in runs if isinstance(r, TrialRecord) and r.budget == label]
        for label in cell["budgets"]
    }
    trials = {label: found for label, found in trials.items() if found}
    finals = finals_by_budget(runs)
    base = cell["baselines"].get(BASE_RATE)
    base_loss = None if base is None else base["validation"]["log_loss"]
    plot = partial(_plot, cell["cell"])
    found = []
    if judged is not None and judged["error"] is None:
        loss = figures.loss_against_parameters(cell, judged)
        found.append(plot("loss", loss, _loss_text(judged)))
    if set(cell["baselines"]) - {BASE_RATE} or finals:
        found.append(plot("skill", figures.skill_dots(cell), _SKILL_TEXT))
    if trials:
        history = figures.search_history(trials, base_loss=base_loss)
        found.append(plot("search", history, _SEARCH_TEXT))
    tuning = None if judged is None else tuning_figure(judged["effort"])
    if tuning is not None:
        found.append(plot("tuning", tuning, TUNING_TEXT))
    if finals:
        curves = figures.learning_curves(finals, base_loss=base_loss)
        found.append(plot("curves", curves, _CURVES_TEXT))
    found += _measures_against_size(report, cell, finals)
    reliability = _reliability(report, cell)
    if reliability is not None:
        found.append(reliability)
    if trials:
        found.append(plot("architectures", figures.architectures(trials), _ARCHITECTURE_TEXT))
    if tried:
        found.append(plot("coverage", coverage_figure(tried), _COVERAGE_TEXT))
    return found


def _measures_against_size(
    report: ReportInput, cell: Mapping[str, Any], finals: Mapping[str, Sequence[FinalRecord]]
) -> list[Plot]:
    """Plot the Sharpe ratio, and R² of a return, against parameters and compute."""
    name = cell["cell"]
    sizes = {
        budget: (runs[0].n_parameters, sum(run.flops for run in runs))
        for budget, runs in finals.items()
    }
    figures = []
    if returns := report.summary.get("returns", {}).get(name):
        r2 = economics_figure.r2_against_size(returns, sizes)
        figures.append(("r2", r2, economics_figure.R2_TEXT))
    if evidence := report.evidence.get(name) or report.return_evidence.get(name):
        sharpe = economics_figure.sharpe_against_size(evidence, sizes)
        figures.append(("sharpe", sharpe, economics_figure.SHARPE_TEXT))
    return [_plot(name, key, figure, text) for key, figure, text in figures if figure is not None]


def _reliability(report: ReportInput, cell: Mapping[str, Any]) -> Plot | None:
    frame = report.predictions.get(cell["cell"])
    if frame is None:
        return None
    # As everywhere in the evidence, of the averaged forecasts: those are what is drawn.
    losses = {
        label: budget["seed_average"]["validation"]["log_loss"]
        for label, budget in cell["budgets"].items()
        if budget["seed_average"] is not None
    }
    best = min(losses, key=losses.__getitem__, default=None)
    models = (best, cell["best_baseline"])
    counts = [b.count for m in models for b in figures.reliability_on_test(frame, m)]
    if not counts:
        return None
    low, high = min(counts), max(counts)
    bins = f"{low} rows" if low == high else f"{low} to {high} rows"
    figure = figures.reliability_diagram(frame, budget=best, baseline=cell["best_baseline"])
    caption = (
        "On test, for the budget and the baseline that are best on validation: points on the "
        f"dotted line are calibrated; each is a bin of {bins}, with a 95% interval that takes the "
        "rows as independent, which is too narrow where labels overlap."
    )
    return _plot(cell["cell"], "reliability", figure, caption)


def _loss_text(judged: Mapping[str, Any]) -> str:
    kind = judged["test"]["kind"]
    law = (
        "the green line is the fitted law with its interval"
        if kind in ("falls", "rises")
        else "no law is drawn on test, because the verdict there does not support one"
    )
    return (
        "Lower is better, and what lies below the dashed line has a lower mean loss than the best "
        f"baseline (the one with the lowest validation loss); {law}."
    )


def data_size_plot(name: str, figure: go.Figure) -> Plot:
    """Return the figure of one horizon and task over its data sizes."""
    return _plot(name, "size", figure, _DATA_SIZE_TEXT)


def price_plots(report: ReportInput) -> list[Plot]:
    """Return the closes with the parts of a cell; empty without data."""
    if not report.data.get("closes"):
        return []
    cell = next((cell for cell in report.summary["cells"] if cell["parts"]), None)
    horizons = [cell["horizon_bars"] for cell in report.summary["cells"]]
    low, high = min(horizons), max(horizons)
    gap = f"{low}" if low == high else f"{low} to {high}"
    caption = (
        "The unshaded start is history that the features need; between the parts lies a purge gap, "
        f"the last {gap} {'row' if high == 1 else 'rows'} of the earlier part (its horizon, too "
        "few to see at this scale), because their labels would read rows of the next."
    )
    figure = figures.price_with_splits(report.data, {} if cell is None else cell["parts"])
    return [Plot("price", "Closes and parts", figure, caption)]


def imported_plots(section: ImportedSection | None) -> list[Plot]:
    """Return the figure of results of other laboratories, if there is one."""
    if section is None or section.figure is None:
        return []
    return [Plot("imported-losses", "Imported losses", section.figure, section.caption)]


def _plot(cell: str, name: str, figure: go.Figure, caption: str) -> Plot:
    return Plot(f"{name}-{cell}", _TITLES[name], figure, caption, name in _HALVES)
