"""How often the laboratory finds something where there is nothing.

python benchmarks/nulls.py record --repetitions 100   run what is missing of them
python benchmarks/nulls.py summary                    the rates of what is recorded so far

Repetitions go to docs/measured/nulls.jsonl, a line each, and their rates to nulls.json; stopped at
any moment, it goes on where it was.

Two kinds of nothing: the labels of a real index (S&P 500 and NASDAQ in turn) in random order, and a
random walk. A repetition is a whole study of six budgets through the pipeline: searched, trained
with three seeds each, scored, and judged. Counted is how often a claim is made that cannot be true:

falls_on_test, rises_on_test, falls_on_validation
    The verdict on that part.
beats_the_baseline
    The budget chosen on validation has a 95% interval of its paired difference of test losses
    below 0 against the base rate and against the baseline chosen on validation.
beats_the_base_rate
    Against the base rate alone.
base_rate_left_out_of_confidence_set
    On these data the true base rate is the best forecast there is.

And one that may well be true, and is shown beside them:

superior_to_volatility
    The test of superior predictive ability of all budgets against the volatility baseline, at 5%.
    Fitted to a few hundred rows of noise that baseline is worse than the base rate, and whatever
    stays near the base rate is better than it. "Beats the baseline" asks for both.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import torch
from scipy.stats import binomtest

from finscale.evaluation.comparisons import Difference
from finscale.evaluation.evidence import EvidenceInputs, EvidenceSettings, cell_evidence
from finscale.evaluation.forecasts import gather_forecasts
from finscale.evaluation.multiplicity import rejects
from finscale.evaluation.predictions import read_predictions
from finscale.experiments import code_hash
from finscale.files import Ledger, read_json, write_text_atomic
from finscale.machine.environment import describe_environment
from finscale.pipeline.run import run_study
from finscale.pipeline.work import Stage
from finscale.records import BASE_RATE
from finscale.study import Study
from finscale.study_file import parse_study

MEASURED = Path(__file__).parents[1] / "docs" / "measured"
LINES, RATES = MEASURED / "nulls.jsonl", MEASURED / "nulls.json"
NULLS = ("shuffled_labels", "random_walk")
STATED_RATE = 0.05
N_SAMPLES = 1000
STAGES: tuple[Stage, ...] = ("search", "train", "evaluate", "fit")

SETTINGS: dict[str, Any] = {
    "name": "null",
    "horizons": [1],
    "windows": {"context_length": 20},
    "patches": {"patch_length": 4, "patch_stride": 4},
    "ladder": {
        "budgets": ["500", "1K", "2K", "4K", "8K", "16K"],
        "tolerance_frac": 0.3,
        "grid": {
            "d_model": [2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40],
            "n_layers": [1, 2],
            "n_heads": [1, 2],
            "ff_ratio": [2],
        },
    },
    "training": {"effective_batch": 200, "patience": 3, "min_delta": 0.0005, "precision": "fp32"},
    "search": {
        "n_trials": 2,
        "n_startup_trials": 2,
        "extremes_first": False,
        "pruner": "none",
        "space": {
            "learning_rate": {"low": 2e-3, "high": 2e-2},
            "dropout": [0.1, 0.3],
            "warmup_steps": [3],
            "epochs": [6],
        },
    },
    "baselines": ["base_rate", "logistic_volatility", "logistic_all"],
    "scaling": {"n_bootstrap": 400},
    "machine": {"device": "cpu", "n_threads": 1},
}
# What differs: where the rows come from, and how many of them are for training (about 600).
DATA: dict[str, dict[str, Any]] = {
    "shuffled_labels": {
        "data": {"source": "bundled", "null": "shuffled_labels"},
        "split": {"by": "fraction", "train_frac": 0.125, "validation_frac": 0.075},
    },
    "random_walk": {
        "data": {"source": "simulated", "market": "random_walk", "n_bars": 1875},
        "split": {"by": "fraction", "train_frac": 0.375, "validation_frac": 0.225},
    },
}


def study_of(null: str, repetition: int) -> Study:
    """Return the study of one repetition; its data, or their order, are drawn from its number."""
    settings = SETTINGS | json.loads(json.dumps(DATA[null])) | {"seed": repetition}
    if null == "random_walk":
        settings["data"]["seed"] = repetition
    else:
        settings["data"]["symbols"] = [("SP500", "NASDAQ")[repetition % 2]]
    return parse_study(settings)


def repeat(null: str, repetition: int) -> dict[str, Any]:
    """Run one repetition and return what it said."""
    started = time.perf_counter()
    study = study_of(null, repetition)
    with tempfile.TemporaryDirectory() as root:
        directory = run_study(study, Path(root) / "run", stages=STAGES).directory
        [(cell, judged)] = read_json(directory.scaling)["cells"].items()
        budgets = tuple(point["budget"] for point in judged["points"])
        models = [
            read_predictions(directory.experiment(f"{budget}_{cell}").predictions)
            for budget in budgets
        ]
        [baselines] = (directory.root / "baselines" / cell).glob("*_predictions.parquet")
        predictions = pl.concat([*models, read_predictions(baselines)])
        described = read_json(directory.data)["cells"][cell]
    evidence = cell_evidence(
        EvidenceInputs(
            predictions=predictions,
            budgets=budgets,
            base_rate=described["base_rate"],
            horizon_bars=study.horizons[0],
        ),
        EvidenceSettings(
            n_bootstrap=N_SAMPLES,
            confidence=1.0 - STATED_RATE,
            seed=study.seed,
            n_experiments=len(budgets),
        ),
    )
    # Of the baselines that learn something, the best on validation; the base rate stands apart.
    on_validation = gather_forecasts(predictions, "validation")
    rival = min((n for n in evidence.baselines if n != BASE_RATE), key=on_validation.mean_loss)
    found = {(one.model, one.benchmark): one for one in evidence.differences}
    chosen = evidence.best_budget or ""
    against = {name: found[chosen, name] for name in (BASE_RATE, rival)}
    verdict, kept = judged["test"], evidence.confidence_set
    return {
        "uid": f"{null}/{repetition}",
        "null": null,
        "repetition": repetition,
        "code": code_hash()[:12],
        "duration_s": round(time.perf_counter() - started, 2),
        "n_rows": evidence.n_rows,
        "kind": {part: judged[part]["kind"] for part in ("validation", "test")},
        "delta_aicc": verdict["delta_aicc"],
        "difference": verdict["change"],
        "sizes": {one["budget"]: one["n_parameters"] for one in judged["points"]},
        "losses": {one["budget"]: one["losses"] for one in judged["points"]},
        "chosen": chosen,
        "best_baseline": rival,
        "mean_block": evidence.comparison_block,
        "against": {
            name: [one.difference.value, one.difference.low, one.difference.high, one.p_value]
            for name, one in against.items()
        },
        "beats": {name: is_below_zero(one) for name, one in against.items()},
        "verdict_beats": verdict["beats"],
        "n_intervals_below_base_rate": sum(
            is_below_zero(found[budget, BASE_RATE]) for budget in budgets
        ),
        "superior_ability": {one.benchmark: one.p_value for one in evidence.superior_ability},
        "confidence_set": list(kept.included if kept else ()),
    }


def is_below_zero(gap: Difference) -> bool:
    """Return whether the whole interval of a difference of losses lies below 0."""
    return gap.difference.high is not None and gap.difference.high < 0.0


FALSE: dict[str, Callable[[dict[str, Any]], bool]] = {
    "falls_on_test": lambda one: one["kind"]["test"] == "falls",
    "rises_on_test": lambda one: one["kind"]["test"] == "rises",
    "falls_on_validation": lambda one: one["kind"]["validation"] == "falls",
    "beats_the_baseline": lambda one: all(one["beats"].values()),
    "beats_the_base_rate": lambda one: one["beats"][BASE_RATE],
    "base_rate_left_out_of_confidence_set": lambda one: BASE_RATE not in one["confidence_set"],
}

MAY_BE_TRUE: dict[str, Callable[[dict[str, Any]], bool]] = {
    "superior_to_volatility": lambda one: rejects(
        one["superior_ability"]["logistic_volatility"], STATED_RATE
    ),
}


def rates(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how often each finding was made, with exact (Clopper-Pearson) 95% intervals."""
    found: dict[str, Any] = {}
    for null in (*NULLS, "both"):
        own = [one for one in lines if null in (one["null"], "both")]
        if not own:
            continue
        found[null] = {"n_repetitions": len(own)}
        for name, is_found in (FALSE | MAY_BE_TRUE).items():
            result = binomtest(sum(bool(is_found(one)) for one in own), len(own))
            low, high = result.proportion_ci(confidence_level=0.95, method="exact")
            found[null][name] = {
                "n": int(result.k),
                "rate": round(result.k / result.n, 4),
                "low": round(float(low), 4),
                "high": round(float(high), 4),
                "above_stated": bool(low > STATED_RATE) if name in FALSE else None,
            }
    return found


