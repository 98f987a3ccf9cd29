"""How often the comparisons of models claim what is not so, and how often they see what is.

python benchmarks/comparisons.py         1,000 repetitions of each design, to docs/measured
python benchmarks/comparisons.py 100     with 100

A fifth as many where one model is better. No two designs share random numbers.

Six models forecast whether the high of the next 1 or 5 bars reaches 1% on a market whose volatility
wanders. Each knows today's volatility, and errs by a noise of its own on the log odds, which lasts
for days. Equal models have equal noise, so that none is better than another; then one of them is
given half the noise. Labels of 5 bars overlap, and a model's noise persists: losses depend on those
of the days before, which is what the block bootstrap is there for.

Counted are, over repetitions of that whole world:

pair_says_better
    The 95% interval of the paired difference of model 1 from the benchmark lies below 0.
pair_excludes_zero
    It lies on either side of 0.
spa_rejects
    The test of superior predictive ability of five models against the benchmark, at 5%.
set_loses_the_best
    The 95% model confidence set over all six leaves out the best one (among equals: any of them).
set_drops_the_benchmark
    The confidence set leaves out the benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special
from scipy.signal import lfilter
from scipy.stats import binomtest

from finscale.evaluation.bootstrap import FloatArray, block_length, resample
from finscale.evaluation.comparisons import (
    RowLosses,
    model_confidence_set,
    paired_difference,
    superior_ability,
)
from finscale.evaluation.metrics import row_log_loss
from finscale.evaluation.multiplicity import rejects
from finscale.files import write_text_atomic
from finscale.market.simulate.session import p_high_reaches
from finscale.seeds import derive_seed

OUT = Path(__file__).parents[1] / "docs" / "measured" / "comparisons.json"
LEVEL = float(np.log1p(0.01))
N_MODELS, N_SAMPLES, CONFIDENCE = 6, 500, 0.95
NOISE, LESS_NOISE, NOISE_PERSISTENCE = 0.5, 0.25, 0.8
USUAL_VOLATILITY, VOLATILITY_PERSISTENCE, VOLATILITY_SPREAD = 0.01, 0.97, 0.4
_BURN_IN = 200

# Name of a design to horizon, test dates, and whether model 1 is better than the others.
DESIGNS: dict[str, tuple[int, int, bool]] = {
    f"h{horizon}, {n_dates} dates, {'one is better' if is_better else 'equal models'}": (
        horizon,
        n_dates,
        is_better,
    )
    for horizon in (1, 5)
    for n_dates in (250, 1000)
    for is_better in (False, True)
}


def _wandering(
    rng: np.random.Generator, n_dates: int, n_series: int, persistence: float
) -> FloatArray:
    """Draw autoregressions of variance 1, shape (dates, series)."""
    shocks = rng.standard_normal((n_dates + _BURN_IN, n_series)) * np.sqrt(1.0 - persistence**2)
    return np.asarray(lfilter([1.0], [1.0, -persistence], shocks, axis=0)[_BURN_IN:])


def draw_losses(
    rng: np.random.Generator, horizon_bars: int, n_dates: int, *, is_better: bool
) -> FloatArray:
    """Draw a market, and losses of shape (dates, models); column 0 is the benchmark's."""
    n_bars = n_dates + horizon_bars
    wandering = _wandering(rng, n_bars, 1, VOLATILITY_PERSISTENCE)[:, 0]
    sigma = USUAL_VOLATILITY * np.exp(VOLATILITY_SPREAD * wandering)
    move = sigma * rng.standard_normal(n_bars)
    # The highest point of a Brownian path between two closes that are `move` apart.
    peak = (move + np.sqrt(move**2 - 2.0 * sigma**2 * np.log(rng.random(n_bars)))) / 2.0
    before = np.cumsum(move) - move
    reached = np.column_stack(
        [
            (before + peak)[ahead : ahead + n_dates] - before[1 : n_dates + 1]
            for ahead in range(1, horizon_bars + 1)
        ]
    )
    label = (reached.max(axis=1) >= LEVEL).astype(np.float64)
    today = sigma[:n_dates] * np.sqrt(horizon_bars)
    log_odds = special.logit(np.clip(p_high_reaches(LEVEL, 0.0, today), 1e-6, 1.0 - 1e-6))
    scale_M = np.full(N_MODELS, NOISE)
    if is_better:
        scale_M[1] = LESS_NOISE
    noise_TM = scale_M * _wandering(rng, n_dates, N_MODELS, NOISE_PERSISTENCE)
    return np.column_stack(
        [row_log_loss(special.expit(log_odds + noise), label) for noise in noise_TM.T]
    )


