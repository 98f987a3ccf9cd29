from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import pytest

from finscale.models.architecture import Architecture
from finscale.records import TrialRecord
from finscale.report.page import render_report
from finscale.search.coverage import coverage
from finscale.units import true_minus

VOID = {"meta", "br", "hr", "img", "link", "input", "wbr"}


class Reader(HTMLParser):
    """Reads a page as a browser would: what is nested in what, and what text is to be seen."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.attributes, self.text = [], [], [], []
        self.scripts = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.attributes.append((tag, attrs))
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag not in VOID:
            self.open.append((tag, attrs))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        last, _ = self.open.pop()
        assert last == tag, f"</{tag}> closes <{last}>"

    def handle_data(self, data):
        tag, attrs = self.open[-1] if self.open else ("", {})
        if tag == "script":
            name = attrs.get("id", f"script{len(self.scripts)}")
            self.scripts[name] = self.scripts.get(name, "") + data
        elif tag != "style":
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def html(run):
    return render_report(run.report_input())


@pytest.fixture(scope="module")
def page(html):
    return Reader(html)


def without_plotly(html):
    """Cut out plotly's bundle, whose code is full of addresses."""
    start = html.index("<script>")
    return html[:start] + html[html.index('<script type="application/json" id="figures">') :]


def test_tags_are_balanced_and_ids_unique(page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_every_section_is_there_and_linked(page):
    sections = ["verdicts", "skill", "data", "open", "provenance"]
    sections += [f"h{h}_threshold_1pct" for h in (1, 3, 5)]

    assert set(sections) <= set(page.ids)
    links = [attrs["href"] for tag, attrs in page.attributes if tag == "a"]
    assert {link.removeprefix("#") for link in links} == set(sections)


def test_the_navigation_follows_the_page(html):
    nav = html[html.index("<nav") : html.index("</nav>")]
    assert re.findall(r'href="#([^"]+)"', nav) == re.findall(r'<section id="([^"]+)"', html)


def test_numbers_in_prose_and_tables_have_minus_signs(run):
    worst = run.summary
    for verdict in worst["verdicts"].values():
        verdict["headline"] += " It changes by -0.25 (-0.5 to -0.125)."
    text = Reader(render_report(run.report_input(summary=worst, study_yaml=""))).words
    assert text.count("by −0.25 (−0.5 to −0.125).") >= len(worst["verdicts"])
    assert true_minus(text) == text


def test_every_figure_has_a_title(page, html):
    titles = re.findall(r"<figure[^>]*><h3>([^<]+)</h3>", html)
    assert len(titles) == len(json.loads(page.scripts["figures"]))
    assert {"Loss against size", "Learning curves", "Closes and parts"} <= set(titles)
    # The signs of hover texts are ours: plotly writes them as hyphens.
    hovers = re.findall(r'"hovertemplate":"([^"]*)"', page.scripts["figures"])
    assert hovers
    assert not any(":+" in one for one in hovers)


def test_verdicts_come_before_any_figure(run, html):
    first_figure = html.index("<figure")
    for verdict in run.summary["verdicts"].values():
        headline = escape(true_minus(verdict["headline"]), quote=False)
        assert html.index(headline) < first_figure
    assert html.index("logistic volatility") < first_figure


def test_text_of_others_is_escaped(run, page, html):
    reason = run.failures["10M_h5_threshold_1pct"]
    assert "<b>fits</b>" in reason
    assert reason in page.words
    assert reason not in without_plotly(html)

    hostile = "</script><script>alert(1)</script>"
    summary = run.summary
    summary["verdicts"]["h1_threshold_1pct"]["headline"] = hostile
    records = [
        r.model_copy(update={"reason": hostile}) if isinstance(r, TrialRecord) else r
        for r in run.records
    ]
    attacked = render_report(run.report_input(summary=summary, study_yaml=hostile, records=records))
    assert "<script>alert" not in attacked
    assert Reader(attacked).open == []


def test_nothing_is_loaded_from_elsewhere(page, html):
    rest = without_plotly(html)
    assert "http://" not in rest
    assert "https://" not in rest
    assert "@import" not in rest
    assert "url(" not in rest
    assert not re.search(r"\bcdn\b", rest)
    assert not any("src" in attrs for _, attrs in page.attributes)
    assert not any(tag in ("link", "iframe", "img") for tag, _ in page.attributes)
    policy = next(a["content"] for _, a in page.attributes if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert html.count("plotly.js v") == 1
    assert len(html.encode()) < 8e6


def test_every_figure_has_a_place_and_a_caption(page):
    figures = json.loads(page.scripts["figures"])
    places = [a["id"] for tag, a in page.attributes if tag == "div" and a.get("class") == "plot"]

    assert list(figures) == places
    names = ("loss", "skill", "search", "curves", "reliability", "architectures")
    cells = [f"h{h}_threshold_1pct" for h in (1, 3, 5)]
    assert set(figures) == {f"{name}-{cell}" for name in names for cell in cells} | {"price"}
    assert sum(tag == "figcaption" for tag, _ in page.attributes) == len(figures)
    for figure in figures.values():
        axes = [a for name, a in figure["layout"].items() if re.match(r"[xy]axis", name)]
        assert any(axis.get("title") for axis in axes)


def test_tables_hold_the_numbers_of_the_summary(run, page):
    for cell in run.summary["cells"]:
        for budget in cell["budgets"].values():
            if budget["seed_average"] is not None:
                for part in ("validation", "test"):
                    shown = f"{budget['seed_average'][part]['log_loss']:.3f}"
                    assert shown in page.words
                assert f"{budget['n_parameters']:,}" in page.words


def test_cautions_are_said(page):
    text = page.words
    assert "Caution: 20K counts here, though collapsed on validation and test." in text
    assert "† collapsed" in text
    assert "except 2M_h1_threshold_1pct (2 times), where it is no longer untouched" in text
    assert "chosen on" in text
    assert "scored once" in text
    assert "Too few points for a verdict: 4 budgets" in text
    assert "1 failed, 1 with stale records" in text
    assert "code, grid changed" in text
    assert "16 of 18 experiments are complete" in text


def test_a_verdict_that_validation_flatters_is_told(run):
    summary = run.summary
    summary["verdicts"]["h3_threshold_1pct"]["on_validation"]["kind"] = "falls"

    text = Reader(render_report(run.report_input(summary=summary))).words

    assert "the verdict differs: falls with size." in text


def test_provenance_is_complete(run, page):
    text = page.words
    for fact in ("9f2c1e0a7b", "c0dec0dec0de", "ba25ba25ba25", "torch 2.13.0", "Python 3.11.9"):
        assert fact in text
    assert "Example CPU @ 2.40GHz, 2 cores, 7.8 GiB" in text
    assert "study seed 0; 3 seeds" in text
    assert "final0-10M-h1_threshold_1pct" in text
    assert " ".join(run.study.to_yaml().split()) in text
    assert all(r.identity.grid[:12] in text for r in run.records)


def test_an_empty_study_renders(empty_run):
    page = Reader(render_report(empty_run.report_input()))

    assert page.open == []
    assert "0 of 18 experiments are complete" in page.words
    assert page.words.count("No verdict: no budget has a final run yet.") == 6
    assert "No budget has been scored on the test part yet." in page.words
    assert "no experiment failed" in page.words
    assert json.loads(page.scripts["figures"]) == {}


def test_a_study_under_way_renders_what_there_is(run):
    trials = [r for r in run.records if isinstance(r, TrialRecord)][:5]
    begun = replace(run, records=trials, scaling={}, predictions={}, failures={}, stale={})

    page = Reader(render_report(begun.report_input()))

    assert set(json.loads(page.scripts["figures"])) == {
        "search-h1_threshold_1pct",
        "architectures-h1_threshold_1pct",
        "price",
    }
    assert "5 / 0 / 0" in page.words


def test_coverage_is_in_the_section_of_its_cell(empty_run):
    grid = [Architecture.parse(label) for label in ("8x1x1x16", "8x2x1x16", "16x1x2x32")]
    found = {"5K_h1_threshold_1pct": coverage(grid, [(grid[0], "forced")], grid[:2])}

    page = Reader(render_report(empty_run.report_input(coverage=found)))

    assert set(json.loads(page.scripts["figures"])) == {"coverage-h1_threshold_1pct"}
    assert page.words.count("Coverage of the grids") == 1
    assert "5K 1 of 3 1 of 2 1 0 0 d_model 16, n_layers 2, n_heads 2" in page.words
    assert page.open == []


def test_a_comparison_that_failed_says_why(run):
    scaling = run.scaling | {
        "h1_threshold_1pct": run.scaling["h1_threshold_1pct"]
        | {"error": "scored on different rows", "test": None, "validation": None}
    }
    broken = replace(run, scaling=scaling)

    page = Reader(render_report(broken.report_input()))

    assert "No verdict: scored on different rows." in page.words
    assert "loss-h1_threshold_1pct" not in page.ids
    assert "skill-h1_threshold_1pct" in page.ids