def record(n_repetitions: int, n_workers: int) -> None:
    """Run what is missing, a line each, and write the rates after every one."""
    os.nice(15)
    ledger = Ledger(LINES)
    done = {one["uid"] for one in ledger.read().records}
    wanted = [
        (null, repetition)
        for repetition in range(1, n_repetitions + 1)
        for null in NULLS
        if f"{null}/{repetition}" not in done
    ]
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(repeat, *one) for one in wanted]):
            line = future.result()
            ledger.append(line)
            print(line["uid"], line["kind"]["test"], line["beats"], f"{line['duration_s']} s")
            write_rates()


def write_rates() -> dict[str, Any]:
    """Write and return the rates of what is recorded."""
    lines = Ledger(LINES).read().records
    environment = describe_environment(torch.device("cpu"), "")
    document = {
        "command": "python benchmarks/nulls.py record --repetitions 100",
        "stated_rate": STATED_RATE,
        "machine": environment["cpu"],
        "python": environment["python"],
        "torch": environment["packages"]["torch"],
        "settings": SETTINGS,
        "data": DATA,
        "code": sorted({one["code"] for one in lines}),
        "rates": rates(lines),
    }
    write_text_atomic(RATES, json.dumps(document, indent=1) + "\n")
    return document


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("--repetitions", type=int, default=100)
    recording.add_argument("--workers", type=int, default=2)
    commands.add_parser("summary")
    options = parser.parse_args()
    if options.command == "record":
        record(options.repetitions, options.workers)
    print(json.dumps(write_rates(), indent=1))


if __name__ == "__main__":
    main()
