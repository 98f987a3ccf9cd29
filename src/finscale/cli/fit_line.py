"""The command that fits a measure of either sign against a size: fit-line."""

from __future__ import annotations

from pathlib import Path

import typer

from finscale.cli.fit_law import CONFIDENCE, POINTS, WHERE, read_points, warn_of_mixtures
from finscale.cli.options import JSON
from finscale.cli.output import print_json, print_table
from finscale.scaling.fit import MIN_DELTA_AICC
from finscale.scaling.line import FORMULA, Line, fit_line

X = typer.Option(metavar="COL", help="The size: a column, or arithmetic on columns.")
Y = typer.Option(metavar="COL", help="The measure, such as a Sharpe ratio, R² or skill.")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("fit-line")(fit_line_command)


def fit_line_command(
    points: Path = POINTS,
    x: str = X,
    y: str = Y,
    confidence: float = CONFIDENCE,
    where: list[str] = WHERE,
    as_json: bool = JSON,
) -> None:
    """Fit a measure that may be negative as a straight line in the logarithm of a size."""
    table = read_points(points, where)
    line = fit_line(table, x=x, y=y, confidence=confidence)
    warn_of_mixtures(table)
    if as_json:
        print_json(line.as_dict())
    else:
        _print(line, y)


_SAID = {
    "rises": "rises with size",
    "falls": "falls with size",
    "no_evidence": "no evidence that it depends on size (for that 0 has to lie outside the "
    f"interval and AICc to gain {MIN_DELTA_AICC:g})",
    "too_few_points": "too few sizes for a verdict; six are needed",
}


def _print(line: Line, measure: str) -> None:
    share = f"{line.confidence:.0%}"
    rows = [
        [name, f"{one.estimate:.6g}", f"{error:.3g}", f"{one.low:.5g}", f"{one.high:.5g}"]
        for name, one, error in (
            ("a", line.a, line.standard_errors["a"]),
            ("b", line.b, line.standard_errors["b"]),
        )
    ]
    typer.echo(FORMULA)
    print_table(["parameter", "value", "standard error", f"{share} from", "to"], rows)
    change = line.change
    gain = "" if line.delta_aicc is None else f"; AICc gains {line.delta_aicc:.1f} over a constant"
    typer.echo(
        f"\n{measure}: {_SAID[line.kind]}; over {line.n_points} sizes spanning "
        f"×{line.span_ratio:.3g} it changes by {change.estimate:+.4g} "
        f"({share} interval {change.low:+.4g} to {change.high:+.4g}){gain}"
    )