def compare(
    loss_TM: FloatArray, horizon_bars: int, seed: int, *, is_better: bool
) -> dict[str, bool]:
    """Return what the comparisons claim of one drawn world."""
    n_dates = len(loss_TM)
    drawn = resample(
        np.arange(n_dates),
        mean_block=block_length(loss_TM[:, 1:] - loss_TM[:, :1], horizon_bars=horizon_bars),
        n_samples=N_SAMPLES,
        seed=seed,
        confidence=CONFIDENCE,
    )
    benchmark, *models = (
        RowLosses(f"model {at}", np.arange(n_dates), loss_T) for at, loss_T in enumerate(loss_TM.T)
    )
    gap = paired_difference(models[0], benchmark, drawn).difference
    if gap.low is None or gap.high is None:
        raise RuntimeError("a mean over drawn dates is always defined")
    kept = model_confidence_set([benchmark, *models], drawn).included
    lost = models[0].model not in kept if is_better else len(kept) < N_MODELS
    return {
        "pair_says_better": gap.high < 0.0,
        "pair_excludes_zero": gap.high < 0.0 or gap.low > 0.0,
        "spa_rejects": rejects(
            superior_ability(models, benchmark, drawn).p_value, 1.0 - CONFIDENCE
        ),
        "set_loses_the_best": lost,
        "set_drops_the_benchmark": benchmark.model not in kept,
    }


def measure(name: str, n_repetitions: int) -> dict[str, Any]:
    """Return the rate of each claim with its exact 95% interval, and the planted gain in nats."""
    horizon_bars, n_dates, is_better = DESIGNS[name]
    rng = np.random.default_rng(derive_seed(11, name))
    found: list[dict[str, bool]] = []
    gains = []
    started = time.process_time()
    for repetition in range(n_repetitions):
        loss_TM = draw_losses(rng, horizon_bars, n_dates, is_better=is_better)
        gains.append(float((loss_TM[:, 0] - loss_TM[:, 1]).mean()))
        seed = derive_seed(11, name, repetition)
        found.append(compare(loss_TM, horizon_bars, seed, is_better=is_better))
    rates = {}
    for claim in found[0]:
        result = binomtest(sum(one[claim] for one in found), n_repetitions)
        low, high = result.proportion_ci(confidence_level=0.95, method="exact")
        rates[claim] = {
            "rate": round(result.k / result.n, 4),
            "low": round(float(low), 4),
            "high": round(float(high), 4),
        }
    return {
        "horizon_bars": horizon_bars,
        "n_dates": n_dates,
        "is_better": is_better,
        "n_repetitions": n_repetitions,
        "mean_gain_nats": round(float(np.mean(gains)), 5),
        "rates": rates,
        "cpu_s": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Measure all designs."""
    os.nice(5)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repetitions", type=int, nargs="?", default=1000)
    n_repetitions = parser.parse_args().repetitions
    designs = {}
    for name, (_, _, is_better) in DESIGNS.items():
        designs[name] = measure(name, n_repetitions // 5 if is_better else n_repetitions)
        told = "  ".join(f"{k} {one['rate']:.1%}" for k, one in designs[name]["rates"].items())
        print(f"{name:32} {told}  ({designs[name]['cpu_s']} s)", flush=True)
    described = {
        "command": "python benchmarks/comparisons.py",
        "confidence": CONFIDENCE,
        "n_bootstrap": N_SAMPLES,
        "n_models": N_MODELS,
        "noise": NOISE,
        "noise_of_the_better": LESS_NOISE,
        "machine": platform.machine(),
        "numpy": np.__version__,
        "designs": designs,
    }
    write_text_atomic(OUT, json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    main()
