"""Options that several commands take."""

from __future__ import annotations

import typer

STUDY = typer.Argument(help="A study file; see studies/.", show_default=False)
RUN_DIR = typer.Argument(help="A run directory.", show_default=False)
SET = typer.Option([], "--set", metavar="A.B=C", help="Override a setting; may be repeated.")
JSON = typer.Option(False, "--json", help="Print one JSON document and nothing else.")
