"""Tables of the page as plain text, one string per cell; the template only lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finscale.records import BASE_RATE, CellRecord, Record
from finscale.report.band import LINE_OF_LOSS
from finscale.report.numbers import NOTHING, fitted_text, number, signed
from finscale.report.theme import display
from finscale.scaling.laws import Constant, find_law, short_name
from finscale.scaling.ledger import PARTS, Part
from finscale.study_rows import DataSize
from finscale.units import count_text, true_minus

COLLAPSED_MARK = "†"
AT_BOUND = "at its bound"
_HASH_DIGITS = 12
_SCORE_HEADER = (
    *("log-loss", "skill", "AUC"),
    *("log-loss", "skill", "range of seeds", "AUC", "Brier", "avg. precision", "calib. error"),
)
_RECIPE = ("learning_rate", "weight_decay", "dropout", "warmup_steps", "epochs")


@dataclass(frozen=True)
class Skill:
    """Skill of one model in one cell, as text.

    Attributes
    ----------
    validation, test
        A signed number with the collapse mark where it applies, or a dash.
    best
        Whether the model has the lowest validation loss of its cell.
    why
        Why there is no number; empty if there is one.
    """

    validation: str
    test: str
    best: bool = False
    why: str = ""


@dataclass(frozen=True)
class SkillRow:
    """One model across the horizons of a task."""

    model: str
    parameters: str
    is_budget: bool
    skills: tuple[Skill, ...]


@dataclass(frozen=True)
class SkillTable:
    """Skill of all models on one task, a pair of columns for each horizon."""

    task: str
    horizons: tuple[str, ...]
    rows: tuple[SkillRow, ...]


@dataclass(frozen=True)
class Table:
    """A plain table; the first ``n_text`` columns are text and the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_text: int = 1


def skill_tables(summary: Mapping[str, Any]) -> list[SkillTable]:
    """Return the skill of every baseline and budget, one table per task."""
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for cell in summary["cells"]:
        tasks.setdefault(cell["task"], []).append(cell)
    return [_skill_table(task, cells) for task, cells in tasks.items()]


def _skill_table(task: str, cells: Sequence[Mapping[str, Any]]) -> SkillTable:
    best = [_best_on_validation(cell) for cell in cells]
    names = [n for n in _union(cell["baselines"] for cell in cells) if n != BASE_RATE]
    rows = [
        SkillRow(
            model=display(name),
            parameters="",
            is_budget=False,
            skills=tuple(
                _skill(cell["baselines"].get(name), _collapsed_parts(cell, name), winner == name)
                for cell, winner in zip(cells, best, strict=True)
            ),
        )
        for name in names
    ]
    for label in _union(cell["budgets"] for cell in cells):
        budgets = [cell["budgets"][label] for cell in cells]
        rows.append(
            SkillRow(
                model=f"{label} transformer",
                parameters=_size_range([b["n_parameters"] for b in budgets]),
                is_budget=True,
                skills=tuple(
                    _skill(
                        budget["seed_mean"],
                        budget["collapsed_on"],
                        winner == label,
                        why=budget["status"],
                    )
                    for budget, winner in zip(budgets, best, strict=True)
                ),
            )
        )
    return SkillTable(task, tuple(_column(cell) for cell in cells), tuple(rows))


def _column(cell: Mapping[str, Any]) -> str:
    size = DataSize(**cell["data_size"]).label.replace("_", " ")
    return f"h{cell['horizon_bars']} {size}".strip()


def _skill(
    scores: Mapping[str, Any] | None, collapsed: Sequence[str], best: bool, why: str = ""
) -> Skill:
    if scores is None:
        return Skill(NOTHING, NOTHING, why=why or "not scored")
    validation, test = (
        signed(scores[part]["skill"]) + COLLAPSED_MARK * (part in collapsed) for part in PARTS
    )
    return Skill(validation, test, best)


def _collapsed_parts(cell: Mapping[str, Any], baseline: str) -> list[str]:
    scores = cell["baselines"].get(baseline)
    return [] if scores is None else [part for part in PARTS if scores[part]["collapsed"]]


