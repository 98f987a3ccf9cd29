"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from finscale.features.tiers import TIERS
from finscale.records import Record
from finscale.report import tables
from finscale.report.coverage_table import coverage_table
from finscale.report.data_size import compare_data_sizes
from finscale.report.data_size_words import data_size_words
from finscale.report.data_tables import symbol_skill_table, symbols_table, warnings_table
from finscale.report.effort import (
    axes_table,
    effort_note,
    effort_table,
    measures_table,
    surface_table,
)
from finscale.report.evidence import EvidenceSection, evidence_section
from finscale.report.imported import imported_section
from finscale.report.inputs import ReportInput
from finscale.report.numbers import signed
from finscale.report.plots import cell_plots, data_size_plot, imported_plots, price_plots
from finscale.report.returns import describe_return_cell
from finscale.report.supplementary import supplementary_table
from finscale.report.theme import display, template
from finscale.report.truth import describe_truth
from finscale.scaling.ledger import by_cell
from finscale.units import counted, true_minus

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


def render_report(report: ReportInput) -> str:
    """Return the report as HTML; every part of it is optional but the study."""
    records = by_cell(report.records)
    sections = [_section(report, cell, records) for cell in report.summary["cells"]]
    price = price_plots(report)
    data_sizes = _data_sizes(report.summary)
    plots = [one["plot"] for one in data_sizes if one["plot"] is not None]
    plots += [plot for section in sections for plot in section["plots"]] + price
    imported = imported_section(report.imported)
    imported_figures = imported_plots(imported)
    plots += imported_figures
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # Sentences come with ASCII signs, as a terminal shows them.
    environment.filters["signs"] = true_minus
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
        measures=measures_table(report.measures) if report.measures else None,
        supplementary=supplementary_table(report.records),
        imported=imported,
        imported_plots=imported_figures,
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
        "plots": cell_plots(report, cell, judged, records, tried),
        "scores": tables.score_table(cell),
        "chosen": _chosen(cell),
        "by_symbol": _by_symbol(report, cell),
        "winners": tables.winner_table(cell),
        "truth": describe_truth(report.summary, cell["cell"]),
        "returns": describe_return_cell(
            report.summary,
            cell["cell"],
            report.return_evidence.get(cell["cell"]),
            report.study.baselines,
        ),
        "laws": tables.law_table(judged) if has_verdict and judged is not None else None,
        "effort": _effort(judged),
        "evidence": _evidence(report, cell),
        "best_model": report.evidence.get(cell["cell"], {}).get("best_budget"),
    }


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
            "plot": None if one.figure is None else data_size_plot(one.name, one.figure),
        }
        for one in compare_data_sizes(summary)
    ]


def _by_symbol(report: ReportInput, cell: Mapping[str, Any]) -> tables.Table | None:
    frame = report.predictions.get(cell["cell"])
    return None if frame is None else symbol_skill_table(cell, frame)


def _data_line(data: Mapping[str, Any]) -> str:
    """Say in a sentence what the models saw."""
    if not data:
        return ""
    symbols = data["symbols"]
    names = ", ".join(one["symbol"] for one in symbols[:4])
    more = f" and {counted(len(symbols) - 4, 'more symbol')}" if len(symbols) > 4 else ""
    first, last = (
        min(one["first_date"] for one in symbols),
        max(one["last_date"] for one in symbols),
    )
    n_features, n_tier = len(data["feature_names"]), len(TIERS[data["tier"]])
    more_features = f" and {n_features - n_tier} more" if n_features > n_tier else ""
    context = f", with {', '.join(data['context'])} as context" if data["context"] else ""
    return (
        f"{names}{more}, {sum(one['n_bars'] for one in symbols):,} {data['time_scale']} bars from "
        f"{first} to {last}, {n_features} features (tier {data['tier']}{more_features}){context}."
    )


def _drift(summary: Mapping[str, Any]) -> str:
    """Say what the test part's own event rate would score, where it is more than the base rate."""
    drifted = ", ".join(
        f"{signed(cell['hindsight_skill']['test'])} at {cell['cell']}"
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
