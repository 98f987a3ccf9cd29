"""A synthetic run: three horizons, six budgets, and something of everything that can go wrong."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from finscale.evaluation.metrics import evaluate, sigmoid
from finscale.evaluation.predictions import predictions_frame
from finscale.records import (
    BaselineRecord,
    CurvePoint,
    EnsembleRecord,
    FinalRecord,
    Identity,
    Record,
    Scores,
    TrialRecord,
)
from finscale.report.inputs import ReportInput
from finscale.report.summary import build_summary
from finscale.scaling.ledger import count_test_scorings, judge_cells
from finscale.study import Study

SIZES = {
    "5K": 5_281,
    "20K": 20_993,
    "100K": 103_042,
    "500K": 487_681,
    "2M": 2_105_857,
    "10M": 9_871_105,
}
TASK = "threshold_1pct"
HORIZONS = (1, 3, 5)
BASE_RATES = {1: 0.247, 3: 0.462, 5: 0.571}
N_ROWS = {"validation": 640, "test": 990}
N_SEEDS = 3
BASELINES = {
    "base_rate": 9.9,
    "logistic_volatility": 1.25,
    "logistic_all": 0.75,
    "random_forest": 0.9,
    "gradient_boosting": 1.0,
}


@dataclass(frozen=True)
class Run:
    """Everything a report is made of."""

    study: Study
    records: list[Record]
    data: dict[str, Any]
    scaling: dict[str, Any]
    environment: dict[str, Any]
    predictions: dict[str, pl.DataFrame]
    failures: dict[str, str]
    stale: dict[str, tuple[str, ...]]

    @property
    def summary(self) -> dict[str, Any]:
        return build_summary(
            self.study,
            self.records,
            data=self.data,
            scaling=self.scaling,
            failures=self.failures,
            stale=self.stale,
            test_scorings=count_test_scorings(self.records),
        )

    def report_input(self, **changes: Any) -> ReportInput:
        values = {
            "study": self.study,
            "study_yaml": self.study.to_yaml(),
            "summary": self.summary,
            "scaling": self.scaling,
            "data": self.data,
            "environment": self.environment,
            "records": self.records,
            "predictions": self.predictions,
        }
        return ReportInput(**(values | changes))


class Market:
    """Labels of one horizon with a known probability, and forecasters of chosen quality."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.rng = np.random.default_rng(horizon)
        self.base_rate = BASE_RATES[horizon]
        centre = np.log(self.base_rate / (1 - self.base_rate))
        self.logit = {
            part: centre - 0.3 + 1.3 * self.rng.standard_normal(n) for part, n in N_ROWS.items()
        }
        self.label = {
            part: (self.rng.random(z.size) < sigmoid(z)).astype(int)
            for part, z in self.logit.items()
        }
        self.frames: list[pl.DataFrame] = []

    def forecast(self, part: str, noise: float) -> np.ndarray:
        """Shrink the true logit towards the base rate, the more so the noisier it is seen."""
        z = self.logit[part]
        if noise > 9:
            return np.full(z.size, self.base_rate)
        seen = z + noise * self.rng.standard_normal(z.size)
        weight = 1.69 / (1.69 + noise**2)
        return sigmoid(weight * seen + (1 - weight) * z.mean())

    def score(
        self, model: str | None, seed: int | None, p_of_part: dict[str, np.ndarray]
    ) -> Scores:
        """Score forecasts, and keep them under the model's name if there is one."""
        start = {"validation": 3300, "test": 4000}
        for part, p in p_of_part.items() if model is not None else ():
            rows = np.arange(start[part], start[part] + p.size)
            self.frames.append(
                predictions_frame(
                    symbols=["SP500"] * N_ROWS[part],
                    rows=rows,
                    dates=[dt.date(1999, 1, 4) + dt.timedelta(days=int(r)) for r in rows],
                    part=part,
                    labels=self.label[part],
                    model=model,
                    seed=seed,
                    probabilities=p,
                )
            )
        return Scores(
            **{
                part: evaluate(p, self.label[part], base_rate=self.base_rate).as_dict()
                for part, p in p_of_part.items()
            }
        )


def identity(horizon: int, budget: str | None) -> Identity:
    size = 0 if budget is None else SIZES[budget]
    return Identity(
        settings="5e77" * 16,
        data=f"da7a{horizon}{horizon}{horizon}{horizon}" * 8,
        grid=f"{size:064x}"[::-1],
        code="c0de" * 16,
    )


def common(horizon: int, budget: str | None, uid: str, minute: int) -> dict[str, Any]:
    cell = f"h{horizon}_{TASK}"
    return {
        "uid": f"{uid}-{cell}",
        "experiment": cell if budget is None else f"{budget}_{cell}",
        "budget": budget,
        "horizon_bars": horizon,
        "task": TASK,
        "identity": identity(horizon, budget),
        "code_version": "0.1.0",
        "created_at": f"2026-11-20T{8 + minute // 60:02d}:{minute % 60:02d}:00+00:00",
    }