def _best_on_validation(cell: Mapping[str, Any]) -> str | None:
    losses = {n: s["validation"]["log_loss"] for n, s in cell["baselines"].items()}
    losses |= {
        label: budget["seed_mean"]["validation"]["log_loss"]
        for label, budget in cell["budgets"].items()
        if budget["seed_mean"] is not None
    }
    return min(losses, key=losses.__getitem__, default=None)


def score_table(cell: Mapping[str, Any]) -> Table:
    """Return every score of one cell: baselines, then each budget's seeds in two summaries."""
    rows: list[tuple[str, ...]] = []
    for name, scores in cell["baselines"].items():
        notes = [f"collapsed on {part}" for part in _collapsed_parts(cell, name)]
        # The base rate cannot but be collapsed: it is the yardstick, not a finding.
        rows.append((display(name), *_scores(scores), "; ".join(notes * (name != BASE_RATE))))
    for label, budget in cell["budgets"].items():
        flags = "; ".join(budget["flags"])
        if budget["seed_mean"] is None:
            rows.append((label, *[NOTHING] * len(_SCORE_HEADER), flags))
            continue
        n_seeds = f"{len(budget['seeds'])} seed" + "s" * (len(budget["seeds"]) > 1)
        spread = _seed_range(budget["seeds"])
        rows.append((f"{label}, mean of {n_seeds}", *_scores(budget["seed_mean"], spread), flags))
        if budget["seed_average"] is not None:
            rows.append((f"{label}, averaged forecast", *_scores(budget["seed_average"]), ""))
    return Table(("model", *_SCORE_HEADER, "notes"), tuple(rows))


def _scores(scores: Mapping[str, Any], spread: str = "") -> tuple[str, ...]:
    validation, test = scores["validation"], scores["test"]
    return (
        *(
            number(validation["log_loss"]),
            signed(validation["skill"]),
            number(validation.get("auc")),
        ),
        *(number(test["log_loss"]), signed(test["skill"]), spread, number(test.get("auc"))),
        *(number(test.get(name)) for name in ("brier", "average_precision", "calibration_error")),
    )


def _seed_range(seeds: Sequence[Mapping[str, Any]]) -> str:
    skills = [seed["test"]["skill"] for seed in seeds]
    return f"{signed(min(skills))} … {signed(max(skills))}"


def winner_table(cell: Mapping[str, Any]) -> Table:
    """Return the chosen architecture and recipe of every budget, and what the search spent."""
    rows = []
    for label, budget in cell["budgets"].items():
        recipe = budget["recipe"] or {}
        rows.append(
            (
                label,
                budget["architecture"] or NOTHING,
                "" if budget["n_parameters"] is None else f"{budget['n_parameters']:,}",
                *(f"{recipe[name]:.3g}" if name in recipe else "" for name in _RECIPE),
                "" if budget["trial"] is None else str(budget["trial"]),
                " / ".join(str(n) for n in budget["n_trials"].values()),
                str(budget["n_test_scorings"]),
            )
        )
    header = ("budget", "d×L×heads×d_ff", "parameters", "learning rate", "weight decay", "dropout")
    trials = ("warm-up steps", "epochs", "trial", "complete / pruned / failed", "times on test")
    return Table((*header, *trials), tuple(rows), n_text=2)


def law_table(judged: Mapping[str, Any]) -> Table:
    """Return the laws fitted in one cell, with the intervals where there are any."""
    rows = []
    for part in PARTS:
        verdict = judged[part]
        intervals = {i["law"]: i for i in verdict["intervals"]}
        for fit in verdict["comparison"]["fits"]:
            interval = intervals.get(fit["law"])
            bounded = "alpha" in fit["at_bound"]
            rows.append(
                (
                    part,
                    true_minus(fit["formula"]),
                    fitted_text(fit["parameters"]),
                    number(verdict["comparison"]["delta_aicc"][fit["law"]], digits=1),
                    _left_out(verdict["extrapolation"], fit["law"]),
                    AT_BOUND if bounded else _interval(interval and interval["alpha"]),
                    # Without a floor a law at its bound can only fall: its interval says nothing.
                    NOTHING
                    if bounded and "E" not in fit["parameters"]
                    else _interval(interval and interval["loss_difference"]),
                )
            )
        if verdict["line"] is not None:
            rows.append(_line_row(part, verdict))
    header = (
        *("part", "law", "fitted", "ΔAICc", "error on budgets left out, and on the largest"),
        *("alpha, interval", "largest − smallest, interval"),
    )
    return Table(header, tuple(rows), n_text=3)


