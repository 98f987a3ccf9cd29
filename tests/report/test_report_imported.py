from __future__ import annotations

import json
from typing import Any

import pytest

from finscale.imported.fit import fit_imported, results
from finscale.imported.record import ImportedBaseLoss, ImportedLine, ImportedRecord
from finscale.report.imported import headline, imported_section
from finscale.report.page import _figure_json, _script_json
from finscale.scaling.laws import PowerLaw

SIZES = {
    "2M": 1_600_000,
    "20M": 18_000_000,
    "200M": 151_000_000,
    "2B": 1_900_000_000,
    "5B": 5_000_000_000,
    "9B": 9_000_000_000,
}


def result(uid: str, budget: str = "2M", **changes: Any) -> ImportedRecord:
    values: dict[str, Any] = {
        "uid": uid,
        "source": "experiment_results.csv",
        "row": 1,
        "imported_at": "2026-02-01T00:00:00+00:00",
        "experiment": f"{budget}_h1_threshold_1pct",
        "budget": budget,
        "horizon_bars": 1,
        "task": "threshold_1pct",
        "status": "complete",
        "validation_loss": 0.3791,
        "d_model": 64,
        "n_layers": 32,
        "n_heads": 2,
        "d_ff": 256,
        "n_parameters_stated": 2_000_000,
        "n_parameters": SIZES[budget],
    }
    return ImportedRecord(**(values | changes))


BASE = ImportedBaseLoss(uid="b", imported_at="2026-02-01", cell="h1_threshold_1pct", log_loss=0.372)
BARE: dict[str, Any] = dict.fromkeys(
    ("d_model", "n_layers", "n_heads", "d_ff", "n_parameters", "n_parameters_stated")
)
LINES: list[ImportedLine] = [
    BASE,
    result("1", remarks=("labelled <b>2M</b>, but 1.6M when counted",)),
    result("2", validation_loss=0.37),
    result("3", "200M", validation_loss=0.3756, trial=4),
    result("4", "20M", validation_loss=0.372, **BARE, remarks=("no architecture",)),
    result("5", "20M", status="failed", validation_loss=None, reason="out of memory"),
    result("6", horizon_bars=3, remarks=("no architecture",), **BARE),
]


def test_without_imported_results_there_is_no_section() -> None:
    assert imported_section([]) is None
    assert imported_section([BASE]) is None


def test_the_headline_says_what_they_are_worth() -> None:
    section = imported_section(LINES)
    assert section is not None
    assert section.headline == (
        "Imported results: not comparable with this run's, 3 of 4 without skill. Skill is not "
        "known for h3_threshold_1pct: no base loss was given."
    )
    assert headline(fit_imported(LINES[:-1])) == (
        "Imported results: not comparable with this run's, 3 of 4 without skill."
    )
    assert headline(fit_imported(LINES[1:2])) == (
        "Imported results: not comparable with this run's. Skill is not known for "
        "h1_threshold_1pct: no base loss was given."
    )


def test_the_figure_shows_results_at_their_counts_beside_the_base_rate() -> None:
    section = imported_section(LINES)
    assert section is not None
    figure = section.figure
    # One panel: nothing of h3 has a size.
    assert [one.text for one in figure.layout.annotations] == [
        "<b>h1_threshold_1pct</b>, 3 counted"
    ]
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == ["base rate, as given", "imported result", "best of its budget"]
    assert set(traces["base rate, as given"].y) == {0.372}
    drawn = traces["imported result"]
    assert list(zip(drawn.x, drawn.y, strict=True)) == [
        (1_600_000, 0.3791),
        (1_600_000, 0.37),
        (151_000_000, 0.3756),
    ]
    best = traces["best of its budget"]
    assert list(zip(best.text, best.x, best.y, strict=True)) == [
        ("2M", 1_600_000, 0.37),
        ("200M", 151_000_000, 0.3756),
    ]
    low, high = figure.layout.yaxis.range
    assert low < min(drawn.y)
    assert high > max(drawn.y)
    # What others wrote into their files cannot become markup of ours.
    assert "labelled &lt;b&gt;2M&lt;/b&gt;" in drawn.hovertext[0]
    assert "trial 4" in drawn.hovertext[2]


