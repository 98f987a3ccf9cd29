from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from finscale.errors import LadderError, ModelError
from finscale.experiments import _RESULT_SOURCES, code_hash, input_shape, plan_experiments
from finscale.files import hash_sources
from finscale.models.architecture import InputShape
from finscale.models.cost import count_parameters
from finscale.study_file import load_study
from tiny import NAMES, tiny_study

STUDIES = Path(__file__).parents[1] / "studies"
SOURCES = Path(__file__).parents[1] / "src" / "finscale"


def test_the_reference_study_is_the_twelve_experiments() -> None:
    experiments = plan_experiments(load_study(STUDIES / "reference.yaml"))
    assert [one.name for one in experiments] == [
        f"{budget}_h{horizon}_threshold_1pct"
        for budget in ("2M", "20M", "200M", "2B")
        for horizon in (1, 3, 5)
    ]
    for one in experiments:
        target = one.budget.n_parameters
        counts = [count_parameters(cell, one.shape) for cell in one.architectures]
        assert all(0.75 * target <= count <= 1.25 * target for count in counts)
        assert 6 <= len(one.extremes) <= 10
        assert {extreme.architecture for extreme in one.extremes} <= set(one.architectures)
    # Horizons of a budget share one grid, budgets do not.
    assert len({one.grid_hash for one in experiments}) == 4


def test_small_budgets_come_first_within_a_task() -> None:
    study = tiny_study(
        {
            "ladder.budgets": ["2.5K", "1.5K"],
            "tasks": ["direction", "threshold_1pct"],
            "horizons": [5, 1],
        }
    )
    assert [one.name for one in plan_experiments(study)] == [
        f"{budget}_h{horizon}_{task}"
        for task in ("direction", "threshold_1pct")
        for budget in ("1.5K", "2.5K")
        for horizon in (5, 1)
    ]


def test_names_and_cells() -> None:
    experiments = plan_experiments(tiny_study())
    assert tuple(one.name for one in experiments) == NAMES
    assert {one.cell_name for one in experiments} == {"h1_threshold_1pct"}


def test_the_input_shape_is_the_studys() -> None:
    assert input_shape(tiny_study()) == InputShape(25, 60, 10, 5)
    other = tiny_study({"windows": {"context_length": 30}, "patches": {"patch_length": 5}})
    assert input_shape(other) == InputShape(25, 30, 5, 5)
    with pytest.raises(ModelError, match="patch_length 10 is longer than context_length 9"):
        input_shape(tiny_study({"windows": {"context_length": 9}}))


def test_two_names_of_one_budget_are_refused() -> None:
    with pytest.raises(LadderError) as refusal:
        plan_experiments(tiny_study({"ladder.budgets": ["2.5K", "2.50K"]}))
    assert str(refusal.value) == "ladder.budgets: 2.5K, 2.5K names a budget twice; remove one"


def test_a_budget_without_an_architecture_is_refused() -> None:
    with pytest.raises(LadderError, match="budget 100K: no architecture of the grid has"):
        plan_experiments(tiny_study({"ladder.budgets": ["2.5K", "100K"]}))


def test_the_code_hash_is_of_the_sources_that_make_results() -> None:
    assert code_hash() == code_hash()
    assert len(code_hash()) == 64
    for part in _RESULT_SOURCES:
        assert (SOURCES / part).exists(), part
    # What decides a trained model's weights and scores has to be among them.
    made_by = {part.split("/")[0].removesuffix(".py") for part in _RESULT_SOURCES}
    assert {"features", "models", "training", "windows", "splits", "tasks"} <= made_by


@pytest.mark.parametrize(
    ("part", "counts"),
    [
        ("features/rolling.py", True),
        ("features/tiers.py", True),
        ("features/select.py", True),
        ("market/context.py", True),
        ("market/timescale.py", True),
        ("market/sources/bundled.py", True),
        ("windows.py", True),
        ("evaluation/metrics.py", True),
        ("evaluation/bootstrap.py", False),
        ("evaluation/backtest.py", False),
        ("features/describe.py", False),
        ("features/proof.py", False),
        ("features/panel.py", False),
        ("market/catalog.py", False),
        ("market/sources/retry.py", False),
        ("market/sources/yahoo.py", False),
        ("market/revisions.py", False),
    ],
)
def test_only_an_edit_of_what_makes_results_makes_them_stale(
    part: str, counts: bool, tmp_path: Path
) -> None:
    for one in _RESULT_SOURCES:
        copy = tmp_path / one
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((SOURCES / one).read_bytes())
    before = hash_sources(tmp_path, _RESULT_SOURCES)
    assert before == code_hash()
    (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
    with (tmp_path / part).open("a") as stream:
        stream.write("# a comment\n")
    assert (hash_sources(tmp_path, _RESULT_SOURCES) != before) == counts


def test_a_plan_needs_neither_data_nor_torch() -> None:
    code = (
        "import sys; from finscale.study_file import load_study; "
        "from finscale.experiments import plan_experiments; "
        f"assert len(plan_experiments(load_study({str(STUDIES / 'reference.yaml')!r}))) == 12; "
        "sys.exit('torch' in sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
