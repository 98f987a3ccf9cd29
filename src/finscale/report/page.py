"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from typing import Any

import jinja2
import plotly.graph_objects as go
import polars as pl
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from finscale.imported.record import ImportedLine
from finscale.records import FinalRecord, Record, TrialRecord
from finscale.report import economics_figure, figures, tables
from finscale.report.coverage_figure import coverage_figure
from finscale.report.coverage_table import coverage_table
from finscale.report.data_size import compare_data_sizes
from finscale.report.data_size_words import data_size_words
from finscale.report.data_tables import symbol_skill_table, symbols_table, warnings_table
from finscale.report.effort import (
    TUNING_TEXT,
    axes_table,
    effort_note,
    effort_table,
    surface_table,
    tuning_figure,
)
from finscale.report.evidence import EvidenceSection, evidence_section
from finscale.report.imported import ImportedSection, imported_section
from finscale.report.returns import describe_return_cell
from finscale.report.supplementary import supplementary_table
from finscale.report.theme import display, template
from finscale.report.truth import describe_truth
from finscale.scaling.ledger import BASE_RATE, by_cell, finals_by_budget
from finscale.search.coverage import Coverage
from finscale.study import Study

# A drift in the event rate that would score less than this is not worth a sentence.
_SHOWN_DRIFT = 0.005

_KINDS = {
    "falls": "falls with size",
    "rises": "rises with size",
    "no_evidence": "no evidence",
    "too_few_points": "too few points",
    "no_result": "no result yet",
    "leak": "no conclusion",
}


@dataclass(frozen=True)
class ReportInput:
    """What the page is made from.

    Attributes
    ----------
    study, study_yaml
        The study, and its text with every default written out.
    summary
        Of `finscale.report.summary.build_summary`.
    scaling
        Of `finscale.scaling.ledger.judge_cells`.
    evidence
        Cell name to `finscale.evaluation.evidence.Evidence.as_dict`, of binary tasks.
    return_comparisons
        Cell name to what `finscale.evaluation.return_comparison.compare_returns` returns.
    axes
        Of `finscale.scaling.axis_laws.axis_laws`.
    surfaces
        Of `finscale.scaling.surfaces.surfaces`.
    data
        As in data.json: the bars, and the parts of every cell.
    environment
        As in environment.json: versions, hashes and the machine.
    records
        Current records, in the order of the ledger.
    predictions
        Predictions by cell, such as ``h1_threshold_1pct``; a budget's seed average and the
        baselines have a null seed.
    coverage
        Experiment name to what was tried of its grid.
    imported
        Past results that were imported into the run.
    """

    study: Study
    study_yaml: str
    summary: Mapping[str, Any]
    scaling: Mapping[str, Any]
    data: Mapping[str, Any]
    environment: Mapping[str, Any]
    records: Sequence[Record]
    predictions: Mapping[str, pl.DataFrame]
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    return_comparisons: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    axes: Sequence[Mapping[str, Any]] = ()
    surfaces: Sequence[Mapping[str, Any]] = ()
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    imported: Sequence[ImportedLine] = ()


@dataclass(frozen=True)
class Plot:
    """A figure of the page, with the sentence that says how to read it."""

    key: str
    figure: go.Figure
    caption: str
    is_half: bool = False

    @property
    def height(self) -> int:
        """Height in CSS pixels."""
        return int(self.figure.layout.height)


def render_report(report: ReportInput) -> str:
    """Return the report as HTML; every part of it is optional but the study."""
    records = by_cell(report.records)
    sections = [_section(report, cell, records) for cell in report.summary["cells"]]
    price = _price(report)
    data_sizes = _data_sizes(report.summary)
    plots = [one["plot"] for one in data_sizes if one["plot"] is not None]
    plots += [plot for section in sections for plot in section["plots"]] + price
    imported = imported_section(report.imported)
    imported_plots = _imported_plots(imported)
    plots += imported_plots
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(_resource("page.html.j2"))
    return page.render(
        report=report,
        summary=report.summary,
        kinds=_KINDS,
        sections=sections,
        data_sizes=data_sizes,
        price=price,
        skill_tables=tables.skill_tables(report.summary),
        collapsed_mark=tables.COLLAPSED_MARK,
        scorings=_scorings(report.summary),
        drift=_drift(report.summary),
        data_line=_data_line(report.data),
        symbols=symbols_table(report.data),
        warnings=warnings_table(report.data),
        parts=tables.parts_table(report.summary),
        identities=tables.identity_table(report.records),
        finals=tables.final_table(report.summary),
        axes=axes_table(report.axes) if report.axes else None,
        surfaces=surface_table(report.surfaces) if report.surfaces else None,
        supplementary=supplementary_table(report.records),
        imported=imported,
        imported_plots=imported_plots,
        style=Markup(_resource("style.css")),  # noqa: S704, a file of this package
        plotly=Markup(get_plotlyjs()),  # noqa: S704, plotly's own bundle
        figures=_script_json({plot.key: _figure_json(plot.figure) for plot in plots}),
        templates=_script_json({"light": template(dark=False), "dark": template(dark=True)}),
    )


