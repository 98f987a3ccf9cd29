"""The page's sections of what is no part of the run: supplementary runs and imported results."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from test_page import Reader
from test_report_supplementary import FIELDS

from finscale.imported.record import ImportedRecord
from finscale.records import SupplementaryRecord
from finscale.report.page import render_report

IMPORTED = ImportedRecord(
    uid="1",
    source="experiment_results.csv",
    row=1,
    imported_at="2026-02-01",
    experiment="2M_h1_<threshold>_1pct",
    budget="2M",
    horizon_bars=1,
    task="threshold_1pct",
    status="complete",
    validation_loss=0.3756,
    d_model=64,
    n_layers=32,
    n_heads=2,
    d_ff=256,
    n_parameters=1_616_449,
)


@pytest.fixture(scope="module")
def html(run):
    report = run.report_input()
    records = [*report.records, SupplementaryRecord(**FIELDS)]
    return render_report(replace(report, records=records, imported=[IMPORTED]))


@pytest.fixture(scope="module")
def page(html):
    return Reader(html)


def test_both_have_a_section_and_a_link_to_it(page):
    links = {attrs["href"] for tag, attrs in page.attributes if tag == "a"}
    assert {"#supplementary", "#imported"} <= links
    assert {"supplementary", "imported"} <= set(page.ids)
    # A figure drawn into an element of the same name would land in the wrong place.
    assert len(page.ids) == len(set(page.ids))


def test_imported_results_have_a_figure_of_their_own(page, html):
    figures = json.loads(page.scripts["figures"])
    assert set(figures) <= set(page.ids)
    own = figures.pop("imported-losses")
    assert any(one["name"] == "imported result" for one in own["data"])
    # They are nowhere among the run's own losses.
    assert "0.3756" not in json.dumps(figures)
    assert "not comparable with this run's" in page.words


def test_nothing_of_either_is_in_the_run_s_own_sections(run, page, html):
    plain = Reader(render_report(run.report_input()))
    assert "supplementary" not in plain.ids
    assert "imported" not in plain.ids
    section = re.compile(r'<section id="(verdicts|skill|h\d_threshold_1pct)">.*?</section>', re.S)
    assert [one.group() for one in section.finditer(html)] == [
        one.group() for one in section.finditer(render_report(run.report_input()))
    ]
