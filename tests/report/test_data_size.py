from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from finscale.records import BaselineRecord, EnsembleRecord, FinalRecord
from finscale.report.data_size import compare_data_sizes
from finscale.report.data_size_words import data_size_words
from finscale.report.page import render_report
from finscale.study_rows import DataSize

H1, HALF = "h1_threshold_1pct", "h1_threshold_1pct_history0.5"
BUDGETS = ("5K", "2M")


def moved(record, *, by):
    """Return the record as of half of the history, with its losses higher by so much."""
    scores = record.scores
    scores = scores.model_copy(
        update={"test": scores.test | {"log_loss": scores.test["log_loss"] + by}}
    )
    changes = {
        "uid": f"{record.uid}-half",
        "data_size": DataSize(history_frac=0.5),
        "experiment": f"{record.experiment}_history0.5",
        "scores": scores,
    }
    if isinstance(record, EnsembleRecord):
        changes["members"] = tuple(f"{uid}-half" for uid in record.members)
    return record.model_copy(update=changes)


@pytest.fixture
def two_sizes(run):
    """Two horizons, the first of them at two data sizes; with half the data 5K does not train."""
    kinds = (BaselineRecord, FinalRecord, EnsembleRecord)
    records = [
        r
        for r in run.records
        if isinstance(r, kinds) and r.budget in (None, *BUDGETS) and r.horizon_bars in (1, 3)
    ]
    records += [
        moved(r, by=0.01 if r.budget is None else 0.05)
        for r in records
        if r.horizon_bars == 1 and r.budget != "5K"
    ]
    parts = run.data["cells"][H1]["parts"]
    half = run.data["cells"][H1] | {
        "parts": parts | {"train": parts["train"] | {"n": 1508}},
        "data_size": {"history_frac": 0.5, "n_symbols": None},
    }
    study = run.study.model_copy(
        update={
            "horizons": (1,),
            "ladder": run.study.ladder.model_copy(update={"budgets": BUDGETS}),
            "data_sizes": run.study.data_sizes.model_copy(update={"history_frac": (1.0, 0.5)}),
        }
    )
    data = run.data | {"cells": run.data["cells"] | {HALF: half}}
    return replace(run, study=study, records=records, data=data, failures={}, stale={})


def test_a_column_for_each_size_and_the_smallest_first(run, two_sizes):
    [found] = compare_data_sizes(two_sizes.summary)

    assert found.name == H1
    assert found.table.header == (
        "model",
        "history0.5, 1,508 rows",
        "all data, 3,016 rows",
        "largest − smallest",
        "widest range of seeds",
    )
    finals = [
        r.scores.test["log_loss"]
        for r in run.records
        if isinstance(r, FinalRecord) and r.experiment == f"2M_{H1}" and "-old" not in r.uid
    ]
    mean, spread = sum(finals) / 3, max(finals) - min(finals)
    rows = {row[0]: row[1:] for row in found.table.rows}
    assert rows["2M transformer"] == (
        f"{mean + 0.05:.4f}",
        f"{mean:.4f}",
        "−0.0500",
        f"{spread:.4f}",
    )
    assert rows["logistic all"][2:] == ("−0.0100", "–")
    assert rows["5K transformer"][0] == rows["5K transformer"][2] == "–"
    assert float(rows["5K transformer"][1]) > mean
    assert list(rows)[:2] == ["base rate", "logistic volatility"]


def test_the_figure_has_a_line_for_each_model(two_sizes):
    [found] = compare_data_sizes(two_sizes.summary)

    lines = {trace.name: trace for trace in found.figure.data}
    assert list(lines["2M transformer"].x) == [1508, 3016]
    high, low = lines["2M transformer"].y
    assert high - low == pytest.approx(0.05)
    assert list(lines["5K transformer"].x) == [3016]
    assert lines["logistic all"].line.width < lines["2M transformer"].line.width
    bars = lines["2M transformer"].error_y
    assert [up + down for up, down in zip(bars.array, bars.arrayminus, strict=True)] == [
        pytest.approx(float(found.table.rows[-1][-1]), abs=1e-4)
    ] * 2
    assert found.figure.layout.xaxis.type == "log"


def test_collapse_on_test_is_marked(two_sizes):
    summary = two_sizes.summary
    cell = next(cell for cell in summary["cells"] if cell["cell"] == HALF)
    cell["budgets"]["2M"]["collapsed_on"] = ["test"]

    [found] = compare_data_sizes(summary)

    row = next(row for row in found.table.rows if row[0] == "2M transformer")
    assert row[1].endswith("†")
    assert not row[2].endswith("†")
    assert not any("†" in text for text in found.table.rows[0])


def test_the_page_shows_it_and_what_the_baselines_chose(two_sizes):
    records = [
        r.model_copy(update={"chosen": {"C": 0.0031622776601683794}})
        if isinstance(r, BaselineRecord) and r.model == "logistic_all"
        else r
        for r in two_sizes.records
    ]
    html = render_report(replace(two_sizes, records=records).report_input())

    assert '<section id="data-sizes">' in html
    assert '<a href="#data-sizes">' in html
    assert f'id="size-{H1}"' in html
    assert "history0.5, 1,508 rows" in html
    assert "logistic all C = 0.00316." in html


def test_one_size_is_not_compared(run):
    assert compare_data_sizes(run.summary) == []
    html = render_report(run.report_input())
    assert "data-sizes" not in html
    assert "Chosen by each baseline" not in html


def test_before_there_are_data_a_table_is_all_there_is(two_sizes):
    begun = replace(two_sizes, records=[], data={}, scaling={}, predictions={})

    [found] = compare_data_sizes(begun.summary)

    assert found.figure is None
    assert found.table.header[1:3] == ("history0.5", "all data")
    assert [row[1:] for row in found.table.rows] == [("–", "–", "–", "–")] * 2
    assert "data-sizes" in render_report(begun.report_input())
    json.dumps(begun.summary)


def test_sections_say_which_data_size_they_are_of(two_sizes):
    html = render_report(two_sizes.report_input())
    headings = dict(re.findall(r'<h2>(.*?) <span class="size">(.*?)</span></h2>', html))
    assert headings == {
        "h1_<wbr>threshold_<wbr>1pct": "trained on the whole training history",
        "h1_<wbr>threshold_<wbr>1pct_<wbr>history0.5": "trained on the most recent half of the "
        "training history",
    }


def sized(history_frac, n_symbols=None):
    return {"data_size": {"history_frac": history_frac, "n_symbols": n_symbols}}


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([(1, None)], [""]),
        ([(1, 1), (1, 3)], ["the first symbol", "the first 3 symbols"]),
        ([(1, 2), (1, None)], ["the first 2 symbols", "all symbols"]),
    ],
)
def test_a_data_size_in_words(sizes, words):
    cells = [sized(*size) for size in sizes]
    whole = "trained on the whole training history of "
    expected = [whole + one if one else "" for one in words]
    assert [data_size_words(cell, cells) for cell in cells] == expected


def test_a_share_without_a_word_is_a_percentage():
    cells = [sized(0.3, 2), sized(0.25, 2)]
    assert [data_size_words(cell, cells) for cell in cells] == [
        "trained on the most recent 30% of the training history of the first 2 symbols",
        "trained on the most recent quarter of the training history of the first 2 symbols",
    ]
