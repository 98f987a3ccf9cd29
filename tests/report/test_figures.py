from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from finscale.evaluation.calibration import reliability_curve
from finscale.records import FinalRecord, TrialRecord
from finscale.report.band import law_band
from finscale.report.figures import (
    architectures,
    learning_curves,
    loss_against_parameters,
    price_with_splits,
    reliability_diagram,
    search_history,
    skill_dots,
    wilson_interval,
)
from finscale.report.search_figures import best_so_far, describe_trial, loss_range
from finscale.report.theme import display, panel, round_ticks
from finscale.scaling.ledger import finals_by_budget
from finscale.study import BaselineName

H1, H3, H5 = (f"h{h}_threshold_1pct" for h in (1, 3, 5))
BUDGETS = ("5K", "20K", "100K", "500K", "2M", "10M")


def cell_of(run, name):
    return next(cell for cell in run.summary["cells"] if cell["cell"] == name)


def traces(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def trials_of(run, cell):
    found = {}
    for record in run.records:
        if isinstance(record, TrialRecord) and record.experiment.endswith(cell):
            found.setdefault(record.budget, []).append(record)
    return found


def current_finals(run, cell):
    return {
        budget: [
            r
            for r in run.records
            if isinstance(r, FinalRecord)
            and r.experiment == f"{budget}_{cell}"
            and "-old" not in r.uid
        ]
        for budget in BUDGETS
    }


def test_loss_figure_shows_the_records(run):
    figure = loss_against_parameters(cell_of(run, H1), run.scaling[H1])
    finals = current_finals(run, H1)

    for part, seeds, means in zip(
        ("validation", "test"),
        traces(figure, "one seed"),
        traces(figure, "mean over seeds"),
        strict=True,
    ):
        losses = {
            b: [getattr(r.scores, part)["log_loss"] for r in runs] for b, runs in finals.items()
        }
        assert list(seeds.x) == [r.n_parameters for runs in finals.values() for r in runs]
        assert list(seeds.y) == [loss for of_seeds in losses.values() for loss in of_seeds]
        assert list(means.y) == pytest.approx([np.mean(of_seeds) for of_seeds in losses.values()])
        assert list(means.text) == list(BUDGETS)
    baselines = cell_of(run, H1)["baselines"]
    bases = traces(figure, "base rate of training")
    assert bases[0].y[0] == baselines["base_rate"]["validation"]["log_loss"]
    assert bases[1].y[1] == baselines["base_rate"]["test"]["log_loss"]
    best = cell_of(run, H1)["best_baseline"]
    rivals = traces(figure, f"best baseline: {best.replace('_', ' ')}")
    assert [t.y[0] for t in rivals] == [
        baselines[best][part]["log_loss"] for part in ("validation", "test")
    ]


@pytest.mark.parametrize(("cell", "n_laws"), [(H1, 2), (H3, 0), (H5, 0)])
def test_a_law_is_drawn_only_where_the_verdict_has_one(run, cell, n_laws):
    figure = loss_against_parameters(cell_of(run, cell), run.scaling[cell])

    assert len(traces(figure, "fitted law")) == n_laws
    assert len(traces(figure, "95% interval of the law")) == n_laws


def test_baselines_are_named_in_words():
    names = [display(name) for name in get_args(BaselineName)]
    assert len(set(names)) == len(names)
    assert not any("_" in name for name in names)
    assert display("har_range") == "HAR of the range"
    assert display("logistic_all") == "logistic all"
    assert display(None) == ""


def test_a_figure_without_baselines(run):
    cell = cell_of(run, H1) | {"baselines": {}, "best_baseline": None}

    figure = loss_against_parameters(cell, run.scaling[H1])

    assert {trace.name for trace in figure.data} == {
        "one seed",
        "mean over seeds",
        "fitted law",
        "95% interval of the law",
    }


@pytest.mark.parametrize("part", ["validation", "test"])
def test_the_band_ends_at_the_intervals_of_the_verdict(run, part):
    verdict = run.scaling[H1][part]
    band = law_band(run.scaling[H1]["points"], verdict, part)
    law = min(
        ("power_law", "power_law_with_floor"),
        key=lambda name: verdict["comparison"]["delta_aicc"][name],
    )
    interval = next(i for i in verdict["intervals"] if i["law"] == law)

    for end, name in ((0, "loss_smallest"), (-1, "loss_largest")):
        assert band.loss[end] == pytest.approx(interval[name]["estimate"], rel=1e-9)
        assert band.low[end] == pytest.approx(interval[name]["low"], rel=1e-9)
        assert band.high[end] == pytest.approx(interval[name]["high"], rel=1e-9)
    assert band.n_parameters[0] == pytest.approx(5_281)
    assert band.n_parameters[-1] == pytest.approx(9_871_105)
    assert all(low < high for low, high in zip(band.low, band.high, strict=True))


def test_skill_figure_shows_the_summary(run):
    cell = cell_of(run, H3)
    figure = skill_dots(cell)

    for part, baselines, means, averages, seeds in zip(
        ("validation", "test"),
        *(
            traces(figure, name)
            for name in (
                "baseline",
                "mean over seeds",
                "average of the seeds' probabilities",
                "one seed",
            )
        ),
        strict=True,
    ):
        assert dict(zip(baselines.y, baselines.x, strict=True)) == {
            name.replace("_", " "): scores[part]["skill"]
            for name, scores in cell["baselines"].items()
            if name != "base_rate"
        }
        budgets = cell["budgets"].values()
        assert list(means.x) == [b["seed_mean"][part]["skill"] for b in budgets]
        assert list(averages.x) == [b["seed_average"][part]["skill"] for b in budgets]
        assert list(seeds.x) == [s[part]["skill"] for b in budgets for s in b["seeds"]]
        assert means.y[1] == "20K transformer (collapsed)"
        assert means.y[0] == "5K transformer"


def test_search_history_shows_every_trial_once(run):
    trials = trials_of(run, H1)
    figure = search_history(trials, base_loss=0.55)

    shown = {"complete": [], "pruned": [], "failed": [], "above the scale": []}
    for name, found in shown.items():
        for trace in traces(figure, name):
            found += list(zip(trace.x, trace.y, strict=True))
    everything = [t for runs in trials.values() for t in runs]
    assert sum(map(len, shown.values())) == len(everything) == 6 * 14
    for state in ("complete", "pruned"):
        expected = [
            (t.trial, t.validation_loss)
            for t in everything
            if t.state == state and t.validation_loss < 0.7
        ]
        assert sorted(shown[state]) == sorted(expected)
    # Two failed trials and one that went to 0.9: at the upper edge, not at a loss they never had.
    assert [x for x, _ in shown["failed"]] == [4, 4]
    assert [x for x, _ in shown["above the scale"]] == [2]
    assert len({y for _, y in shown["failed"] + shown["above the scale"]}) == 1
    assert shown["failed"][0][1] > 0.55
    forced = traces(figure, "forced extreme of the grid")
    assert [list(t.x) for t in forced] == [[0, 1]] * 6


def test_hover_tells_architecture_recipe_and_reason(run):
    trial = trials_of(run, H1)["2M"][1]
    text = describe_trial(trial.model_copy(update={"reason": "loss < 0 <script>"}))

    assert trial.architecture in text
    assert f"{trial.n_parameters:,} parameters" in text
    assert "learning_rate 0.000317" in text
    assert "forced: largest n_layers, deepest and narrowest" in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_best_so_far_counts_completed_trials_only(run):
    trial = trials_of(run, H1)["2M"][0]

    def made(number, state, loss):
        return trial.model_copy(update={"trial": number, "state": state, "validation_loss": loss})

    trials = [
        made(0, "failed", None),
        made(1, "complete", 0.5),
        made(2, "pruned", 0.1),
        made(3, "complete", 0.6),
        made(4, "complete", 0.4),
    ]
    assert best_so_far(trials) == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.4)]
    assert best_so_far(trials[:1]) == []


