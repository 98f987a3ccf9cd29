"""Commands for features: list, check, build."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from finscale.cli.features_build import build
from finscale.cli.options import JSON
from finscale.cli.output import print_json, print_table
from finscale.errors import DataError, FeatureError
from finscale.features.modules import load_feature_modules
from finscale.features.proof import find_price_unit, find_unused, prove, rows_to_try
from finscale.features.registry import REGISTRY, Feature
from finscale.features.tiers import TIERS, tier_features
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.sources.bundled import BUNDLED, load_bundled
from finscale.market.sources.file import load_file

DATA = typer.Argument("SP500", help="A CSV or Parquet file of bars, or a bundled symbol.")
SYMBOL = typer.Option(None, help="The symbol to take from a file of several.")
TIER = typer.Option(None, help="Check this tier.", show_default="a25, if nothing else is named")
MODULES = typer.Option(
    [], "--module", metavar="FILE.py", help="Check the features of this file; may be repeated."
)
FEATURES = typer.Option(
    [], "--feature", metavar="NAME", help="Check only this feature; may be repeated."
)
ROWS = typer.Option(20, "--rows", min=3, help="Bars at which to try to change the future.")
SEED = typer.Option(0, min=0, help="Seed of the rows and of the other futures.")


@dataclass(frozen=True)
class _Checked:
    """What was found about one feature."""

    feature: Feature
    problems: list[str]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.feature.name,
            "lookback_bars": self.feature.lookback_bars,
            "passed": not self.problems,
            "problems": self.problems,
            "warnings": self.warnings,
        }


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    features = typer.Typer(help="The features, by tier.", no_args_is_help=True)
    features.command(name="list")(list_features)
    features.command()(check)
    features.command()(build)
    app.add_typer(features, name="features")


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


def check(
    data: str = DATA,
    symbol: str | None = SYMBOL,
    tier: str | None = TIER,
    modules: list[Path] = MODULES,
    names: list[str] = FEATURES,
    n_rows: int = ROWS,
    seed: int = SEED,
    as_json: bool = JSON,
) -> None:
    """Prove that features do not look ahead and keep to their look-back, on bars of your own.

    The future of each of the rows is cut off, and replaced by another one.
    A file that is given with --module is executed.
    """
    features = _chosen(tier, modules, names)
    source, bars = _load(data, symbol)
    rows = rows_to_try(len(bars), n_rows, np.random.default_rng(seed))
    results = []
    for one in features:
        # Its own generator: what is found about a feature depends on no other.
        problems = prove(one, bars, rows, np.random.default_rng(seed))
        odd: list[str | None] = []
        if not problems:
            odd += find_price_unit(one, bars), find_unused(one, bars, np.random.default_rng(seed))
        warnings = [text for text in dict.fromkeys(odd) if text is not None]
        results.append(_Checked(one, problems, warnings))
        if not as_json:
            for line in (*problems, *(f"warning: {text}" for text in results[-1].warnings)):
                typer.echo(line)
    n_failed = sum(bool(one.problems) for one in results)
    if as_json:
        print_json(
            {
                "data": source,
                "n_bars": len(bars),
                "first_date": str(bars.date[0]),
                "last_date": str(bars.date[-1]),
                "seed": seed,
                "dates_tried": [str(bars.date[row]) for row in rows],
                "passed": n_failed == 0,
                "features": [one.as_dict() for one in results],
            }
        )
    if n_failed:
        raise FeatureError(
            f"{n_failed} of {len(results)} features fail on {source}; correct what is named above"
        )
    if not as_json:
        typer.echo(_summary(results, source, bars, len(rows)))


def _chosen(tier: str | None, modules: list[Path], names: list[str]) -> tuple[Feature, ...]:
    """Return the features to check, each once."""
    if tier is not None and names:
        raise FeatureError("features check: give --tier or --feature, not both")
    own = [name for registered in load_feature_modules(modules).values() for name in registered]
    for name in names:
        if name not in REGISTRY:
            near = difflib.get_close_matches(name, REGISTRY, n=3)
            hint = f"; did you mean {', '.join(near)}" if near else "; see finscale features list"
            raise FeatureError(f"unknown feature {name!r}{hint}")
    if not names and (tier is not None or not own):
        own = [*own, *(one.name for one in tier_features(tier or "a25"))]
    return tuple(REGISTRY[name] for name in dict.fromkeys(names or own))


def _load(data: str, symbol: str | None) -> tuple[str, OHLCV]:
    """Return what to call the bars, and the bars."""
    path = Path(data)
    if data in BUNDLED:
        if symbol is not None:
            raise DataError(f"bundled {data} is one symbol; leave out --symbol")
        return f"bundled {data}", to_arrays(load_bundled(data).bars)
    if not path.suffix and not path.exists():
        raise DataError(
            f"{data}: no such file, and no bundled symbol; give a .csv or .parquet file, or one "
            f"of {', '.join(BUNDLED)}"
        )
    # Sessions that are missing say nothing about features.
    found = load_file(path, symbols=None if symbol is None else [symbol], calendar=None)
    if len(found) > 1:
        some = ", ".join(one.symbol for one in found[:5])
        raise DataError(f"{path}: holds {len(found)} symbols ({some}); choose one with --symbol")
    return path.name, to_arrays(found[0].bars)


def _summary(results: list[_Checked], source: str, bars: OHLCV, n_rows: int) -> str:
    n_warnings = sum(len(one.warnings) for one in results)
    warned = f"; warnings: {n_warnings}, see above" if n_warnings else ""
    many = len(results) != 1
    return (
        f"{len(results)} {'features pass' if many else 'feature passes'} on {source} "
        f"({len(bars):,} bars, {bars.date[0]} to {bars.date[-1]}): at {n_rows} rows no future was "
        f"found to matter; finite from the look-back on, which is all that values need{warned}"
    )
