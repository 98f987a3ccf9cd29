"""The tables of forecasts of a return, from their evidence."""

from __future__ import annotations

from typing import Any

from finscale.report.returns import describe_return_cell


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Any:
    return {"value": value, "low": low, "high": high}


def coverage(value: float, width: float | None, infinite_frac: float = 0.0) -> dict[str, Any]:
    return {
        "nominal": 0.9,
        "coverage": estimate(value, value - 0.02, value + 0.02),
        "width": estimate(width, width and width - 0.001, width and width + 0.001),
        "infinite_frac": infinite_frac,
    }


EVIDENCE: dict[str, Any] = {
    "confidence": 0.95,
    "mean_block": 12.5,
    "r2": estimate(-0.01, -0.02, 0.005),
    "scores": {
        "levels": [0.05, 0.25, 0.5, 0.75, 0.95],
        "pinball": [estimate(x / 1000) for x in (1, 2, 3, 4, 5)],
        "crps": estimate(0.004578, 0.004, 0.005),
        "crps_skill": estimate(0.0821, 0.05, 0.12),
        "intervals": [
            {"nominal": 0.9, "coverage": estimate(0.97), "width": estimate(0.04)},
            {"nominal": 0.5, "coverage": estimate(0.678, 0.62, 0.75), "width": estimate(0.01)},
        ],
    },
    "raw": coverage(0.944, 0.0281),
    "split": coverage(0.942, 0.0279),
    "adaptive": coverage(0.9, 0.0242, infinite_frac=0.0123),
}


def test_numbers_stand_with_their_intervals_in_percent() -> None:
    section = describe_return_cell({"returns": {"h1_return": {"20K": EVIDENCE}}}, "h1_return")
    assert section is not None
    assert section["scores"].rows == (
        (
            *("20K", "0.4578 (0.4000 to 0.5000)", "+0.082 (+0.050 to +0.120)"),
            *("0.1000", "0.3000", "0.5000", "−0.010 (−0.020 to +0.005)"),
        ),
    )
    assert section["coverage"].rows == (
        (
            *("20K", "67.8% (62.0% to 75.0%)"),
            *("94.4% (92.4% to 96.4%)", "2.81 (2.71 to 2.91)"),
            *("94.2% (92.2% to 96.2%)", "2.79 (2.69 to 2.89)"),
            *("90.0% (88.0% to 92.0%)", "2.42 (2.32 to 2.52), 1.2% infinite"),
        ),
    )
    assert section["coverage"].header[2] == "90% as forecast"
    assert len(section["coverage"].header) == len(section["coverage"].rows[0])
    assert len(section["scores"].header) == len(section["scores"].rows[0])


def test_what_is_undefined_is_a_dash() -> None:
    nothing = EVIDENCE | {"r2": None, "split": coverage(1.0, None, infinite_frac=1.0)}
    section = describe_return_cell({"returns": {"h1_return": {"20K": nothing}}}, "h1_return")
    assert section is not None
    assert section["scores"].rows[0][-1] == "–"
    assert section["coverage"].rows[0][5] == "–, 100.0% infinite"


def test_a_binary_cell_has_no_such_section() -> None:
    assert describe_return_cell({"returns": {}}, "h1_threshold_1pct") is None
    assert describe_return_cell({}, "h1_threshold_1pct") is None
