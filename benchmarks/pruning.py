"""What pruning saves in the quickstart's searches, and whether the winner survives it.

python benchmarks/pruning.py record     full searches without pruning, to docs/measured/
python benchmarks/pruning.py replay     what each pruner would have made of them
python benchmarks/pruning.py agreement  how well the loss on some folds ranks trials on others

A replay feeds the recorded values to Optuna's pruner trial by trial and step by step, as the search
would have. It leaves open what the sampler would have drawn after another history.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import CategoricalDistribution
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import TrialState
from scipy.stats import spearmanr

from finscale.dataset.cell import Cell, CellData, prepare_folds
from finscale.dataset.market import load_market
from finscale.experiments import Experiment, code_hash, plan_experiments
from finscale.files import write_text_atomic
from finscale.ladder.batching import Batching
from finscale.models.architecture import Architecture
from finscale.models.cost import training_flops_per_sample
from finscale.pipeline.run import run_study
from finscale.records import TrialRecord, read_records
from finscale.search.folds import FoldScore, pooled_loss, train_folds
from finscale.search.novelty import Proposal
from finscale.search.proposal import draw_trial
from finscale.search.pruning import (
    N_STARTUP_TRIALS,
    FoldMedianPruner,
    ScheduleMedianPruner,
)
from finscale.search.space import central_recipe, forced_parameters, suggest
from finscale.seeds import derive_seed
from finscale.study import Study
from finscale.study_file import load_study
from finscale.training.loop import TrainingResult, train
from finscale.training.recipe import Recipe, TrainingJob

STUDY = Path(__file__).parents[1] / "studies" / "quickstart.yaml"
MEASURED = STUDY.parents[1] / "docs" / "measured" / "pruning.json"
N_FOLDS = 4
FOLDED = f"{N_FOLDS} folds"
# Seeds by kind and experiment; those above 5 were run after the choice, to confirm it.
RECORDED = {
    ("hold-out", "20K_h1_threshold_1pct"): range(1, 11),
    ("hold-out", "80K_h5_threshold_1pct"): range(1, 6),
    (FOLDED, "20K_h1_threshold_1pct"): range(1, 6),
}

Trial = dict[str, Any]


# Recording.


def quickstart(seed: int, *settings: str) -> Study:
    """Return the quickstart without pruning, on one thread."""
    fixed = ("search.pruner=none", "machine.device=cpu", "machine.n_threads=1")
    return load_study(STUDY, [f"seed={seed}", *fixed, *settings])


def record() -> None:
    """Run every search that is not recorded yet."""
    torch.set_num_threads(1)
    searches = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    run = {"hold-out": hold_out_search, FOLDED: folded_search}
    for (kind, name), seeds in RECORDED.items():
        for seed in seeds:
            key = key_of(kind, name, seed)
            if key not in searches:
                started = time.perf_counter()
                searches[key] = {"code": code_hash()[:12], "trials": run[kind](name, seed)}
                write_text_atomic(MEASURED, to_json(searches))
                print(f"{key}: {time.perf_counter() - started:.0f} s", flush=True)


def key_of(kind: str, name: str, seed: int) -> str:
    """Name a recorded search."""
    return f"{kind} {name} seed {seed}"


def to_json(searches: dict[str, Any]) -> str:
    """Write one trial to a line."""
    blocks = []
    for key, search in searches.items():
        trials = ",\n".join(f"  {json.dumps(trial)}" for trial in search["trials"])
        head = f'{json.dumps(key)}: {{"code": {json.dumps(search["code"])}, "trials": ['
        blocks.append(f"{head}\n{trials}\n]}}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def hold_out_search(name: str, seed: int) -> list[Trial]:
    """Run the search of one experiment, and return its learning curves by epoch."""
    study = quickstart(seed)
    with tempfile.TemporaryDirectory() as root:
        directory = run_study(study, Path(root) / "run", stages=("search",), only=name).directory
        records = [one for one in read_records(directory.ledger) if isinstance(one, TrialRecord)]
    return [trial_of_record(study, one) for one in sorted(records, key=lambda one: one.trial)]


def trial_of_record(study: Study, record: TrialRecord) -> Trial:
    """Return what a replay needs of a trial; a step is an epoch."""
    experiment = next(one for one in plan_experiments(study) if one.name == record.experiment)
    cost = training_flops_per_sample(Architecture.parse(record.architecture), experiment.shape)
    return {
        "forced": bool(record.forced),
        "state": record.state,
        "architecture": record.architecture,
        "epochs": record.recipe["epochs"],
        "value": record.validation_loss,
        "step_cost": [cost] * len(record.curve),
        "step_loss": [round(point.validation_loss, 6) for point in record.curve],
    }


def folded_search(name: str, seed: int) -> list[Trial]:
    """Search with walk-forward folds, and return what each trial reached on each fold."""
    study = quickstart(seed, f"split.n_folds={N_FOLDS}")
    experiment = next(one for one in plan_experiments(study) if one.name == name)
    cell = Cell(experiment.horizon_bars, experiment.task, experiment.size)
    folds = prepare_folds(study, load_market(study), cell)
    search = optuna.create_study()
    own = derive_seed(study.seed, name)
    tried: list[Proposal] = []
    trials: list[Trial] = []
    for slot in range(study.search.n_trials):
        forced = slot < len(experiment.extremes)
        if forced:
            recipe = central_recipe(study.search.space)
            proposal = (experiment.extremes[slot].architecture, recipe)
        else:
            draw = draw_trial(
                study.search,
                experiment.architectures,
                seed=own,
                slot=slot,
                n_extremes=len(experiment.extremes),
                history=search.get_trials(deepcopy=False),
                tried=tried,
            )
            proposal = (draw.architecture, draw.recipe)
        tried.append(proposal)
        search.enqueue_trial(dict(forced_parameters(*proposal)))
        asked = search.ask()
        suggest(asked, experiment.architectures, study.search.space)
        seed_of_slot = derive_seed(study.seed, name, slot)
        scores = train_on_folds(study, experiment, folds, proposal, seed_of_slot)
        search.tell(asked, pooled_loss(scores))
        trials.append(trial_of_folds(experiment, folds, proposal, scores, forced=forced))
    return trials


def train_on_folds(
    study: Study,
    experiment: Experiment,
    folds: Sequence[CellData],
    proposal: tuple[Architecture, Recipe],
    seed: int,
) -> tuple[FoldScore, ...]:
    """Train one trial on every fold."""
    architecture, recipe = proposal
    job = TrainingJob(
        architecture=architecture,
        shape=experiment.shape,
        recipe=recipe,
        settings=study.training,
        batching=Batching(study.training.effective_batch, 1),
        seed=seed,
        base_rate=folds[-1].base_rate,
        precision="fp32",
    )

    def train_one(data: CellData, job: TrainingJob, **options: Any) -> TrainingResult:
        windows = data.windows(study.windows.context_length, torch.device("cpu"))
        return train(windows, data.split, job, **options)

    with tempfile.TemporaryDirectory() as root:
        return train_folds(folds, job, train_one, checkpoint=Path(root) / "trial.safetensors")


def trial_of_folds(
    experiment: Experiment,
    folds: Sequence[CellData],
    proposal: Proposal,
    scores: Sequence[FoldScore],
    *,
    forced: bool,
) -> Trial:
    """Return what a replay needs of a trial; a step is a fold."""
    architecture, recipe = proposal
    cost = training_flops_per_sample(architecture, experiment.shape)
    n_train = [len(data.split.train) for data in folds]
    return {
        "forced": forced,
        "state": "complete",
        "architecture": architecture.label,
        "epochs": recipe.epochs,
        "value": pooled_loss(scores),
        "step_cost": [
            cost * len(one.curve) * n / n_train[-1] for one, n in zip(scores, n_train, strict=True)
        ],
        "step_loss": [round(pooled_loss(scores[: one.fold]), 6) for one in scores],
        "fold_loss": [round(one.validation_loss, 6) for one in scores],
        "n_rows": [one.n_rows for one in scores],
    }


# Replaying.


@dataclass(frozen=True)
class Rule:
    """A pruner, and which of the recorded values it is told."""

    name: str
    make: Callable[[], BasePruner]
    values: str = "step_loss"


def median(after: int) -> Callable[[], BasePruner]:
    """Return the maker of Optuna's median pruner."""
    return partial(MedianPruner, n_startup_trials=N_STARTUP_TRIALS, n_warmup_steps=after)


