"""What each tier of features holds, and what a linear model makes of it, on the S&P 500 1999–2018.

Effective rank is that of Roy & Vetterli (2007), "The effective rank: a measure of effective
dimensionality", EUSIPCO, eq. 4: the exponential of the entropy of the singular values over their
sum, of the standardised features on all usable rows. The participation ratio is
(Σ λ)² / Σ λ² over the eigenvalues of the correlation matrix. A near-copy has an absolute Pearson
correlation above 0.98 with a feature that stands before it, a rank copy an absolute Spearman
correlation; R² is that of a regression on all features that stand before.

Skill is 1 - log-loss / log-loss of the training base rate, of a logistic regression that sees the
last row. Training to 2011-12, validation 2012–14, test 2015–18. Its L2 strength is C = 1, and,
beside it, what ``finscale.baselines.strength.choose_strength`` chooses inside the training rows: no
validation or test label is used to choose anything. The difference to a25 has a 95% interval from a
circular block bootstrap of the rows' losses (Politis & Romano, 1992), the same blocks for both
models.

    python benchmarks/feature_tiers.py

writes docs/measured/feature_tiers.json, which docs/features.md shows.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import print_machine
from numpy.typing import NDArray
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from finscale.baselines.strength import choose_strength, exact, logistic
from finscale.evaluation.metrics import evaluate
from finscale.features.build import FeatureMatrix, build_features
from finscale.features.describe_measured import fingerprints, tier_names_hash
from finscale.features.tiers import TIERS, tier_features
from finscale.files import write_json_atomic
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.sources.bundled import load_bundled
from finscale.splits import PARTS, Split, SymbolRows, hold_out
from finscale.study_rows import DateSplit, Windows
from finscale.tasks import get_task, label_rows
from finscale.windows import Scaler

OUT = Path(__file__).parents[1] / "docs" / "measured" / "feature_tiers.json"
HORIZONS = (1, 3, 5)
TASK = "threshold_1pct"
CUT = DateSplit(by="date", train_end=dt.date(2011, 12, 31), validation_end=dt.date(2014, 12, 31))
WINDOWS = Windows()
NEAR_COPY = 0.98
EXPLAINED = 0.99
OFTEN_CLIPPED = 0.2
FIXED_C = 1.0
N_RESAMPLES = 2000
# About a month, several times the reach of a label: neighbouring losses go together.
BLOCK_BARS = 20
# An open within this of the previous close is no open of its own.
STALE_OPEN = 1e-4

Values = NDArray[np.float32]
FloatArray = NDArray[np.float64]
Rows = NDArray[np.int64]


def standardised(values: FloatArray) -> FloatArray:
    """Return columns of mean zero and length one."""
    centred = values - values.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=0)


def closest(z: FloatArray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the features that correlate above NEAR_COPY with one that stands before them."""
    correlation = np.tril(z.T @ z, k=-1)
    nearest = np.abs(correlation).argmax(axis=1)
    return [
        {
            "feature": names[row],
            "of": names[column],
            "correlation": round(float(correlation[row, column]), 4),
        }
        for row, column in enumerate(nearest)
        if abs(correlation[row, column]) > NEAR_COPY
    ]


