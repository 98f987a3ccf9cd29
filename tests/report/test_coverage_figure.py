from __future__ import annotations

from finscale.models.architecture import Architecture
from finscale.report.coverage_figure import coverage_figure
from finscale.report.coverage_table import coverage_table
from finscale.search.coverage import Coverage, Origin, coverage


def found(grid: str, *tried: str) -> Coverage:
    origin: Origin = "search"
    return coverage(
        map(Architecture.parse, grid.split()),
        [(Architecture.parse(label), origin) for label in tried],
    )


FOUND = {
    "5K": found("8x1x1x16 8x1x2x16 8x2x1x16 16x1x1x32", "8x1x1x16", "8x1x1x16"),
    "10K": found("8x2x1x32 16x2x1x32", "8x2x1x32"),
}


def test_tried_and_untried_shapes_are_told_apart() -> None:
    figure = coverage_figure(FOUND)
    never, tried = figure.data
    assert (never.name, tried.name) == ("never tried", "tried")
    assert list(zip(never.x, never.y, strict=True)) == [("16", "1"), ("16", "2")]
    assert list(zip(tried.x, tried.y, strict=True)) == [("8", "1"), ("8", "2")]
    # One of two at 8 x 1; of 8 x 2, which is in both budgets, one of two as well.
    assert list(tried.marker.color) == [0.5, 0.5]
    assert never.marker.symbol != tried.marker.symbol


def test_what_a_marker_says() -> None:
    _, tried = coverage_figure(FOUND).data
    assert list(tried.hovertext) == [
        "width 8, 1 layer<br>5K: 1 of 2 architectures, 2 runs",
        "width 8, 2 layers<br>5K: 0 of 1 architectures, 0 runs<br>10K: 1 of 1 architectures, 1 run",
    ]


def test_the_axes_hold_the_grids_own_values_in_order() -> None:
    figure = coverage_figure({"a": found("128x1x1x256 8x16x1x16 16x4x1x32")})
    assert list(figure.layout.xaxis.categoryarray) == ["8", "16", "128"]
    assert list(figure.layout.yaxis.categoryarray) == ["1", "4", "16"]
    assert figure.layout.xaxis.title.text == "width, d_model"


def test_a_search_that_tried_nothing_or_everything() -> None:
    never, tried = coverage_figure({"a": found("8x1x1x16")}).data
    assert (len(never.x), len(tried.x)) == (1, 0)
    never, tried = coverage_figure({"a": found("8x1x1x16", "8x1x1x16")}).data
    assert (len(never.x), list(tried.marker.color)) == (0, [1.0])


def test_the_table_has_a_row_per_budget() -> None:
    grid = [Architecture.parse(one) for one in ("8x1x1x16", "8x2x1x16", "16x1x2x32")]
    found = coverage(grid, [(grid[0], "forced"), (grid[0], "search")], grid[:2])
    table = coverage_table({"2K": found, "9K": coverage(grid[:1], [(grid[0], "supplementary")])})
    assert table.rows == (
        ("2K", "1 of 3", "1 of 2", "1", "1", "0", "d_model 16, n_layers 2, n_heads 2"),
        ("9K", "1 of 1", "0 of 0", "0", "0", "1", "–"),
    )
    assert len(table.header) == len(table.rows[0])
