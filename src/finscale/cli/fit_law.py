"""The command that fits a scaling law to anyone's points: fit-law."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from finscale.cli.options import JSON
from finscale.cli.output import print_json, print_table
from finscale.errors import FitError
from finscale.scaling.fit_points import FittedPoints, fit_law
from finscale.scaling.point_table import PointTable, read_point_table
from finscale.scaling.resampling import N_SAMPLES

POINTS = typer.Argument(
    metavar="POINTS.csv", help="A CSV or Parquet file, one row per point.", show_default=False
)
LAW = typer.Option(
    "surface", help="constant, power, power-floor, broken, surface or data-constrained."
)
LOSS = typer.Option(metavar="COL", help="The loss: a column, or arithmetic on columns.")
X = typer.Option(None, "--x", metavar="COL", help="The variable of a law in one variable.")
N = typer.Option(None, "--n", metavar="COL", help="Parameters of the model.")
D = typer.Option(None, "--d", metavar="COL", help='Samples seen, as in "flops/(6*params)".')
UNIQUE_D = typer.Option(None, "--unique-d", metavar="COL", help="Distinct samples among them.")
OBJECTIVE = typer.Option(
    None, help="huber (on log loss), log-least-squares or least-squares; by default the law's own."
)
HUBER = typer.Option(None, help="Width of the Huber loss, in log loss.  [default: 0.001]")
DROP_HIGHEST = typer.Option(0, metavar="K", help="Leave out the K points of highest loss.")
BOOTSTRAP = typer.Option(N_SAMPLES, help="Bootstrap samples; 0 for none.")
RESAMPLING = typer.Option(
    None, help="points (with replacement) or noise (around the law, for least squares)."
)
SEED = typer.Option(0, help="Seed of the bootstrap.")
WHERE = typer.Option(
    [], metavar="COL=VALUE", help="Fit the rows with this value alone; may be repeated."
)
CONFIDENCE = typer.Option(0.95, help="Nominal coverage of the intervals.")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("fit-law")(fit_law_command)


def fit_law_command(
    points: Path = POINTS,
    law: str = LAW,
    loss: str = LOSS,
    x: str | None = X,
    n: str | None = N,
    d: str | None = D,
    unique_d: str | None = UNIQUE_D,
    objective: str | None = OBJECTIVE,
    huber: float | None = HUBER,
    drop_highest: int = DROP_HIGHEST,
    bootstrap: int = BOOTSTRAP,
    resampling: str | None = RESAMPLING,
    seed: int = SEED,
    confidence: float = CONFIDENCE,
    where: list[str] = WHERE,
    as_json: bool = JSON,
) -> None:
    """Fit a scaling law to points, with standard errors and intervals."""
    table = read_points(points, where)
    fitted = fit_law(
        table,
        law=law,
        loss=loss,
        x=x,
        n=n,
        d=d,
        unique_d=unique_d,
        objective=objective,  # type: ignore[arg-type]  # fit_law refuses what it does not know
        huber=huber,
        drop_highest=drop_highest,
        bootstrap=bootstrap,
        resampling=resampling,
        seed=seed,
        confidence=confidence,
    )
    warn_of_mixtures(table)
    if as_json:
        print_json(fitted.as_dict())
    else:
        _print(fitted)


def read_points(path: Path, where: list[str]) -> PointTable:
    """Return the rows of a file for which all of these hold: column=value.

    Raises
    ------
    FitError
        If it cannot be read, or no row is such.
    """
    table = replace(read_point_table(path), option_prefix="--")
    for one in where:
        name, found, value = one.partition("=")
        if not found:
            raise FitError(f"--where {one}: write it as column=value, e.g. horizon_bars=1")
        table = table.where({name: value})
    return table


def warn_of_mixtures(table: PointTable) -> None:
    """Say where points of a run answer different questions, whose losses have no law in common."""
    for column in ("task", "horizon_bars"):
        values = sorted({str(value) for value in table.cells.get(column, ())})
        if len(values) > 1:
            typer.echo(
                f"finscale: warning: {table.source}: {column} is {', '.join(values)}; "
                f"--where {column}={values[0]} fits one of them",
                err=True,
            )


def _print(fitted: FittedPoints) -> None:
    errors, intervals = fitted.standard_errors, fitted.intervals
    rows = []
    for name, value in fitted.parameters.items():
        row = [name, f"{value:.6g}"]
        if errors is not None and intervals is not None:
            low, high = intervals[name]
            row += [f"{errors[name]:.3g}", f"{low:.5g}", f"{high:.5g}"]
        rows.append([*row, "at its bound" if name in fitted.estimate.at_bound else ""])
    share = f"{fitted.confidence:.0%}"
    header = ["parameter", "value"]
    if errors is not None:
        header += ["standard error", f"{share} from", "to"]
    typer.echo(fitted.law.formula)
    print_table([*header, ""], rows)
    fit = fitted.estimate
    of_rows = "" if fitted.n_rows == fit.n_points else f" (means of {fitted.n_rows} rows)"
    left_out = f", {len(fitted.dropped)} of highest loss left out" if fitted.dropped else ""
    condition = "singular" if fit.condition_number is None else f"{fit.condition_number:.3g}"
    typer.echo(
        f"\n{fit.n_points} points{of_rows}{left_out}; objective {fit.value:.6g} "
        f"({fit.objective.kind}), {'converged' if fit.converged else 'NOT converged'}, "
        f"condition number {condition}"
    )
    if not fit.is_identified:
        typer.echo(
            "NOT identified: the points do not tell these parameters apart, and other values fit "
            "as well; no interval is given"
        )
    if fitted.resampled is not None:
        sampled = fitted.resampled
        typer.echo(
            f"{sampled.value_S.size} bootstrap samples of {fitted.resampling}, "
            f"{int(sampled.converged_S.sum())} converged, seed {sampled.seed}"
        )
    if fitted.constant is not None:
        gain = fitted.constant.delta_aicc
        aicc = "" if gain is None else f", AICc gains {gain:.1f} over it"
        typer.echo(f"a constant has an objective of {fitted.constant.objective:.6g}{aicc}")
    for note in fitted.notes:
        typer.echo(f"note: {note}")