def test_every_series_is_in_the_legend_once(run):
    for figure in (
        search_history(trials_of(run, H1), base_loss=0.55),
        learning_curves(current_finals(run, H1), base_loss=0.55),
        skill_dots(cell_of(run, H1)),
    ):
        listed = [trace.name for trace in figure.data if trace.showlegend]
        drawn = {trace.name for trace in figure.data if len(trace.x) > 0}
        assert sorted(listed) == sorted(drawn)


def test_loss_range_cuts_off_divergence():
    # Quartiles 0.52 and 0.56: the fence is at 0.56 + 1.5 * 0.04.
    low, ceiling = loss_range([0.50, 0.52, 0.54, 0.56, 9.0])

    assert low == 0.50
    assert ceiling == pytest.approx(0.62)
    assert loss_range([0.50, 0.52, 0.54]) == pytest.approx((0.50, 0.54))
    assert loss_range([0.5]) == (0.5, 0.5)
    assert loss_range([]) == (0.0, 1.0)


@pytest.mark.parametrize(("base_loss", "n_lines"), [(0.53, 6), (0.95, 0), (None, 0)])
def test_a_base_rate_far_from_all_trials_does_not_squeeze_them(run, base_loss, n_lines):
    figure = search_history(trials_of(run, H1), base_loss=base_loss)

    assert len(traces(figure, "base rate of training")) == n_lines
    assert figure.layout.yaxis.range[1] < 0.7


