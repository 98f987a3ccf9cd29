"""Scripts of a study's experiments: its searches, and after them the training of the winners."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finscale import __version__
from finscale.dataset.sources import pin_versions
from finscale.errors import RunDirectoryError
from finscale.experiments import Experiment, plan_experiments
from finscale.files import require_writable, write_text_atomic
from finscale.ladder.grid import Grid, default_grid
from finscale.models.cost import count_parameters
from finscale.pipeline.book import RecordBook
from finscale.pipeline.finals import final_seeds
from finscale.pipeline.prepare import prepare
from finscale.records import TrialRecord
from finscale.rundir import RunDirectory
from finscale.scripts.literals import literal, text, wrapped
from finscale.scripts.templates import SEARCH, TRAINING
from finscale.study import Grid as GridSettings
from finscale.study import Study
from finscale.training.recipe import Recipe


def search_scripts(study: Study) -> dict[str, str]:
    """Return a search script for every experiment, by file name.

    A script holds the whole study cut down to its experiment, and gives the same trials: their
    seeds derive from the study's seed, the experiment's name and the trial's place.

    Raises
    ------
    FinscaleError
        If the matrix cannot be planned, or a data set is not in the catalogue.
    """
    pinned = pin_versions(study)
    experiments = plan_experiments(pinned)
    return {f"hpo_{one.name}.py": _search_script(pinned, one) for one in experiments}


def training_scripts(study: Study, directory: RunDirectory) -> dict[str, str]:
    """Return a training script for every experiment with a winner, by file name.

    Parameters
    ----------
    study
        That of the run.
    directory
        The run; records that are stale by now make no winner.

    Raises
    ------
    FinscaleError
        If the study's data cannot be had any more, or the ledger cannot be read.
    """
    prepared = prepare(study)
    book = RecordBook(directory, prepared.identities)
    winners = {one.name: book.best_trial(one.name) for one in prepared.experiments}
    return {
        f"train_{one.name}.py": _training_script(study, one, best)
        for one in prepared.experiments
        if (best := winners[one.name]) is not None
    }


def write_scripts(scripts: Mapping[str, str], out: Path, *, replace: bool = False) -> list[Path]:
    """Write scripts into a directory.

    Raises
    ------
    RunDirectoryError
        If the directory cannot be written, or holds a script that differs and ``replace`` is
        false: it may have been changed by hand. Nothing is written then.
    """
    require_writable(out)
    for name, source in scripts.items():
        file = out / name
        if not replace and file.exists() and file.read_text(encoding="utf-8") != source:
            raise RunDirectoryError(
                f"{file}: is there and differs; choose another --out, or give --replace"
            )
    for name, source in scripts.items():
        write_text_atomic(out / name, source)
    return [out / name for name in scripts]


def one_experiment(study: Study, experiment: Experiment) -> Study:
    """Return the study cut down to what one of its experiments depends on.

    Beside the experiment's own number of symbols the smallest of the study stays: what is scored
    are the symbols that the smallest one trains on.
    """
    size, sizes = experiment.size, study.data_sizes
    n_symbols = None
    if size.n_symbols is not None:
        n_symbols = tuple(sorted({min(sizes.n_symbols or (size.n_symbols,)), size.n_symbols}))
    return study.model_copy(
        update={
            "horizons": (experiment.horizon_bars,),
            "tasks": (experiment.task,),
            "ladder": study.ladder.model_copy(update={"budgets": (experiment.budget.label,)}),
            "data_sizes": sizes.model_copy(
                update={"history_frac": (size.history_frac,), "n_symbols": n_symbols}
            ),
            # The workers' database is not for a script that runs alone, and may hold a password.
            "storage": None,
            "supplementary": (),
        }
    )


def _search_script(study: Study, experiment: Experiment) -> str:
    about = (
        f"Written by finscale {__version__}. It needs finscale and the data, and gives the trials "
        f"that the study {study.name} gives, for their seeds derive from its seed, the name of "
        "the experiment and a trial's place. Interrupted, it goes on where it was left."
    )
    file = f"hpo_{experiment.name}.py"
    return SEARCH.substitute(_shared(study, experiment), about=wrapped(about, prefix=""), file=file)


def _training_script(study: Study, experiment: Experiment, best: TrialRecord) -> str:
    seeds = final_seeds(study, experiment.name)
    about = (
        f"Written by finscale {__version__} from trial {best.trial} of the study {study.name}: "
        f"{best.n_parameters:,} parameters, validation log-loss {best.validation_loss:.4f}, skill "
        f"{best.validation_skill:+.4f}. The test part is scored with --score-test alone, since "
        "every look at it counts."
    )
    recipe = Recipe.from_dict(best.recipe).as_dict()
    # A micro-batch that was halved for want of memory need not divide the effective batch.
    micro_batch = next(n for n in range(best.micro_batch, 0, -1) if best.effective_batch % n == 0)
    d_model, n_layers, n_heads, d_ff = best.d_model, best.n_layers, best.n_heads, best.d_ff
    return TRAINING.substitute(
        _shared(study, experiment),
        about=wrapped(about, prefix=""),
        file=f"train_{experiment.name}.py",
        n_seeds=len(seeds),
        architecture=f"{d_model=}, {n_layers=}, {n_heads=}, {d_ff=}",
        recipe="".join(f"    {name}={value!r},\n" for name, value in recipe.items()),
        seeds=literal(seeds, used=len("SEEDS = ")),
        micro_batch=micro_batch,
        accumulation_steps=best.effective_batch // micro_batch,
        activation_checkpointing=best.activation_checkpointing,
        precision=best.precision,
    )


def _shared(study: Study, experiment: Experiment) -> dict[str, str]:
    own = one_experiment(study, experiment)
    default = default_grid(experiment.budget)
    if study.ladder.grid is None and default.min_head_dim == 1:
        settings = GridSettings(**_dimensions(default))
        own = own.model_copy(update={"ladder": own.ladder.model_copy(update={"grid": settings})})
    return {
        "experiment": experiment.name,
        "name": text(experiment.name),
        "architectures": wrapped(_architectures(study, experiment), prefix="# ").rstrip("\n"),
        "study": literal(own.model_dump(mode="json"), used=len("STUDY = ")),
    }


def _architectures(study: Study, experiment: Experiment) -> str:
    """Say what the grid comes to, which is partly a default that goes by the budget's size."""
    counts = [count_parameters(one, experiment.shape) for one in experiment.architectures]
    said = (
        f"The grid has {len(counts)} architectures of {min(counts):,} to {max(counts):,} "
        "parameters within the budget. "
    )
    default = default_grid(experiment.budget)
    if study.ladder.grid is None and default.min_head_dim > 1:
        dimensions = "; ".join(
            f"{name} {', '.join(map(str, choices))}"
            for name, choices in _dimensions(default).items()
        )
        said = (
            f"The grid is that of small budgets, {dimensions}; heads are at least "
            f"{default.min_head_dim} wide. {said}"
        )
    if not study.search.extremes_first:
        return said
    forced = ", ".join(
        f"{one.architecture.label} ({', '.join(one.reasons)})" for one in experiment.extremes
    )
    return f"{said}Tried first: {forced}."


def _dimensions(grid: Grid) -> dict[str, tuple[int, ...]]:
    names = ("d_model", "n_layers", "n_heads", "ff_ratio")
    return {name: getattr(grid, name) for name in names}