def percentile(keep: float, after: int) -> Callable[[], BasePruner]:
    """Return the maker of a pruner that keeps the best ``keep`` percent."""
    return partial(PercentilePruner, keep, n_startup_trials=N_STARTUP_TRIALS, n_warmup_steps=after)


def patient(after: int, patience: int) -> Callable[[], BasePruner]:
    """Return the maker of a median pruner that waits until a trial stops improving."""
    return lambda: PatientPruner(median(after)(), patience=patience)


def scheduled(after_frac: float) -> Callable[[], BasePruner]:
    """Return the maker of the median at the same share of the schedule."""
    return partial(
        ScheduleMedianPruner,
        after_frac=after_frac,
        after_epochs=1,
        n_startup_trials=N_STARTUP_TRIALS,
    )


BY_EPOCH = (
    *(Rule(f"median from epoch {n}", median(n)) for n in (1, 2, 3, 4, 5)),
    *(Rule(f"best 75% from epoch {n}", percentile(75, n)) for n in (1, 3)),
    *(Rule(f"median from epoch 3, patience {n}", patient(3, n)) for n in (1, 2)),
    Rule("hyperband, 1 to 16 by 3", partial(HyperbandPruner, 1, 16, 3)),
    Rule("hyperband, 4 to 16 by 2", partial(HyperbandPruner, 4, 16, 2)),
    Rule("successive halving, from 4 by 2", partial(SuccessiveHalvingPruner, 4, 2)),
    *(Rule(f"median of the schedule from {n}%", scheduled(n / 100)) for n in (10, 20, 30, 40)),
)
BY_FOLD = (
    *(Rule(f"median from fold {n}", median(n)) for n in (1, 2)),
    *(
        Rule(f"median of the same fold from {n}", partial(FoldMedianPruner, n, N_STARTUP_TRIALS))
        for n in (1, 2, 3)
    ),
    Rule("successive halving, from 1 by 2", partial(SuccessiveHalvingPruner, 1, 2)),
    *(
        Rule(
            f"Wilcoxon, p < {p}",
            partial(WilcoxonPruner, p_threshold=p, n_startup_steps=2),
            "fold_loss",
        )
        for p in (0.1, 0.2, 0.3)
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What a pruner made of one search; savings are shares of the training FLOPs."""

    saved_frac: float
    saved_of_sampled_frac: float
    n_pruned: int
    survived: bool
    loss_added: float


def replay(rule: Rule, trials: Sequence[Trial], name: str) -> Outcome:
    """Feed a search to a pruner; forced trials are reported, and never pruned."""
    study = optuna.create_study(study_name=name, pruner=rule.make())
    schedules = CategoricalDistribution(sorted({trial["epochs"] for trial in trials}))
    saved, kept = {True: 0.0, False: 0.0}, []
    for trial in trials:
        study.enqueue_trial({"epochs": trial["epochs"]})
        asked = study.ask(fixed_distributions={"epochs": schedules})
        n_run, pruned = len(trial["step_loss"]), False
        for step, value in enumerate(trial[rule.values], start=1):
            asked.report(value, step)
            if asked.should_prune() and not trial["forced"]:
                n_run, pruned = step, True
                break
        saved[trial["forced"]] += sum(trial["step_cost"][n_run:])
        if pruned:
            study.tell(asked, state=TrialState.PRUNED)
        else:
            study.tell(asked, trial["value"])
            kept.append(trial["value"])
    sampled = sum(sum(trial["step_cost"]) for trial in trials if not trial["forced"])
    best = min(trial["value"] for trial in trials)
    return Outcome(
        saved_frac=saved[False] / sum(sum(trial["step_cost"]) for trial in trials),
        saved_of_sampled_frac=saved[False] / sampled,
        n_pruned=len(trials) - len(kept),
        survived=min(kept) == best,
        loss_added=min(kept) - best,
    )


def stopped_early_frac(searches: Iterable[Sequence[Trial]]) -> float:
    """Return the share of the scheduled epochs that early stopping had already saved."""
    trials = [trial for trials in searches for trial in trials]
    n_run = sum(len(one["step_loss"]) for one in trials)
    return 1 - n_run / sum(int(one["epochs"]) for one in trials)


def won_by_sampled(trials: Sequence[Trial]) -> bool:
    """Return whether the best trial could have been pruned at all."""
    return not min(trials, key=lambda trial: trial["value"])["forced"]


def print_replay() -> None:
    """Print a table for each kind of search, and one for the seeds that confirm the choice."""
    searches = json.loads(MEASURED.read_text())
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    tables = (
        ("hold-out", BY_EPOCH, range(1, 6)),
        ("hold-out", BY_EPOCH, range(6, 11)),
        (FOLDED, BY_FOLD, range(1, 6)),
    )
    for kind, rules, seeds in tables:
        keys = [
            key_of(kind, name, seed)
            for (of_kind, name), recorded in RECORDED.items()
            for seed in recorded
            if of_kind == kind and seed in seeds
        ]
        chosen = {key: searches[key]["trials"] for key in keys if key in searches}
        if chosen:
            print_table(kind, rules, seeds, chosen)


def print_table(
    kind: str, rules: Sequence[Rule], seeds: range, chosen: dict[str, list[Trial]]
) -> None:
    """Print what each pruner made of the searches."""
    n_won = sum(map(won_by_sampled, chosen.values()))
    print(f"{kind}, seeds {seeds[0]} to {seeds[-1]}: {len(chosen)} searches, ", end="")
    print(f"{n_won} won by a sampled trial")
    if kind == "hold-out":
        print(f"early stopping saved {stopped_early_frac(chosen.values()):.0%} of the epochs")
    print("| pruner | saved | of sampled trials | pruned | winner kept | worst loss, nats |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rule in rules:
        print(f"| {rule.name} | {table_cells(rule, chosen)} |")
    print()


def table_cells(rule: Rule, searches: dict[str, list[Trial]]) -> str:
    """Return the rest of a pruner's row: means over the searches, and the worst."""
    outcomes = [replay(rule, trials, key) for key, trials in searches.items()]
    saved = statistics.mean(one.saved_frac for one in outcomes)
    of_sampled = statistics.mean(one.saved_of_sampled_frac for one in outcomes)
    n_pruned = statistics.mean(one.n_pruned for one in outcomes)
    kept = f"{sum(one.survived for one in outcomes)} of {len(outcomes)}"
    worst = max(one.loss_added for one in outcomes)
    return f"{saved:.0%} | {of_sampled:.0%} | {n_pruned:.1f} | {kept} | {worst:.4f}"


def print_agreement() -> None:
    """Print how well trials are ranked on the last block by those before it, and in all by some."""
    searches = json.loads(MEASURED.read_text())
    print("| scored on | rank correlation | lowest and highest | loss above the best, nats |")
    print("| --- | --- | --- | --- |")
    chosen = [one["trials"] for key, one in searches.items() if key.startswith(FOLDED)]
    for n_blocks in (1, N_FOLDS - 1):
        ranks, losses = [], []
        for trials in chosen:
            loss_TN = np.array([trial["fold_loss"] for trial in trials])
            weights = trials[0]["n_rows"][N_FOLDS - 1 - n_blocks : N_FOLDS - 1]
            earlier_T = np.average(
                loss_TN[:, N_FOLDS - 1 - n_blocks : N_FOLDS - 1], axis=1, weights=weights
            )
            last_T = loss_TN[:, -1]
            ranks.append(float(spearmanr(earlier_T, last_T).statistic))
            losses.append(float(last_T[earlier_T.argmin()] - last_T.min()))
        print(
            f"| {n_blocks} | {statistics.mean(ranks):.2f} | {min(ranks):.2f}, {max(ranks):.2f} "
            f"| {statistics.mean(losses):.4f} |"
        )
    print("\n| folds trained | share of the cost | rank correlation with all folds |")
    print("| --- | --- | --- |")
    for n_folds in range(1, N_FOLDS):
        costs, ranks = [], []
        for trials in chosen:
            cost_TN = np.array([trial["step_cost"] for trial in trials])
            costs.append(float(cost_TN[:, :n_folds].sum() / cost_TN.sum()))
            so_far_T = [trial["step_loss"][n_folds - 1] for trial in trials]
            ranks.append(float(spearmanr(so_far_T, [one["value"] for one in trials]).statistic))
        print(f"| {n_folds} | {statistics.mean(costs):.0%} | {statistics.mean(ranks):.2f} |")


if __name__ == "__main__":
    commands = {"record": record, "replay": print_replay, "agreement": print_agreement}
    commands[sys.argv[1]]()