def test_every_learning_curve_is_within_the_axes(run):
    finals = current_finals(run, H1)
    figure = learning_curves(finals, base_loss=0.4)

    low, high = figure.layout.yaxis.range
    for name in ("train", "validation"):
        values = [y for trace in traces(figure, name) for y in trace.y]
        assert low < min(values)
        assert max(values) < high


def test_panels_fill_their_rows():
    assert [panel(n, 2) for n in range(2)] == [{"row": 1, "col": 1}, {"row": 1, "col": 2}]
    assert panel(3, 4) == {"row": 2, "col": 2}
    assert panel(4, 6) == {"row": 2, "col": 2}
    assert panel(0, 1) == {"row": 1, "col": 1}


def test_learning_curves_show_the_final_runs(run):
    finals = finals_by_budget([r for r in run.records if r.experiment.endswith(H1)])
    figure = learning_curves(finals, base_loss=0.55)

    runs = [r for of_budget in finals.values() for r in of_budget]
    assert len(runs) == 18
    for name, field in (("train", "train_loss"), ("validation", "validation_loss")):
        drawn = [list(trace.y) for trace in traces(figure, name)]
        assert drawn == [[getattr(p, field) for p in r.curve] for r in runs]
    best = traces(figure, "epoch whose weights were kept")
    assert [(t.x[0], t.y[0]) for t in best] == [
        (14, pytest.approx(r.scores.validation["log_loss"])) for r in runs
    ]


def test_reliability_uses_test_and_the_seed_average_only(run):
    frame = run.predictions[H1]
    figure = reliability_diagram(frame, budget="10M", baseline="random_forest")

    rows = frame.filter(
        pl.col("part") == "test", pl.col("model") == "10M", pl.col("seed").is_null()
    )
    assert rows.height == 990
    bins = reliability_curve(rows["probability"].to_numpy(), rows["label"].to_numpy(), 10)
    trace = figure.data[0]
    assert trace.name == "10M transformer, average of seeds"
    assert list(trace.x) == [b.mean_predicted for b in bins]
    assert list(trace.y) == [b.observed_frequency for b in bins]
    assert sum(trace.customdata) == 990
    assert figure.data[1].name == "random forest"
    absent = reliability_diagram(frame, budget="7B", baseline=None)
    assert [t.name for t in absent.data] == ["perfect calibration"]


