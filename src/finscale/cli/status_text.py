"""The status of a run as people read it."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Mapping
from typing import Any

from finscale.cli.output import table_text
from finscale.pipeline.changes import describe_stale, named
from finscale.pipeline.status import ExperimentState, RunStatus
from finscale.rundir import RunDirectory
from finscale.search.coverage import short_line
from finscale.search.redaction import redacted
from finscale.units import duration_text

_HEADER = (
    *("experiment", "state", "trials", "seeds", "best skill", "architecture", "time left"),
    "note",
)


def status_text(status: RunStatus, directory: RunDirectory, storage: str | None) -> str:
    """Return the status as tables and lines.

    Parameters
    ----------
    storage
        URL of the search storage, its password is not shown; None: the file in the run directory.
    """
    blocks = [
        table_text(_HEADER, [_row(one) for one in status.experiments], n_left=2),
        "\n".join([_total(status), *_queue(status, directory)]) + "\n",
        _workers(status, directory),
        "".join(f"{line}\n" for line in _remarks(status)),
        "coverage of the grids\n"
        + "".join(f"  {name}: {short_line(one)}\n" for name, one in status.coverage.items()),
        _dashboard(directory, storage),
    ]
    return "\n".join(block for block in blocks if block)


def _row(one: ExperimentState) -> tuple[str, ...]:
    return (
        one.name,
        one.state,
        f"{one.n_trials_done}/{one.n_trials}",
        str(one.n_finals),
        "" if one.best_validation_skill is None else f"{one.best_validation_skill:+.3f}",
        one.best_architecture or "",
        _left(one),
        # Why it is stale takes more than a column.
        one.note if one.state == "failed" else "",
    )


def _left(one: ExperimentState) -> str:
    if one.state in ("done", "failed"):
        return ""
    return "unknown" if one.time_left_s is None else f"~{duration_text(one.time_left_s)}"


def _total(status: RunStatus) -> str:
    totals = status.totals
    parts = [
        f"{totals['n_done']} of {totals['n_experiments']} experiments done",
        f"{totals['n_trials_done']} of {totals['n_trials']} trials",
    ]
    parts += [
        f"{totals[f'n_{word}']} {word}" for word in ("failed", "stale") if totals[f"n_{word}"]
    ]
    if status.is_finished:
        parts.append("finished")
    elif status.time_left_s is None:
        parts.append("time left unknown (no trial has been measured)")
    else:
        n_workers = max(1, status.n_alive)
        workers = f"{n_workers} worker{'s' * (n_workers > 1)}"
        parts.append(f"~{duration_text(status.time_left_s)} left with {workers}")
    return f"in all: {', '.join(parts)}"


def _queue(status: RunStatus, directory: RunDirectory) -> list[str]:
    if status.queue_fault:
        order = "order as it was" if status.n_alive else "order of the matrix"
        return [f"{status.queue_fault} ({order})"]
    if len(status.queue) < 2:
        return []
    return [f"order, as in {directory.queue}: {named(status.queue)}"]


def _workers(status: RunStatus, directory: RunDirectory) -> str:
    alive = [one for one in status.workers if one["alive"] is not False]
    if not alive:
        if status.is_finished:
            return ""
        command = shlex.join(
            ["finscale", "run", str(directory.study), "--out", str(directory.root)]
        )
        return f"no worker is alive; go on with: {command}\n"
    header = ("worker", "host", "process", "doing", "for", "epoch", "validation loss")
    rows = [
        (
            "alive" if one["alive"] else f"last heard of {_ago(one['at'], status.at)} ago",
            one["host"],
            str(one["pid"]),
            f"{one['experiment']} {one['label'].partition(' (')[0]}"
            if one["label"]
            else "between two runs",
            _ago(one["run_started_at"] or one["started_at"], status.at) if one["label"] else "",
            f"{one['epoch']}/{one['epochs']}" if one["label"] and one["epochs"] else "",
            f"{one['validation_loss']:.4f}"
            if one["label"] and one["validation_loss"] is not None
            else "",
        )
        for one in alive
    ]
    return table_text(header, rows, n_left=4)


def _remarks(status: RunStatus) -> list[str]:
    lines = []
    if status.machine is not None:
        ago = _ago(status.machine["time"], status.at)
        lines.append(f"machine, {ago} ago: {machine_line(status.machine)}")
    if status.last_error is not None:
        error = status.last_error
        lines.append(
            f"last error, {error['at']}: {error['experiment']} {error['what']}: {error['reason']}"
        )
    if status.damage:
        lines.append(f"damaged: {status.damage}")
    if status.data_problem is not None:
        lines.append(
            f"data: {status.data_problem} (whether they have changed cannot be seen; "
            "records are judged by the data of the last start)"
        )
    stale = {name: [one.text for one in changes] for name, changes in status.stale.items()}
    lines += [f"stale: {line}" for line in describe_stale(stale)]
    return lines


def machine_line(reading: Mapping[str, Any]) -> str:
    """Return what of a reading is known: processor, memory, GPU, temperatures."""
    parts: list[str] = []

    def add(label: str, *items: tuple[str, float | None]) -> None:
        known = [form.format(value) for form, value in items if value is not None]
        if known:
            parts.append(f"{label} {', '.join(known)}")

    add("CPU", ("{:.0%}", reading.get("cpu_frac")), ("{:.0f} °C", reading.get("cpu_temperature_c")))
    add(
        "memory",
        ("{:.1f} GiB", reading.get("memory_used_gib")),
        ("{:.0%} used", reading.get("memory_used_frac")),
    )
    add(
        str(reading.get("gpu_name") or "GPU"),
        ("{:.0%}", reading.get("gpu_util_frac")),
        ("{:.1f} GiB", reading.get("gpu_memory_gib")),
        ("{:.0f} W", reading.get("gpu_power_w")),
        ("{:.0f} °C", reading.get("gpu_temperature_c")),
    )
    return "; ".join(parts) or "nothing is measured"


def _dashboard(directory: RunDirectory, storage: str | None) -> str:
    if storage is None and not directory.storage.exists():
        return ""
    url = redacted(storage or f"sqlite:///{directory.storage.resolve()}")
    return f"the searches in a browser: {shlex.join(['optuna-dashboard', url])}\n"


def _ago(then: str, now: str) -> str:
    passed = dt.datetime.fromisoformat(now) - dt.datetime.fromisoformat(then)
    return duration_text(max(0.0, passed.total_seconds()))
