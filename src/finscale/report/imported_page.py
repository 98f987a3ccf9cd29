"""Imported results on a page of their own, for results that belong to no run."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup

from finscale.imported.record import ImportedLine
from finscale.report.imported import imported_section
from finscale.report.theme import template


def render_imported(lines: Sequence[ImportedLine]) -> str | None:
    """Return the page as HTML; None if there are no results.

    Parameters
    ----------
    lines
        Of `finscale.imported.record.read_imported`.
    """
    section = imported_section(lines)
    if section is None:
        return None
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("imported.html.j2")).render(
        section=section,
        figure=None if section.figure is None else _drawn(section.figure),
        style=Markup(_resource("style.css")),  # noqa: S704, a file of this package
    )


def _drawn(figure: go.Figure) -> Markup:
    # Drawn once, so on a ground of its own: the page may be a dark one.
    ground = {"paper_bgcolor": "white", "plot_bgcolor": "white"}
    light = go.Figure(figure).update_layout(template=template(dark=False), **ground)
    options = {"responsive": True, "displayModeBar": False}
    html = light.to_html(full_html=False, include_plotlyjs=True, config=options)
    return Markup(html)  # noqa: S704, texts in it were escaped when the figure was made


def _resource(name: str) -> str:
    return resources.files("finscale.report").joinpath(name).read_text(encoding="utf-8")