def _resource(name: str) -> str:
    return resources.files("finscale.report").joinpath(name).read_text(encoding="utf-8")


def _figure_json(figure: go.Figure) -> dict[str, Any]:
    """Return data and layout; the page adds the light or the dark template."""
    whole: dict[str, Any] = json.loads(figure.to_json())
    return {
        "data": whole["data"],
        "layout": {name: value for name, value in whole["layout"].items() if name != "template"},
    }


def _script_json(value: Any) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704, no markup is left in it


def _section(
    report: ReportInput, cell: Mapping[str, Any], records: Mapping[str, Sequence[Record]]
) -> dict[str, Any]:
    judged = report.scaling.get(cell["cell"])
    has_verdict = judged is not None and judged["error"] is None
    tried = {
        label: report.coverage[f"{label}_{cell['cell']}"]
        for label in cell["budgets"]
        if f"{label}_{cell['cell']}" in report.coverage
    }
    return {
        "cell": cell,
        "coverage": coverage_table(tried) if tried else None,
        "size": data_size_words(cell, report.summary["cells"]),
        "verdict": report.summary["verdicts"][cell["cell"]],
        "judged": judged if has_verdict else None,
        "plots": _plots(report, cell, judged, records)
        + (
            [_keyed(cell["cell"], "coverage", coverage_figure(tried), _COVERAGE_TEXT)]
            if tried
            else []
        ),
        "scores": tables.score_table(cell),
        "chosen": _chosen(cell),
        "by_symbol": _by_symbol(report, cell),
        "winners": tables.winner_table(cell),
        "truth": describe_truth(report.summary, cell["cell"]),
        "returns": describe_return_cell(
            report.summary, cell["cell"], report.return_comparisons.get(cell["cell"])
        ),
        "laws": tables.law_table(judged) if has_verdict and judged is not None else None,
        "effort": _effort(judged),
        "evidence": _evidence(report, cell),
        "best_model": report.evidence.get(cell["cell"], {}).get("best_budget"),
    }


def _sharpe(
    report: ReportInput, cell: Mapping[str, Any], finals: Mapping[str, Sequence[FinalRecord]]
) -> go.Figure | None:
    evidence = report.evidence.get(cell["cell"])
    if evidence is None:
        return None
    sizes = {
        budget: (runs[0].n_parameters, sum(run.flops for run in runs))
        for budget, runs in finals.items()
    }
    return economics_figure.sharpe_against_size(evidence, sizes)


def _evidence(report: ReportInput, cell: Mapping[str, Any]) -> EvidenceSection | None:
    found = report.evidence.get(cell["cell"])
    return None if found is None else evidence_section(found)


def _effort(judged: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if judged is None or not judged["effort"]["budgets"]:
        return None
    return {
        "table": effort_table(judged["effort"]),
        "note": effort_note(judged["effort"]),
    }


def _chosen(cell: Mapping[str, Any]) -> str:
    """Say what each baseline chose inside the training rows."""
    return "; ".join(
        f"{display(name)} {setting.replace('_', ' ')} = {value:.3g}"
        for name, scores in cell["baselines"].items()
        for setting, value in scores["chosen"].items()
    )


def _data_sizes(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "title": f"h{one.horizon_bars} {one.task}",
            "table": one.table,
            "plot": None
            if one.figure is None
            else _keyed(one.name, "size", one.figure, _DATA_SIZE_TEXT),
        }
        for one in compare_data_sizes(summary)
    ]


def _by_symbol(report: ReportInput, cell: Mapping[str, Any]) -> tables.Table | None:
    frame = report.predictions.get(cell["cell"])
    return None if frame is None else symbol_skill_table(cell, frame)