def test_every_cell_has_a_scale_of_its_own() -> None:
    other = [result(f"h3{n}", horizon_bars=3, validation_loss=0.6 + n / 100) for n in range(3)]
    section = imported_section([*LINES, *other])
    assert section is not None
    first, second = section.figure.layout.yaxis, section.figure.layout.yaxis2
    assert first.range[1] < 0.5 < second.range[0]
    assert (second.matches, second.showticklabels) == (None, True)
    left, right = section.figure.layout.xaxis.domain, section.figure.layout.xaxis2.domain
    assert left[1] < right[0]


def test_no_figure_without_a_size() -> None:
    section = imported_section(LINES[-1:])
    assert section is not None
    assert section.figure is None
    assert section.laws.rows == (
        (
            "h3_threshold_1pct",
            "–",
            "no complete result has an architecture whose size can be counted",
            "–",
        ),
    )


def test_a_law_is_drawn_only_where_it_is_preferred_to_a_constant() -> None:
    planted = {"A": 0.9, "alpha": 0.05}
    falling: list[ImportedLine] = [
        result(label, label, validation_loss=float(PowerLaw.predict(planted, size)))
        for label, size in SIZES.items()
    ]
    flat: list[ImportedLine] = [
        result(label, label, validation_loss=0.37 + 0.001 * (-1) ** number)
        for number, label in enumerate(SIZES)
    ]
    names = {}
    for kind, lines in (("falling", falling), ("flat", flat)):
        section = imported_section(lines)
        assert section is not None
        names[kind] = {trace.name: trace for trace in section.figure.data}
    law = names["falling"]["law fitted to the best"]
    assert (law.x[0], law.x[-1]) == pytest.approx((1_600_000, 9_000_000_000))
    assert law.y[0] == pytest.approx(PowerLaw.predict(planted, 1_600_000), rel=1e-6)
    assert "law fitted to the best" not in names["flat"]


def test_the_tables_set_labels_against_counts() -> None:
    section = imported_section(LINES)
    assert section is not None
    assert section.budgets.header == (
        *("cell", "label", "d×L×heads×d_ff", "parameters, as given", "counted", "results"),
        *("best log-loss", "skill", "without skill", "remarks"),
    )
    cell = "h1_threshold_1pct"
    assert section.budgets.rows == (
        (cell, "2M", "64x32x2x256", "2,000,000", "1,600,000", "2", "0.3700", "+0.005", "1", ""),
        (
            *(cell, "200M", "64x32x2x256", "2,000,000", "151,000,000", "1"),
            *("0.3756", "−0.010", "1", ""),
        ),
        (cell, "20M", "–", "–", "–", "1", "0.3720", "+0.000", "1", "no architecture"),
        (
            *("h3_threshold_1pct", "2M", "–", "–", "–", "1", "0.3791", "–", "–"),
            "no architecture",
        ),
    )
    assert section.remarks.rows == (
        ("no architecture", "experiment_results.csv, row 1", "2"),
        (
            "labelled <b>2M</b>, but 1.6M when counted",
            "experiment_results.csv, row 1",
            "1",
        ),
    )


def test_the_best_20m_result_has_no_skill() -> None:
    # 0.372 is what the base rate scores: equal is not better.
    assert fit_imported(LINES)["h1_threshold_1pct"]["n_without_skill"] == 3
    assert [one.uid for one in results(LINES)["h1_threshold_1pct"]] == list("12345")


def test_the_figure_fits_into_the_page() -> None:
    section = imported_section(LINES)
    assert section is not None
    json.loads(str(_script_json(_figure_json(section.figure))))
    assert section.figure.layout.height > 0
