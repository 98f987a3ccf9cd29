"""What each tier of features holds, and what a linear model makes of it, on the S&P 500 1999–2018.

Effective rank is that of Roy & Vetterli (2007), "The effective rank: a measure of effective
dimensionality", EUSIPCO, eq. 4: the exponential of the entropy of the singular values over their
sum, of the standardised features on all usable rows. The participation ratio is
(Σ λ)² / Σ λ² over the eigenvalues of the correlation matrix. A near-copy has an absolute Pearson
correlation above 0.98 with a feature that stands before it.

Skill is 1 - log-loss / log-loss of the training base rate, of a logistic regression that sees the
last row. Training to 2011-12, validation 2012–14, test 2015–18. Its L2 strength is the baselines'
fixed one (C = 1), and, beside it, the best of a grid by cross-validation ordered in time, inside
the training rows: no validation or test label is used to choose anything.

    python benchmarks/feature_tiers.py

writes docs/measured/feature_tiers.json, which docs/features.md shows.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
from common import print_machine
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TimeSeriesSplit
from threadpoolctl import threadpool_limits

from finscale.evaluation.metrics import evaluate, log_loss
from finscale.features.build import FeatureMatrix, build_features
from finscale.features.describe import tier_names_hash
from finscale.features.tiers import TIERS, tier_features
from finscale.files import write_json_atomic
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.sources.bundled import load_bundled
from finscale.splits import Split, SymbolRows, hold_out
from finscale.study import DateSplit, Windows
from finscale.tasks import get_task, label_rows
from finscale.windows import Scaler

OUT = Path(__file__).parents[1] / "docs" / "measured" / "feature_tiers.json"
HORIZONS = (1, 3, 5)
TASK = "threshold_1pct"
CUT = DateSplit(by="date", train_end=dt.date(2011, 12, 31), validation_end=dt.date(2014, 12, 31))
WINDOWS = Windows()
NEAR_COPY = 0.98
FIXED_C = 1.0
GRID_C = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
N_FOLDS = 5

Values = NDArray[np.float32]


def describe(matrix: FeatureMatrix) -> dict[str, Any]:
    """Measure how many directions the features span, and which of them are near-copies."""
    usable = matrix.values[matrix.first_row :].astype(np.float64)
    z = (usable - usable.mean(axis=0)) / usable.std(axis=0)
    singular = np.linalg.svd(z, compute_uv=False)
    share = singular / singular.sum()
    share = share[share > 0]
    eigenvalues = singular**2
    correlation = np.tril(z.T @ z / len(z), k=-1)
    closest = np.abs(correlation).argmax(axis=1)
    copies = [
        {
            "feature": matrix.names[row],
            "of": matrix.names[column],
            "correlation": round(float(correlation[row, column]), 4),
        }
        for row, column in enumerate(closest)
        if abs(correlation[row, column]) > NEAR_COPY
    ]
    return {
        "n_features": len(matrix.names),
        "first_usable_row": matrix.first_row,
        "effective_rank": round(float(np.exp(-(share * np.log(share)).sum())), 1),
        "participation_ratio": round(float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum()), 1),
        "near_copy_frac": round(len(copies) / len(matrix.names), 4),
        "near_copies": copies,
    }


def scaled(matrix: FeatureMatrix, last_seen: int) -> Values:
    """Return the features scaled by the rows up to ``last_seen``, as a study scales them."""
    scaler = Scaler.fit(matrix.values[matrix.first_row : last_seen + 1], WINDOWS.clip)
    return scaler.transform(matrix.values)


def logistic(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=2000)


def choose_c(matrix: FeatureMatrix, labels: Values, train: NDArray[np.int64], gap: int) -> float:
    """Return the strength with the lowest mean log-loss over folds that follow their past."""
    losses = np.zeros(len(GRID_C))
    for past, future in TimeSeriesSplit(N_FOLDS, gap=gap).split(train):
        x = scaled(matrix, train[past[-1]])
        for number, c in enumerate(GRID_C):
            model = logistic(c).fit(x[train[past]], labels[train[past]])
            p = model.predict_proba(x[train[future]])[:, 1]
            losses[number] += log_loss(p, labels[train[future]]) / N_FOLDS
    return GRID_C[int(losses.argmin())]


def score(matrix: FeatureMatrix, labels: Values, split: Split, c: float) -> dict[str, float]:
    x = scaled(matrix, split.train[-1])
    model = logistic(c).fit(x[split.train], labels[split.train])
    base_rate = float(labels[split.train].mean(dtype=np.float64))
    result: dict[str, float] = {"c": c}
    for part in ("validation", "test"):
        rows = split.part(part)
        found = evaluate(model.predict_proba(x[rows])[:, 1], labels[rows], base_rate=base_rate)
        result[f"{part}_skill"] = round(found.skill, 4)
        result[f"{part}_auc"] = round(float(found.auc or np.nan), 4)
    return result


def skills(matrix: FeatureMatrix, bars: OHLCV, horizon: int) -> dict[str, Any]:
    labels = label_rows(bars, get_task(TASK), horizon)
    first_anchor = matrix.first_row + WINDOWS.context_length - 1
    split = hold_out([SymbolRows(matrix.date, first_anchor)], CUT, horizon_bars=horizon)
    chosen = choose_c(matrix, labels, split.train, gap=horizon)
    return {
        "fixed": score(matrix, labels, split, FIXED_C),
        "chosen": score(matrix, labels, split, chosen),
    }


def main() -> None:
    print_machine()
    bars = to_arrays(load_bundled("SP500").bars)
    print(f"{'tier':>5} {'rank':>6} {'copies':>6} {'h':>2} {'C':>6} {'validation':>10} {'test':>6}")
    tiers = []
    for tier in TIERS:
        matrix = build_features(bars, tier_features(tier))
        measured = {
            "tier": tier,
            "names_hash": tier_names_hash(tier),
            **describe(matrix),
            "skill": {},
        }
        for horizon in HORIZONS:
            found = skills(matrix, bars, horizon)
            measured["skill"][f"h{horizon}"] = found
            for one in found.values():
                print(
                    f"{tier:>5} {measured['effective_rank']:6.1f} "
                    f"{measured['near_copy_frac']:6.1%} {horizon:>2} {one['c']:6g} "
                    f"{one['validation_skill']:10.3f} {one['test_skill']:6.3f}",
                    flush=True,
                )
        tiers.append(measured)
    write_json_atomic(
        OUT,
        {
            "data": "SP500",
            "first_date": str(bars.date[0]),
            "last_date": str(bars.date[-1]),
            "task": TASK,
            "train_end": str(CUT.train_end),
            "validation_end": str(CUT.validation_end),
            "near_copy_above": NEAR_COPY,
            "tiers": tiers,
        },
    )
    print(f"written: {OUT}")


if __name__ == "__main__":
    # The last digits depend on the number of threads that share out a matrix product.
    with threadpool_limits(1):
        main()