def _plots(
    report: ReportInput,
    cell: Mapping[str, Any],
    judged: Mapping[str, Any] | None,
    records: Mapping[str, Sequence[Record]],
) -> list[Plot]:
    runs = records.get(cell["cell"], ())
    trials = {
        label: [r for r in runs if isinstance(r, TrialRecord) and r.budget == label]
        for label in cell["budgets"]
    }
    trials = {label: found for label, found in trials.items() if found}
    finals = finals_by_budget(runs)
    base = cell["baselines"].get(BASE_RATE)
    base_loss = None if base is None else base["validation"]["log_loss"]
    plot = partial(_keyed, cell["cell"])
    found = []
    if judged is not None and judged["error"] is None:
        found.append(
            plot("loss", figures.loss_against_parameters(cell, judged), _loss_text(judged))
        )
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
    sharpe = _sharpe(report, cell, finals)
    if sharpe is not None:
        found.append(plot("sharpe", sharpe, economics_figure.TEXT))
    reliability = _reliability(report, cell)
    if reliability is not None:
        found.append(reliability)
    if trials:
        scatter = figures.architectures(trials)
        found.append(plot("architectures", scatter, _ARCHITECTURE_TEXT, is_half=True))
    return found


def _imported_plots(section: ImportedSection | None) -> list[Plot]:
    if section is None or section.figure is None:
        return []
    return [Plot("imported-losses", section.figure, section.caption)]


def _keyed(cell: str, name: str, figure: go.Figure, caption: str, *, is_half: bool = False) -> Plot:
    return Plot(f"{name}-{cell}", figure, caption, is_half)


def _loss_text(judged: Mapping[str, Any]) -> str:
    kind = judged["test"]["kind"]
    law = (
        "the green line is the fitted law with its interval"
        if kind in ("falls", "rises")
        else "no law is drawn on test, because the verdict there does not support one"
    )
    return (
        "Lower is better, and only what lies below the dashed line beats the best baseline "
        f"(the one with the lowest validation loss); {law}."
    )


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


def _reliability(report: ReportInput, cell: Mapping[str, Any]) -> Plot | None:
    frame = report.predictions.get(cell["cell"])
    if frame is None:
        return None
    losses = {
        label: budget["seed_mean"]["validation"]["log_loss"]
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
    return _keyed(cell["cell"], "reliability", figure, caption, is_half=True)


def _price(report: ReportInput) -> list[Plot]:
    if not report.data.get("closes"):
        return []
    cell = next((cell for cell in report.summary["cells"] if cell["parts"]), None)
    horizons = [cell["horizon_bars"] for cell in report.summary["cells"]]
    low, high = min(horizons), max(horizons)
    gap = f"{low}" if low == high else f"{low} to {high}"
    caption = (
        "The unshaded start is history that the features need; between the parts lies a purge gap, "
        f"the last {gap} rows of the earlier part (its horizon, too few to see at this scale), "
        "because their labels would read rows of the next."
    )
    figure = figures.price_with_splits(report.data, {} if cell is None else cell["parts"])
    return [Plot("price", figure, caption)]


def _data_line(data: Mapping[str, Any]) -> str:
    """Say in a sentence what the models saw."""
    if not data:
        return ""
    symbols = data["symbols"]
    names = ", ".join(one["symbol"] for one in symbols[:4])
    more = f" and {len(symbols) - 4} more symbols" if len(symbols) > 4 else ""
    first, last = (
        min(one["first_date"] for one in symbols),
        max(one["last_date"] for one in symbols),
    )
    context = f", with {', '.join(data['context'])} as context" if data["context"] else ""
    return (
        f"{names}{more}, {sum(one['n_bars'] for one in symbols):,} {data['time_scale']} bars from "
        f"{first} to {last}, {len(data['feature_names'])} features (tier {data['tier']}){context}."
    )


def _drift(summary: Mapping[str, Any]) -> str:
    """Say what the test part's own event rate would score, where it is more than the base rate."""
    drifted = ", ".join(
        f"{cell['hindsight_skill']['test']:+.3f} at {cell['cell']}"
        for cell in summary["cells"]
        if cell["hindsight_skill"].get("test", 0.0) >= _SHOWN_DRIFT
    )
    if not drifted:
        return ""
    return (
        "Event rates drift: always predicting the test part's own rate, known only in hindsight, "
        f"would score {drifted}."
    )


def _scorings(summary: Mapping[str, Any]) -> str:
    """Say how many times the test part was scored."""
    times = {
        f"{label}_{cell['cell']}": budget["n_test_scorings"]
        for cell in summary["cells"]
        for label, budget in cell["budgets"].items()
        if budget["n_test_scorings"]
    }
    if not times:
        return "No budget has been scored on the test part yet."
    more = {name: n for name, n in times.items() if n > 1}
    if not more:
        return (
            "In every experiment the test part was scored once, for one recipe under one setting."
        )
    listed = ", ".join(f"{name} ({n} times)" for name, n in more.items())
    return (
        "The test part was scored once in every experiment except "
        f"{listed}, where it is no longer untouched."
    )
