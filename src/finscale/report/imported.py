"""The report's section of imported results: a figure and tables apart from the run's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from finscale.evaluation.metrics import skill
from finscale.imported.fit import fit_imported, results, scored_loss
from finscale.imported.record import ImportedLine, ImportedRecord
from finscale.report.numbers import NOTHING, fitted_text, number, signed
from finscale.report.search_figures import loss_range
from finscale.report.tables import Table
from finscale.report.theme import (
    BLUE,
    GREEN,
    GREY,
    legend_once,
    of_traces,
    panel,
    round_ticks,
    small_multiples,
)
from finscale.scaling.laws import Constant, Law, PowerLaw, PowerLawWithFloor
from finscale.units import count_text, true_minus

_LAWS: dict[str, Law] = {law.name: law for law in (Constant, PowerLaw, PowerLawWithFloor)}
_N_SIZES = 60
_N_REMARKS = 40
_GAP = 0.07  # between panels, for the ticks of each
_CAPTION = (
    "Each circle is a past result at the parameter count of its architecture, counted here and not "
    "as labelled; a diamond is the best of its budget, taken at face value: one seed, chosen among "
    "many. What lies on or above the dotted line has learned nothing; a result that is far worse "
    "than the others is above the scale."
)


@dataclass(frozen=True)
class ImportedSection:
    """Everything that the page shows of imported results.

    Attributes
    ----------
    headline
        That they are not comparable, and how many have no skill.
    figure
        None if no result has both a loss and an architecture.
    caption
        How to read the figure.
    budgets
        The best result of every cell and budget.
    laws
        The laws fitted to those, by cell.
    remarks
        What was odd about the files, and how often.
    """

    headline: str
    figure: go.Figure | None
    caption: str
    budgets: Table
    laws: Table
    remarks: Table


def imported_section(lines: Sequence[ImportedLine]) -> ImportedSection | None:
    """Return the section of a directory's imported results; None if it has none.

    Parameters
    ----------
    lines
        Of `finscale.imported.record.read_imported`.
    """
    by_cell = results(lines)
    if not by_cell:
        return None
    fits = fit_imported(lines)
    return ImportedSection(
        headline=headline(fits),
        figure=imported_losses(by_cell, fits),
        caption=_CAPTION,
        budgets=budget_table(by_cell, fits),
        laws=law_table(fits),
        remarks=remark_table(by_cell),
    )


def headline(fits: Mapping[str, Mapping[str, Any]]) -> str:
    """Say in a sentence or two what imported results are worth.

    Parameters
    ----------
    fits
        Of `finscale.imported.fit.fit_imported`.
    """
    judged = [fit for fit in fits.values() if fit["n_without_skill"] is not None]
    unjudged = [cell for cell, fit in fits.items() if fit["n_without_skill"] is None]
    start = "Imported results: not comparable with this run's"
    n_scored = sum(fit["n_scored"] for fit in judged)
    if judged:
        n_without = sum(fit["n_without_skill"] for fit in judged)
        start += f", {n_without} of {n_scored} without skill"
    if not unjudged:
        return f"{start}."
    return f"{start}. Skill is not known for {', '.join(unjudged)}: no base loss was given."


def imported_losses(
    by_cell: Mapping[str, Sequence[ImportedRecord]], fits: Mapping[str, Mapping[str, Any]]
) -> go.Figure | None:
    """Plot validation loss against counted parameters, one panel per cell; None without a point.

    The law that AICc prefers is drawn where it is one of the power laws, without an interval:
    there is no noise between seeds to take one from.
    """
    drawn = {cell: found for cell, found in by_cell.items() if fits[cell]["points"]}
    if not drawn:
        return None
    figure = _panels(
        [f"<b>{escape(cell)}</b>, {len(_counted(found))} counted" for cell, found in drawn.items()]
    )
    for index, (cell, records) in enumerate(drawn.items()):
        place = panel(index, len(drawn))
        figure.add_traces(_traces(records, fits[cell]), **of_traces(place))
        sizes = [point["n_parameters"] for point in fits[cell]["points"]]
        ticks = round_ticks(min(sizes) / 1.5, max(sizes) * 1.5)
        figure.update_xaxes(
            type="log", tickvals=ticks, ticktext=[count_text(tick) for tick in ticks], **place
        )
        figure.update_yaxes(range=_reach(records, fits[cell]["base_log_loss"]), **place)
    return legend_once(figure)


def _panels(titles: Sequence[str]) -> go.Figure:
    """Return a panel per cell, each on a scale of its own: cells differ in their base loss."""
    figure = small_multiples(titles, x_title="parameters, counted", y_title="log-loss, nats")
    figure.update_yaxes(matches=None, showticklabels=True)
    columns = sorted({panel(one, len(titles))["col"] for one in range(len(titles))})
    width = (1.0 - _GAP * (len(columns) - 1)) / len(columns)
    for one, title in enumerate(figure.layout.annotations):
        place = panel(one, len(titles))
        start = (place["col"] - 1) * (width + _GAP)
        figure.update_xaxes(domain=[start, start + width], **place)
        title.update(x=start)
    return figure


def _counted(records: Sequence[ImportedRecord]) -> list[tuple[ImportedRecord, float]]:
    """Return the results that have both a loss and a size."""
    return [
        (one, loss)
        for one in records
        if one.n_parameters is not None and (loss := scored_loss(one)) is not None
    ]


def _reach(records: Sequence[ImportedRecord], base: float | None) -> list[float]:
    low, high = loss_range([loss for _, loss in _counted(records)])
    known = [] if base is None else [base]
    low, high = min([low, *known]), max([high, *known])
    room = 0.06 * (high - low) + 1e-3
    return [low - room, high + room]


def _traces(records: Sequence[ImportedRecord], fit: Mapping[str, Any]) -> list[go.Scatter]:
    points = fit["points"]
    sizes = [point["n_parameters"] for point in points]
    reach = [min(sizes) / 1.5, max(sizes) * 1.5]
    traces = []
    if fit["base_log_loss"] is not None:
        base = fit["base_log_loss"]
        traces.append(
            go.Scatter(
                x=reach,
                y=[base, base],
                mode="lines",
                name="base rate, as given",
                line={"color": GREY, "dash": "dot", "width": 2},
                hovertemplate="base rate: %{y:.4f}<extra></extra>",
            )
        )
    traces += _law_trace(fit, sizes)
    counted = _counted(records)
    traces.append(
        go.Scatter(
            x=[one.n_parameters for one, _ in counted],
            y=[loss for _, loss in counted],
            mode="markers",
            name="imported result",
            marker={"symbol": "circle-open", "size": 7, "color": BLUE, "line": {"width": 1.2}},
            hovertext=[_describe(one) for one, _ in counted],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    traces.append(
        go.Scatter(
            x=sizes,
            y=[point["validation_loss"] for point in points],
            mode="markers",
            name="best of its budget",
            text=[escape(point["budget"]) for point in points],
            marker={"symbol": "diamond", "size": 10, "color": BLUE},
            hovertemplate="%{text}, best<br>%{x:,} parameters<br>%{y:.4f}<extra></extra>",
        )
    )
    return traces


def _law_trace(fit: Mapping[str, Any], sizes: Sequence[int]) -> list[go.Scatter]:
    comparison = fit["comparison"]
    if comparison is None or comparison["chosen"] in (None, Constant.name):
        return []
    chosen = next(one for one in comparison["fits"] if one["law"] == comparison["chosen"])
    grid_N = np.geomspace(min(sizes), max(sizes), _N_SIZES)
    return [
        go.Scatter(
            x=grid_N.tolist(),
            y=_LAWS[chosen["law"]].predict(chosen["parameters"], grid_N).tolist(),
            mode="lines",
            name="law fitted to the best",
            line={"color": GREEN, "width": 2},
            hovertemplate=f"{true_minus(chosen['formula'])}<extra></extra>",
        )
    ]


def _describe(record: ImportedRecord) -> str:
    loss = number(record.validation_loss, digits=4)
    trial = "" if record.trial is None else f", trial {record.trial}"
    return "<br>".join(
        [
            f"<b>{escape(record.experiment)}</b>{trial}",
            f"log-loss {loss}, {record.architecture or NOTHING}, {record.n_parameters:,} counted",
            escape(f"{record.source}, row {record.row}"),
            *map(escape, record.remarks),
        ]
    )


def budget_table(
    by_cell: Mapping[str, Sequence[ImportedRecord]], fits: Mapping[str, Mapping[str, Any]]
) -> Table:
    """Return the best result of every cell and budget: label against count, loss, skill."""
    rows = []
    for cell, records in by_cell.items():
        base = fits[cell]["base_log_loss"]
        budgets: dict[str, list[tuple[float, ImportedRecord]]] = {}
        for one in records:
            loss = scored_loss(one)
            if loss is not None:
                budgets.setdefault(one.budget or NOTHING, []).append((loss, one))
        for label, scored in budgets.items():
            loss, best = min(scored, key=lambda item: item[0])
            rows.append(
                (
                    cell,
                    label,
                    best.architecture or NOTHING,
                    _count(best.n_parameters_stated),
                    _count(best.n_parameters),
                    str(len(scored)),
                    number(loss, digits=4),
                    NOTHING if base is None else signed(skill(loss, base)),
                    NOTHING if base is None else str(sum(other >= base for other, _ in scored)),
                    "; ".join(best.remarks),
                )
            )
    header = ("cell", "label", "d×L×heads×d_ff", "parameters, as given", "counted", "results")
    return Table((*header, "best log-loss", "skill", "without skill", "remarks"), tuple(rows), 3)


def law_table(fits: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the laws fitted to each cell's best results, or why there are none."""
    rows: list[tuple[str, ...]] = []
    for cell, fit in fits.items():
        if fit["comparison"] is None:
            rows.append((cell, NOTHING, fit["error"], NOTHING))
            continue
        delta = fit["comparison"]["delta_aicc"]
        rows += [
            (
                cell,
                true_minus(law["formula"]),
                fitted_text(law["parameters"]),
                number(delta[law["law"]], digits=1),
            )
            for law in fit["comparison"]["fits"]
        ]
    return Table(("cell", "law", "fitted", "ΔAICc"), tuple(rows), n_text=3)


def remark_table(by_cell: Mapping[str, Sequence[ImportedRecord]]) -> Table:
    """Return what was odd about results, with an example and how often it was seen."""
    seen = [
        (remark, f"{one.source}, row {one.row}")
        for records in by_cell.values()
        for one in records
        for remark in one.remarks
    ]
    times = Counter(remark for remark, _ in seen)
    first = dict(reversed(seen))
    rows = [(remark, first[remark], str(n)) for remark, n in times.most_common(_N_REMARKS)]
    return Table(("remark", "for instance", "results"), tuple(rows), n_text=2)


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"