def model_fields(budget: str, shape: int, seed: int) -> dict[str, Any]:
    base = 8 * 2 ** list(SIZES).index(budget)
    d_model, n_layers, n_heads = [
        (base, 2, 2), (2 * base, 1, 4), (base // 2, 6, 1), (base, 3, 4), (base, 2, 8),
    ][shape % 5]  # fmt: skip
    return {
        "d_model": d_model,
        "n_layers": n_layers,
        "n_heads": n_heads,
        "d_ff": d_model * (2 + 2 * (shape % 2)),
        "n_parameters": SIZES[budget] + (0 if shape % 5 == 0 else 13 * shape),
        "recipe": {
            "learning_rate": 3.17e-4,
            "weight_decay": 0.00113,
            "dropout": 0.3,
            "warmup_steps": 200,
            "epochs": 50,
        },
        "effective_batch": 256,
        "micro_batch": 128,
        "precision": "fp32",
        "seed": seed,
    }


def curve(base: float, best: float, overfit: float, n_epochs: int = 26) -> tuple[CurvePoint, ...]:
    """Return curves whose validation loss is lowest, and exactly ``best``, at epoch 14."""
    return tuple(
        CurvePoint(
            epoch=e,
            train_loss=best + (base - best) * np.exp(-e / 5) - overfit * e,
            validation_loss=best + (base - best) * ((e - 14) / 14) ** 2 * (1.0 if e < 14 else 0.4),
        )
        for e in range(1, n_epochs + 1)
    )


REASONS = {
    "complete": "no improvement in 10 epochs",
    "pruned": "behind the median at epoch 8",
    "failed": "loss is not finite at step 312",
}
FORCED = {0: ("smallest d_model",), 1: ("largest n_layers", "deepest and narrowest")}


def trials_of(market: Market, budget: str, best: float, base: float) -> list[TrialRecord]:
    """Return 14 trials: 11 is the best, 9 and 12 are pruned, 4 fails and 2 diverges in some."""
    size = list(SIZES).index(budget)
    rng = np.random.default_rng(100 * market.horizon + size)
    records = []
    for number in range(14):
        fails = number == 4 and size >= 4
        state = "failed" if fails else "pruned" if number in (9, 12) else "complete"
        loss = best if number == 11 else best + 0.002 + abs(0.02 * rng.standard_normal())
        loss = 0.9 if number == 2 and size == 3 else loss
        shape = 0 if number == 11 else number + 1
        records.append(
            TrialRecord(
                **common(market.horizon, budget, f"trial{number}-{budget}", 20 * size + number),
                **model_fields(budget, shape, seed=number),
                trial=number,
                forced=FORCED.get(number, ()),
                state=state,
                reason=REASONS[state],
                validation_loss=None if fails else loss,
                validation_skill=None if fails else 1 - loss / base,
                train_loss=None if fails else loss - 0.01,
                best_epoch=None if fails else 14,
                curve=() if fails else curve(base, loss, 0.001),
                duration_s=41.5 * 2**size,
            )
        )
    return records


def finals_of(
    market: Market, budget: str, noise: float, *, trial: int = 11, minute: int = 200, tag: str = ""
) -> list[Record]:
    """Return the final runs and their average; those with a tag leave no predictions."""
    forecasts = [{part: market.forecast(part, noise) for part in N_ROWS} for _ in range(N_SEEDS)]
    finals: list[Record] = []
    for seed, p_of_part in enumerate(forecasts):
        scores = market.score(None if tag else budget, seed, p_of_part)
        val = scores.validation
        finals.append(
            FinalRecord(
                **common(market.horizon, budget, f"final{seed}{tag}-{budget}", minute + seed),
                **model_fields(budget, 0, seed=seed),
                trial=trial,
                best_epoch=14,
                curve=curve(val["base_log_loss"], val["log_loss"], 0.0005 * len(finals) + 0.002),
                duration_s=63.2,
                flops=4.1e13,
                scores=scores,
            )
        )
    mean = {part: np.mean([f[part] for f in forecasts], axis=0) for part in N_ROWS}
    scores = market.score(None if tag else budget, None, mean)
    finals.append(
        EnsembleRecord(
            **common(market.horizon, budget, f"ensemble{tag}-{budget}", minute + 5),
            members=tuple(f.uid for f in finals),
            n_parameters=SIZES[budget],
            scores=scores,
        )
    )
    return finals


def records_of(market: Market) -> list[Record]:
    records: list[Record] = []
    for name, noise in BASELINES.items():
        p_of_part = {part: market.forecast(part, noise) for part in N_ROWS}
        records.append(
            BaselineRecord(
                **common(market.horizon, None, f"baseline-{name}", 1),
                model=name,
                seed=0,
                duration_s=0.8,
                scores=market.score(name, None, p_of_part),
            )
        )
    base = records[0].scores.validation["log_loss"]
    for size, budget in enumerate(SIZES):
        if market.horizon == 5 and size >= 4:
            continue
        # A fall at h1; no trend at h3; too few budgets at h5.
        noise = {1: 2.2 * 0.62**size + 0.55, 3: 1.1 + 0.15 * (-1) ** size, 5: 1.0}[market.horizon]
        if market.horizon == 3 and budget == "20K":
            noise = 9.9
        finals = finals_of(market, budget, noise, minute=200 + 20 * size)
        best = min(r.scores.validation["log_loss"] for r in finals[:N_SEEDS]) - 0.004
        if market.horizon == 1 and budget == "2M":
            finals = finals_of(market, budget, 1.6, trial=3, minute=150, tag="-old") + finals
        records += trials_of(market, budget, best, base)
        records += finals
    if market.horizon == 5:
        records += trials_of(market, "2M", 0.62, base)[:6]
    return records


def make_data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n_bars = 5031
    sessions = pl.date_range(dt.date(1999, 1, 4), dt.date(2019, 1, 1), interval="1d", eager=True)
    sessions = sessions.filter(sessions.dt.weekday() <= 5)[:n_bars]
    close = 1228.1 * np.exp(np.cumsum(rng.normal(0.0002, 0.012, len(sessions))))
    date = [str(d) for d in sessions]

    def part(start: int, stop: int, rate: float) -> dict[str, Any]:
        return {
            "n": stop - start, "first_date": date[start], "last_date": date[stop - 1],
            "event_rate": rate,
        }  # fmt: skip

    return {
        "name": "bundled SP500",
        "tier": "a25",
        "time_scale": "daily",
        "context": [],
        "feature_names": [f"feature_{i}" for i in range(25)],
        "symbols": [
            {
                "symbol": "SP500",
                "n_bars": n_bars,
                "first_date": date[0],
                "last_date": date[-1],
                "bars_hash": "ba25" * 16,
                "first_usable_row": 254,
                "provenance": {},
                "warnings": [],
            }
        ],
        "closes": {"SP500": {"date": date, "close": close.tolist()}},
        "cells": {
            f"h{h}_{TASK}": {
                "question": f"does the highest high of the next {h} bars reach today's close "
                "plus 1%?",
                "horizon_bars": h,
                "task": TASK,
                "data_size": {"history_frac": 1.0, "n_symbols": None},
                "base_rate": BASE_RATES[h],
                "data_hash": f"da7a{h}{h}{h}{h}" * 8,
                "parts": {
                    "train": part(254, 3271 - h, BASE_RATES[h]),
                    "validation": part(3271, 3911, 0.21),
                    "test": part(3911 + h, 4901 + h, 0.23),
                },
            }
            for h in HORIZONS
        },
    }


ENVIRONMENT = {
    "created_at": "2026-11-20T09:14:03+00:00",
    "finscale_version": "0.1.0",
    "git_commit": "9f2c1e0a7b",
    "python": "3.11.9",
    "platform": "Linux-6.8-x86_64",
    "device": "cpu",
    "cpu": "Example CPU @ 2.40GHz",
    "n_cores": 2,
    "memory_gib": 7.8,
    "packages": {"torch": "2.13.0", "optuna": "5.0.1", "polars": "2.1.0", "numpy": "2.4.0"},
    "code_hash": "c0de" * 16,
}


def make_study() -> Study:
    return Study.model_validate(
        {
            "name": "quickstart",
            "horizons": list(HORIZONS),
            "ladder": {"budgets": list(SIZES)},
            "search": {"n_trials": 14},
        }
    )


def make_run() -> Run:
    markets = [Market(horizon) for horizon in HORIZONS]
    records = [record for market in markets for record in records_of(market)]
    return Run(
        study=make_study(),
        records=records,
        data=make_data(),
        scaling=judge_cells(records, n_bootstrap=400, confidence=0.95, seed=0),
        environment=ENVIRONMENT,
        predictions={f"h{m.horizon}_{TASK}": pl.concat(m.frames) for m in markets},
        failures={
            "10M_h5_threshold_1pct": "no architecture <b>fits</b> into 7.8 GiB; lower the batch"
        },
        stale={"5K_h1_threshold_1pct": ("code", "grid")},
    )


@pytest.fixture(scope="session")
def run() -> Run:
    return make_run()


@pytest.fixture
def empty_run() -> Run:
    return Run(
        study=make_study(), records=[], data={}, scaling={}, environment={}, predictions={},
        failures={}, stale={},
    )  # fmt: skip
