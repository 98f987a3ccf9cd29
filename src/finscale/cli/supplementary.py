"""Options of ``finscale train`` for an architecture of one's own."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from finscale.cli.output import print_json, print_table
from finscale.errors import StudyError
from finscale.experiments import plan_experiments
from finscale.models.architecture import Architecture
from finscale.records import Record, supplementary_runs
from finscale.report.supplementary import supplementary_table
from finscale.study import PartialRecipe, Study
from finscale.study_file import parse_study

ARCHITECTURE = typer.Option(
    None,
    "--architecture",
    metavar="64x32x2x256",
    help="Train this one beside the search: d_model x n_layers x n_heads x d_ff.",
    show_default=False,
)
EXPERIMENT = typer.Option(
    None,
    "--experiment",
    help="Which experiments it joins, a name or a pattern; a run with one needs none.",
    show_default=False,
)
RECIPE = typer.Option(
    "",
    "--recipe",
    metavar="NAME=VALUE,…",
    help="Values such as learning_rate=3e-4,dropout=0.1; the rest is the best trial's.",
    show_default=False,
)
SEEDS = typer.Option(1, "--seeds", min=1, help="Independent seeds.")
SCORE_TEST = typer.Option(
    False, "--score-test", help="Score the test part too; it counts as a look at it."
)


@dataclass(frozen=True)
class Supplement:
    """A study with one supplementary run more, and the experiments that it is for."""

    study: Study
    only: str


def add_supplementary(
    study: Study,
    architecture: str | None,
    *,
    experiment: str | None,
    recipe: str,
    seeds: int,
    score_test: bool,
) -> Supplement | None:
    """Return the study with the run that the options ask for as the last of its list.

    None without an architecture: nothing supplementary is asked for then.

    Raises
    ------
    StudyError, ModelError
        If it is not said which experiment is meant, or an option is wrong.
    """
    if architecture is None:
        if experiment is not None or recipe or seeds != 1 or score_test:
            raise StudyError(
                "--experiment, --recipe, --seeds and --score-test belong to an --architecture; "
                "name one, such as 64x32x2x256"
            )
        return None
    Architecture.parse(architecture)
    names = [one.name for one in plan_experiments(study)]
    if experiment is None and len(names) > 1:
        raise StudyError(f"--experiment: missing; name one of {', '.join(names)}, or a pattern")
    only = experiment or names[0]
    if not fnmatch.filter(names, only):
        raise StudyError(
            f"--experiment {only}: matches no experiment; there are {', '.join(names)}"
        )
    entry = {
        "experiment": only,
        "architecture": architecture,
        "recipe": parse_recipe(recipe),
        "seeds": seeds,
        "score_test": score_test,
    }
    settings = study.model_dump(mode="json")
    settings["supplementary"] = [*_others(settings["supplementary"], entry), entry]
    return Supplement(parse_study(settings, source="finscale train"), only)


def print_supplementary(
    supplement: Supplement, records: Sequence[Record], *, as_json: bool
) -> None:
    """Print what came of the run that was asked for, in every experiment it is for."""
    entry = supplement.study.supplementary[-1]
    asked = [
        one
        for one in supplementary_runs(records)
        if fnmatch.fnmatchcase(one.experiment, supplement.only)
        and (one.architecture, one.asked) == (entry.architecture, entry.recipe.given())
    ]
    if as_json:
        print_json([one.model_dump(mode="json") for one in asked])
        return
    table = supplementary_table(asked)
    print_table(table.header, table.rows, n_left=table.n_text)


def parse_recipe(text: str) -> dict[str, float | int]:
    """Read ``learning_rate=3e-4,dropout=0.1``.

    Raises
    ------
    StudyError
        If it is of another form, or names what is no part of a recipe.
    """
    allowed = ", ".join(PartialRecipe.model_fields)
    values: dict[str, float | int] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, separator, value = (one.strip() for one in part.partition("="))
        try:
            number: float | int | None = int(value) if value.isdigit() else float(value)
        except ValueError:
            number = None
        if not separator or number is None or name not in PartialRecipe.model_fields:
            raise StudyError(f"--recipe {part}: write NAME=NUMBER, of {allowed}")
        if name in values:
            raise StudyError(f"--recipe {part}: {name} stands twice; give it once")
        values[name] = number
    return values


def _others(listed: Sequence[dict[str, Any]], entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Leave an entry out that differs from the new one in the seeds or the test part alone."""

    def key(one: dict[str, Any]) -> tuple[Any, ...]:
        given = {name: value for name, value in one["recipe"].items() if value is not None}
        return one["experiment"], one["architecture"], sorted(given.items())

    return [one for one in listed if key(one) != key(entry)]
