from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from finscale.models.architecture import Architecture
from finscale.records import Identity, SupplementaryRecord, TrialRecord
from finscale.search.coverage import (
    Cells,
    Origin,
    coverage,
    describe,
    short_line,
    tried_in,
)


def arch(label: str) -> Architecture:
    return Architecture.parse(label)


GRID = [arch(label) for label in ("8x1x1x16", "8x1x2x16", "8x2x1x32", "16x1x1x32", "16x4x1x32")]
TRIED: list[tuple[Architecture, Origin]] = [
    (arch("8x1x1x16"), "forced"),
    (arch("8x1x1x16"), "search"),
    (arch("16x1x1x32"), "search"),
    (arch("32x1x1x64"), "supplementary"),
]


def test_coverage_by_hand() -> None:
    found = coverage(GRID, TRIED)
    assert found.total == Cells(n=5, n_tried=2, n_trials=3)
    assert found.n_trials_by_origin == {"forced": 1, "search": 2, "supplementary": 1}
    assert found.outside == (arch("32x1x1x64"),)
    assert found.never == (arch("8x1x2x16"), arch("8x2x1x32"), arch("16x4x1x32"))
    assert found.by_dimension == {
        "d_model": {8: Cells(3, 1, 2), 16: Cells(2, 1, 1)},
        "n_layers": {1: Cells(3, 2, 3), 2: Cells(1, 0, 0), 4: Cells(1, 0, 0)},
        "n_heads": {1: Cells(4, 2, 3), 2: Cells(1, 0, 0)},
        "ff_ratio": {2.0: Cells(4, 2, 3), 4.0: Cells(1, 0, 0)},
    }
    assert found.by_shape == {
        (1, 8): Cells(2, 1, 2),
        (1, 16): Cells(1, 1, 1),
        (2, 8): Cells(1, 0, 0),
        (4, 16): Cells(1, 0, 0),
    }


def test_the_line() -> None:
    assert describe(coverage(GRID, TRIED)) == (
        "2 of 5 architectures tried in 3 runs (1 forced, 2 search, 1 supplementary); "
        "never: n_layers 2, n_layers 4, n_heads 2, ff_ratio 4"
    )
    assert describe(coverage(GRID[:1], TRIED[:1])) == (
        "1 of 1 architectures tried in 1 run (1 forced)"
    )
    assert describe(coverage(GRID[:1], [])) == (
        "0 of 1 architectures tried in 0 runs; never: d_model 8, n_layers 1, n_heads 1, ff_ratio 2"
    )


def test_it_is_json_ready() -> None:
    content = coverage(GRID, TRIED).as_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["never"] == ["8x1x2x16", "8x2x1x32", "16x4x1x32"]
    assert content["by_dimension"]["ff_ratio"]["4"] == {"n": 1, "n_tried": 0, "n_trials": 0}
    assert content["by_shape"][0] == {
        "n_layers": 1,
        "d_model": 8,
        "n": 2,
        "n_tried": 1,
        "n_trials": 2,
    }


def record(kind: str, label: str, **fields: Any) -> Any:
    """Return a record with what coverage reads of it; the rest is not looked at."""
    d_model, n_layers, n_heads, d_ff = map(int, label.split("x"))
    sizes = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "d_ff": d_ff}
    model: Any = {"trial": TrialRecord, "supplementary": SupplementaryRecord}[kind]
    identity = Identity(settings="a", data="b", grid="c", code="d")
    common = {"experiment": "5K_h1", "identity": identity, "uid": label}
    return model.model_construct(**sizes, **common, **fields)


def test_records_say_what_asked_for_a_run() -> None:
    records = [
        record("trial", "8x1x1x16", forced=("smallest d_model",)),
        record("trial", "8x2x1x32", forced=()),
        record("supplementary", "16x1x1x32", run="x_seed_0", scores=None),
        record("supplementary", "16x1x1x32", run="x_seed_1", scores=None),
        # The same run, scored on test later, is one run.
        record("supplementary", "16x1x1x32", run="x_seed_1", scores=object()),
    ]
    assert tried_in(records) == [
        (arch("8x1x1x16"), "forced"),
        (arch("8x2x1x32"), "search"),
        (arch("16x1x1x32"), "supplementary"),
        (arch("16x1x1x32"), "supplementary"),
    ]


cells = st.builds(
    lambda width, layers, heads, ratio: Architecture(4 * width, layers, heads, 4 * width * ratio),
    *(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2]), st.sampled_from([2, 4])),
)
origins = st.sampled_from(["search", "forced", "supplementary"])


@given(grid=st.sets(cells, min_size=1), tried=st.lists(st.tuples(cells, origins), max_size=20))
def test_nothing_is_lost_or_counted_twice(
    grid: set[Architecture], tried: list[tuple[Architecture, Origin]]
) -> None:
    found = coverage(grid, tried)
    runs = Counter(one for one, _ in tried)
    assert found.total.n == len(grid)
    assert found.total.n_trials + sum(runs[one] for one in found.outside) == len(tried)
    assert found.total.n_tried + len(found.never) == len(grid)
    assert sum(found.n_trials_by_origin.values()) == len(tried)
    groups = [list(group.values()) for group in found.by_dimension.values()]
    for group in (*groups, list(found.by_shape.values())):
        assert sum(one.n for one in group) == found.total.n
        assert sum(one.n_tried for one in group) == found.total.n_tried
        assert sum(one.n_trials for one in group) == found.total.n_trials


def test_extremes_are_counted_apart() -> None:
    found = coverage(GRID, TRIED, [GRID[0], GRID[4]])
    assert found.extremes == Cells(n=2, n_tried=1, n_trials=2)
    assert short_line(found) == "tried 2 of 5 architectures, 1 of 2 extremes"
    assert short_line(coverage(GRID, TRIED)) == "tried 2 of 5 architectures"
    assert found.as_dict()["extremes"] == {"n": 2, "n_tried": 1, "n_trials": 2}
