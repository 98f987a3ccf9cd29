"""Commands that look ahead: preview, architectures, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from finscale.cli.options import JSON, SET, STUDY
from finscale.cli.output import print_json, print_table
from finscale.errors import FinscaleError
from finscale.features.tiers import tier_features
from finscale.ladder.budgets import parse_budget
from finscale.ladder.extremes import extremes
from finscale.ladder.grid import architectures_within, default_grid
from finscale.machine.doctor import Finding, examine
from finscale.models.architecture import InputShape
from finscale.models.cost import (
    count_parameters,
    training_flops_per_sample,
    training_memory_bytes,
)
from finscale.preview import needs_of, preview_study
from finscale.study_file import load_study
from finscale.study_rows import Features, Patches, Windows
from finscale.tasks import N_RETURN_BINS
from finscale.units import bytes_text, count_text, duration_text, flops_text


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (preview, architectures, doctor):
        app.command()(command)


def preview(study: Path = STUDY, overrides: list[str] = SET, as_json: bool = JSON) -> None:
    """Show a study's experiments, grids, parameters, memory, FLOPs and time."""
    previews = preview_study(load_study(study, overrides))
    if as_json:
        print_json([one.as_dict() for one in previews])
        return
    header = (
        "experiment",
        "architectures",
        "extremes",
        "trials",
        "parameters",
        "memory",
        "FLOPs/sample",
        "FLOPs in all",
        "time",
    )
    rows = [
        (
            one.name,
            str(one.n_architectures),
            str(one.n_extremes),
            str(one.n_trials),
            f"{count_text(one.n_parameters_min)} … {count_text(one.n_parameters_max)}",
            f"{bytes_text(one.memory_bytes_min)} … {bytes_text(one.memory_bytes_max)}",
            f"{flops_text(one.flops_per_sample_min)} … {flops_text(one.flops_per_sample_max)}",
            f"≤ {flops_text(one.training_flops_max)}",
            f"{duration_text(one.time_min_s)} … {duration_text(one.time_max_s)}",
        )
        for one in previews
    ]
    print_table(header, rows)
    needs = needs_of(previews)
    typer.echo(
        f"\nExperiments: {len(previews)}. Time: {duration_text(needs.time_min_s)} to "
        f"{duration_text(needs.time_max_s)} on this machine, a rough estimate from FLOPs: the "
        "longer one if every run is at the costliest architecture and goes to its last epoch; "
        "small models on a GPU can take longer still.\n"
        f"Disk: up to {bytes_text(needs.disk_bytes)} in the run directory.\n"
        "Memory: the lightest architecture with one sample at a time … the heaviest with the whole "
        "effective batch."
    )


def architectures(
    budget: str = typer.Argument(help="A parameter budget: 20K, 2M, 2B.", show_default=False),
    n_features: int = typer.Option(len(tier_features(Features().tier)), "--features", min=1),
    n_outputs: int = typer.Option(
        1, "--outputs", min=1, help=f"Logits: 1, or {N_RETURN_BINS} for the task return."
    ),
    as_json: bool = JSON,
) -> None:
    """List every architecture within a budget."""
    target, tolerance_frac = parse_budget(budget), 0.25
    shape = InputShape(
        n_features,
        Windows().context_length,
        Patches().patch_length,
        Patches().patch_stride,
        n_outputs,
    )
    cells = architectures_within(target, default_grid(target), shape, tolerance_frac)
    forced = {one.architecture: one.reasons for one in extremes(cells, budget=target, shape=shape)}
    rows: list[dict[str, Any]] = [
        {
            "architecture": cell.label,
            **cell.as_dict(),
            "n_parameters": count_parameters(cell, shape),
            "training_flops_per_sample": training_flops_per_sample(cell, shape),
            "memory_bytes_one_sample": training_memory_bytes(
                cell, shape, 1, bytes_per_value=4, dropout=0.1
            ),
            "extreme": list(forced.get(cell, ())),
        }
        for cell in cells
    ]
    if as_json:
        print_json(rows)
        return
    header = ("architecture", "extreme", "parameters", "FLOPs/sample", "memory, one sample")
    print_table(
        header,
        [
            (
                row["architecture"],
                ", ".join(row["extreme"]),
                f"{row['n_parameters']:,}",
                flops_text(row["training_flops_per_sample"]),
                bytes_text(row["memory_bytes_one_sample"]),
            )
            for row in rows
        ],
        n_left=2,
    )


def doctor(as_json: bool = JSON) -> None:
    """Check environment, device, data and storage, and say what to do."""
    findings = examine()
    if as_json:
        print_json([one.as_dict() for one in findings])
    else:
        rows = [(_verdict(one), one.name, one.detail, one.fix) for one in findings]
        print_table(("", "check", "found", "what to do"), rows, n_left=4)
    failed = [one.name for one in findings if not one.ok]
    if failed:
        raise FinscaleError(f"{', '.join(failed)}: not in order, see above")


def _verdict(finding: Finding) -> str:
    if not finding.ok:
        return "FAILED"
    return "hint" if finding.fix else "ok"