@pytest.mark.parametrize(("events", "count"), [(0, 20), (7, 99), (50, 50)])
def test_wilson_interval(events, count):
    expected = stats.binomtest(events, count).proportion_ci(0.95, method="wilson")

    assert wilson_interval(events / count, count) == pytest.approx(
        (expected.low, expected.high), abs=1e-7
    )


def test_architectures_show_every_trial_with_a_loss(run):
    trials = trials_of(run, H1)
    figure = architectures(trials)

    scored = [t for runs in trials.values() for t in runs if t.validation_loss is not None]
    points, best = figure.data
    assert len(scored) == 82
    assert sorted(zip(points.x, points.y, points.marker.color, strict=True)) == sorted(
        (t.d_model, t.n_layers, t.validation_loss) for t in scored
    )
    # Descending, so that the best of those on one spot is on top.
    assert list(points.marker.color) == sorted(points.marker.color, reverse=True)
    assert list(best.text) == list(BUDGETS)
    assert list(best.x) == [8, 16, 32, 64, 128, 256]


def test_searches_without_a_finished_trial_are_drawn(run):
    failed = trials_of(run, H1)["2M"][4]
    assert failed.state == "failed"

    history = search_history({"2M": [failed]}, base_loss=None)
    scatter = architectures({"2M": [failed]})

    assert [list(t.x) for t in traces(history, "failed")] == [[4]]
    assert len(scatter.data[0].x) == 0


def test_price_shows_closes_and_parts(run):
    parts = cell_of(run, H1)["parts"]
    figure = price_with_splits(run.data, parts)

    assert list(figure.data[0].y) == run.data["closes"]["SP500"]["close"]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [
        (parts[name]["first_date"], parts[name]["last_date"])
        for name in ("train", "validation", "test")
    ]
    assert len(price_with_splits(run.data, {}).layout.shapes) == 0


def test_several_symbols_are_drawn_as_multiples_of_their_first_close() -> None:
    date = ["2001-01-02", "2001-01-03"]
    closes = {
        "A": {"date": date, "close": [10.0, 20.0]},
        "B": {"date": date, "close": [400.0, 500.0]},
    }
    figure = price_with_splits({"closes": closes}, {})
    assert {line.name: list(line.y) for line in figure.data} == {"A": [1, 2], "B": [1, 1.25]}
    assert figure.layout.yaxis.title.text == "close / first close, log scale"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (90, 1500, [100, 200, 500, 1000]),
        (3500, 1.5e7, [1e4, 1e5, 1e6, 1e7]),
        (700, 2500, [700, 1000, 1500, 2000]),
        (101, 139, [110, 120, 130]),
        (0.94, 0.99, [0.94, 0.96, 0.98]),
        (0.5, 0.99, [0.5, 0.6, 0.7, 0.8, 0.9]),
        (1.001, 1.009, [1.002, 1.004, 1.006, 1.008]),
        (5, 5, [5]),
    ],
)
def test_round_ticks(low, high, expected):
    assert round_ticks(low, high) == pytest.approx(expected)


@given(
    low=st.floats(min_value=1e-3, max_value=1e9),
    ratio=st.floats(min_value=1.001, max_value=1e12),
)
def test_ticks_are_few_and_within_the_axis(low, ratio):
    ticks = round_ticks(low, low * ratio)
    assert 3 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert low * (1 - 1e-9) <= ticks[0]
    assert ticks[-1] <= low * ratio * (1 + 1e-9)


def test_skill_axis_has_zero_and_every_symbol_in_sight(run):
    figure = skill_dots(cell_of(run, H3))
    low, high = figure.layout.xaxis.range

    values = [value for trace in figure.data for value in trace.x]
    assert low < min(0.0, *values)
    assert high > max(values)
    assert figure.layout.xaxis2.range == (low, high)
