from __future__ import annotations

from finscale.report.effort import (
    axes_table,
    effort_note,
    effort_table,
    measures_table,
    tuning_figure,
)
from finscale.scaling.averages import COLUMNS, measure_lines
from finscale.scaling.tuning import tuning_curve


def described(**changes):
    curve = tuning_curve([0.40, 0.42, 0.41, 0.45, 0.39, 0.43, 0.44, 0.395])
    one = {
        "n_trials": 12, "n_independent": 8, "flops": 3.2e12, "tuned": "fully_tuned",
        "curve": curve.as_dict(), "best_loss": 0.385, "best_skill": 0.1,
        "best_at_equal_effort": 0.387, "retrained_loss": 0.391, "test_loss": 0.37,
        "optimism": 0.006,
    }  # fmt: skip
    return {
        "seed_sigma": 0.0021, "equal_effort": 10, "is_equal": False,
        "budgets": {"20K": one, "40K": one | changes},
    }  # fmt: skip


def test_effort_tuning_and_optimism_stand_in_one_row():
    (row, _) = effort_table(described()).rows
    assert row[:5] == ("20K", "fully tuned", "12", "8", "3.2T")
    assert row[6:] == ("0.3850", "0.3870", "0.3910", "0.0060", "0.3700")
    assert effort_table(described()).header[7] == "best of first 10"
    assert "0.0021 nats" in effort_note(described())


def test_what_is_not_known_is_a_dash():
    nothing = {"curve": None, "flops": None, "tuned": "unknown", "retrained_loss": None,
               "optimism": None, "test_loss": None, "n_independent": 0}  # fmt: skip
    (_, row) = effort_table(described(**nothing)).rows
    assert row[1:6] == ("unknown", "12", "0", "–", "–")
    assert row[8:] == ("–", "–", "–")
    assert "no frontier is judged" in effort_note(described() | {"seed_sigma": None})


def test_a_panel_shows_each_curve_within_its_band():
    figure = tuning_figure(described(curve=None))
    assert figure is not None
    assert figure.layout.annotations[0].text == "<b>20K</b>, fully tuned"
    names = {trace.name for trace in figure.data}
    assert names == {"95% band", "expected best", "median best"}
    low, high = figure.layout.yaxis.range
    assert all(low - 1e-9 <= y <= high + 1e-9 for trace in figure.data for y in trace.y)
    nothing = described(curve=None)
    nothing["budgets"].pop("20K")
    assert tuning_figure(nothing) is None


def test_other_axes_stand_with_their_intervals():
    law = {"axis": "training rows", "of": "20K_h1_direction", "part": "test", "kind": "falls",
           "n_points": 6, "span_ratio": 32.0, "delta_aicc": 4.21, "law": "power_law",
           "alpha": 0.4, "alpha_low": 0.31, "alpha_high": 0.5,
           "loss_difference": [-0.02, -0.03, -0.01]}  # fmt: skip
    few = law | {"kind": "too_few_points", "delta_aicc": None, "alpha": None,
                 "loss_difference": None}  # fmt: skip
    first, second = axes_table([law, few]).rows
    assert first[2:6] == ("falls", "6", "×32", "4.2")
    assert first[6] == "0.4000 (0.3100 to 0.5000)"
    assert first[7] == "−0.0200 (−0.0300 to −0.0100)"
    assert second[2:] == ("too few points", "6", "×32", "–", "–", "–")


def test_measures_of_either_sign_have_their_change():
    rows = [
        {"cell": "h1", "params": 10.0**k, "flops": 10.0 ** (2 * k), "test_skill": -0.1 * k}
        | {"sharpe_threshold": None if k == 3 else 1.0}
        for k in range(1, 7)
    ]
    rows = [dict.fromkeys(COLUMNS) | row for row in rows]
    found = measure_lines(rows, confidence=0.9)
    # What is not there for every budget is left out.
    assert [one["column"] for one in found] == ["test_skill"] * 2
    first, second = measures_table(found).rows
    assert first[:6] == ("h1", "skill", "parameters", "falls", "6", "×1e+05")
    assert first[7] == "−0.5000 (−0.5000 to −0.5000)"
    assert second[2:6] == ("training FLOPs", "falls", "6", "×1e+10")
