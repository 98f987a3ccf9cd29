"""Commands that look at what is there: status, features."""

from __future__ import annotations

from pathlib import Path

import typer

from finscale.cli.output import print_json, print_table
from finscale.cli.run import JSON, RUN_DIR, load_run_study
from finscale.errors import FeatureError
from finscale.features.tiers import TIERS, tier_features
from finscale.pipeline.status import experiment_states


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(status)
    features = typer.Typer(help="The features, by tier.", no_args_is_help=True)
    features.command(name="list")(list_features)
    app.add_typer(features, name="features")


def status(run_dir: Path = RUN_DIR, as_json: bool = JSON) -> None:
    """Show how far every experiment of a run is."""
    states = experiment_states(load_run_study(run_dir), run_dir)
    if as_json:
        print_json([one.as_dict() for one in states])
        return
    rows = [
        (
            one.name,
            one.state,
            f"{one.n_trials_done}/{one.n_trials}",
            str(one.n_finals),
            "" if one.best_validation_skill is None else f"{one.best_validation_skill:+.3f}",
            one.best_architecture or "",
            one.note,
        )
        for one in states
    ]
    header = ("experiment", "state", "trials", "seeds", "best skill", "architecture", "note")
    print_table(header, rows, n_left=2)


def list_features(tier: str = typer.Argument("a25", help="A tier."), as_json: bool = JSON) -> None:
    """List the features of a tier."""
    if tier not in TIERS:
        raise FeatureError(f"unknown tier {tier!r}; choose one of {', '.join(TIERS)}")
    fields = ("name", "family", "lookback_bars", "meaning", "formula", "inputs", "reference")
    rows = [{name: getattr(one, name) for name in fields} for one in tier_features(tier)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("feature", "family", "look-back", "meaning"),
        [(row["name"], row["family"], str(row["lookback_bars"]), row["meaning"]) for row in rows],
        n_left=2,
    )