def _line_row(part: Part, verdict: Mapping[str, Any]) -> tuple[Part, str, str, str, str, str, str]:
    line, constant = verdict["line"], verdict["comparison"]["delta_aicc"][Constant.name]
    change = dict(zip(("estimate", "low", "high"), line["change"], strict=True))
    return (
        part,
        LINE_OF_LOSS,
        fitted_text(line["parameters"]),
        number(constant - line["delta_aicc"], digits=1),
        NOTHING,
        NOTHING,
        _interval(change),
    )


def _left_out(extrapolation: Mapping[str, Any], law: str) -> str:
    """Return the rms error of every budget predicted from the others, and that of the largest."""
    one = extrapolation.get(short_name(find_law(law)))
    if one is None or one["rms_error"] is None or one["largest"] is None:
        return NOTHING
    return f"{number(one['rms_error'], digits=4)}, {signed(one['largest']['error'], digits=4)}"


def parts_table(summary: Mapping[str, Any]) -> Table:
    """Return size, dates and event rate of the parts of every cell that has them."""
    rows = [
        (
            cell["cell"],
            name,
            part["first_date"],
            part["last_date"],
            f"{part['n']:,}",
            NOTHING if part["event_rate"] is None else f"{100 * part['event_rate']:.1f}%",
        )
        for cell in summary["cells"]
        for name, part in cell["parts"].items()
    ]
    return Table(("cell", "part", "first", "last", "predictions", "events"), tuple(rows), n_text=4)


def identity_table(records: Sequence[Record]) -> Table:
    """Return the hashes that the records of every experiment carry, shortened."""
    kinds: dict[tuple[str, ...], int] = {}
    for record in records:
        kinds[_identity_row(record)] = kinds.get(_identity_row(record), 0) + 1
    rows = tuple((*row, str(count)) for row, count in kinds.items())
    return Table(
        ("experiment", "settings", "data", "grid", "code", "version", "records"), rows, n_text=6
    )


def _identity_row(record: CellRecord) -> tuple[str, ...]:
    parts = record.identity
    hashes = (parts.settings, parts.data, parts.grid, parts.code)
    return (record.experiment, *(h[:_HASH_DIGITS] for h in hashes), record.code_version)


def final_table(summary: Mapping[str, Any]) -> Table:
    """Return the ledger record behind every final score."""
    rows = [
        (
            f"{label}_{cell['cell']}",
            seed["uid"],
            str(seed["seed"]),
            str(seed["best_epoch"]),
            f"{seed['duration_s']:,.0f}",
            number(seed["validation"]["log_loss"], digits=4),
            number(seed["test"]["log_loss"], digits=4),
        )
        for cell in summary["cells"]
        for label, budget in cell["budgets"].items()
        for seed in budget["seeds"]
    ]
    header = ("experiment", "ledger uid", "seed", "best epoch", "duration, s")
    return Table((*header, "log-loss validation", "log-loss test"), tuple(rows), n_text=2)


def _interval(interval: Mapping[str, float] | None) -> str:
    if not interval:
        return NOTHING
    estimate, low, high = (f"{interval[k]:.3g}" for k in ("estimate", "low", "high"))
    return true_minus(f"{estimate} ({low} to {high})")


def _size_range(sizes: Sequence[int | None]) -> str:
    known = sorted({size for size in sizes if size is not None})
    if not known:
        return NOTHING
    low, high = count_text(known[0]), count_text(known[-1])
    return low if low == high else f"{low} – {high}"


def _union(groups: Any) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))