def explained(z: FloatArray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the features that those before them explain by more than EXPLAINED, most first."""
    # Of columns of length one, R's diagonal is what is left of each after those before it.
    r_squared = 1 - np.diag(np.linalg.qr(z, mode="r")) ** 2
    found = [
        {"feature": name, "r_squared": round(float(one), 5)}
        for name, one in zip(names, r_squared, strict=True)
        if one > EXPLAINED
    ]
    return sorted(found, key=lambda one: -one["r_squared"])


def describe(matrix: FeatureMatrix) -> dict[str, Any]:
    """Measure how many directions the features span, and which of them say what others say."""
    usable = matrix.values[matrix.first_row :].astype(np.float64)
    z = standardised(usable)
    singular = np.linalg.svd(z, compute_uv=False)
    share = singular / singular.sum()
    share = share[share > 0]
    eigenvalues = singular**2
    copies = closest(z, matrix.names)
    follow = explained(z, matrix.names)
    return {
        "n_features": len(matrix.names),
        "first_usable_row": matrix.first_row,
        "effective_rank": round(float(np.exp(-(share * np.log(share)).sum())), 1),
        "participation_ratio": round(float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum()), 1),
        "near_copy_frac": round(len(copies) / len(matrix.names), 4),
        "near_copies": copies,
        "rank_copies": closest(standardised(rankdata(usable, axis=0)), matrix.names),
        "explained_frac": round(len(follow) / len(matrix.names), 4),
        "explained": follow,
    }


def scaled(matrix: FeatureMatrix, last_seen: int) -> Values:
    """Return the features scaled by the rows up to ``last_seen``, as a study scales them."""
    scaler = Scaler.fit(matrix.values[matrix.first_row : last_seen + 1], WINDOWS.clip)
    return scaler.transform(matrix.values)


def often_clipped(matrix: FeatureMatrix, split: Split) -> list[dict[str, Any]]:
    """Return the features that are clipped in more than OFTEN_CLIPPED of a part, most first."""
    x = np.abs(scaled(matrix, split.train[-1])) == WINDOWS.clip
    shares = {part: x[split.part(part)].mean(axis=0) for part in PARTS}
    found = [
        {"feature": name} | {part: round(float(shares[part][column]), 3) for part in PARTS}
        for column, name in enumerate(matrix.names)
        if max(shares[part][column] for part in PARTS) > OFTEN_CLIPPED
    ]
    return sorted(found, key=lambda one: -max(one[part] for part in PARTS))


def losses(p: FloatArray, labels: Values) -> FloatArray:
    """Return each row's log-loss, in nats."""
    return -np.log(np.where(labels == 1, p, 1 - p).clip(1e-7))


@dataclass(frozen=True)
class Scored:
    """One model on one horizon: its figures, and each row's loss in each part, base rate's too."""

    figures: dict[str, float]
    losses: dict[str, FloatArray]
    base: dict[str, FloatArray]


def score(x: Values, labels: Values, split: Split, c: float) -> Scored:
    model = logistic(c).fit(exact(x[split.train]), labels[split.train])
    base_rate = float(labels[split.train].mean(dtype=np.float64))
    figures, by_row, base = {"c": c}, {}, {}
    for part in ("validation", "test"):
        rows = split.part(part)
        p = model.predict_proba(exact(x[rows]))[:, 1]
        found = evaluate(p, labels[rows], base_rate=base_rate)
        figures[f"{part}_skill"] = round(found.skill, 4)
        figures[f"{part}_auc"] = round(float(found.auc or np.nan), 4)
        by_row[part] = losses(p, labels[rows])
        base[part] = losses(np.full(len(rows), base_rate), labels[rows])
    return Scored(figures, by_row, base)


def interval(one: FloatArray, other: FloatArray, base: FloatArray) -> list[float]:
    """Return the 95% interval of the skill of ``one`` less that of ``other``."""
    n = len(one)
    starts = np.random.default_rng(0).integers(0, n, (N_RESAMPLES, -(-n // BLOCK_BARS)))
    rows = ((starts[:, :, None] + np.arange(BLOCK_BARS)) % n).reshape(N_RESAMPLES, -1)[:, :n]
    gains = (other - one)[rows].sum(axis=1) / base[rows].sum(axis=1)
    return [round(float(bound), 4) for bound in np.quantile(gains, [0.025, 0.975])]


def skills(matrix: FeatureMatrix, bars: OHLCV, horizon: int) -> dict[str, Scored]:
    labels = label_rows(bars, get_task(TASK), horizon)
    split = cut(matrix, horizon)
    x, train = scaled(matrix, split.train[-1]), split.train
    chosen = choose_strength(x[train], labels[train], matrix.date[train], horizon)
    return {
        "fixed": score(x, labels, split, FIXED_C),
        "chosen": score(x, labels, split, chosen),
    }


def cut(matrix: FeatureMatrix, horizon: int) -> Split:
    first_anchor = matrix.first_row + WINDOWS.context_length - 1
    return hold_out([SymbolRows(matrix.date, first_anchor)], CUT, horizon_bars=horizon)


def stale_opens(bars: OHLCV) -> dict[str, float]:
    """Return the share of opens that are the previous close, by year."""
    stale = np.abs(np.log(bars.open[1:] / bars.close[:-1])) < STALE_OPEN
    years = bars.date[1:].astype("datetime64[Y]")
    return {str(year): round(float(stale[years == year].mean()), 3) for year in np.unique(years)}


def main() -> None:
    print_machine()
    bars = to_arrays(load_bundled("SP500").bars)
    print(f"{'tier':>5} {'rank':>6} {'copies':>6} {'h':>2} {'C':>6} {'validation':>10} {'test':>6}")
    tiers: list[dict[str, Any]] = []
    smallest: dict[int, Scored] = {}
    for tier in TIERS:
        matrix = build_features(bars, tier_features(tier))
        measured: dict[str, Any] = {
            "tier": tier,
            "names_hash": tier_names_hash(tier),
            **describe(matrix),
            "often_clipped": often_clipped(matrix, cut(matrix, 1)),
            "skill": {},
        }
        for horizon in HORIZONS:
            found = skills(matrix, bars, horizon)
            chosen = found["chosen"]
            other = smallest.setdefault(horizon, chosen)
            measured["skill"][f"h{horizon}"] = {
                **{kind: one.figures for kind, one in found.items()},
                "less_a25": {
                    part: interval(chosen.losses[part], other.losses[part], chosen.base[part])
                    for part in chosen.losses
                },
            }
            for one in found.values():
                print(
                    f"{tier:>5} {measured['effective_rank']:6.1f} "
                    f"{measured['near_copy_frac']:6.1%} {horizon:>2} {one.figures['c']:6g} "
                    f"{one.figures['validation_skill']:10.3f} {one.figures['test_skill']:6.3f}",
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
            "explained_above": EXPLAINED,
            "often_clipped_above": OFTEN_CLIPPED,
            "clip": WINDOWS.clip,
            "n_resamples": N_RESAMPLES,
            "block_bars": BLOCK_BARS,
            "stale_open_frac": stale_opens(bars),
            "tiers": tiers,
            "fingerprints": fingerprints(matrix),
        },
    )
    print(f"written: {OUT}")


if __name__ == "__main__":
    # The last digits depend on the number of threads that share out a matrix product.
    with threadpool_limits(1):
        main()
