"""Building features: one symbol, and a panel in parallel, beside a plain pandas build.

«pandas» is what one would write first: rolling methods where pandas has one, ``rolling.apply`` with
a Python function where it has none; 20 and 100 features. «finscale» builds its tiers from the same
bars. A panel is the command itself, ``finscale features build --all``, on a catalogue of synthetic
bars: start, reading, checking, building, writing and registering all count. Memory is the largest
sum of the resident sizes of all its processes, which counts shared pages once for each.

    python benchmarks/features.py [--quick] [--workers N]

writes docs/measured/features_speed.json; not with --quick.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import psutil
import torch
from common import print_machine

from finscale.features.build import build_features
from finscale.features.registry import Feature
from finscale.features.tiers import TIERS, tier_features
from finscale.files import write_json_atomic
from finscale.machine.environment import describe_environment
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.catalog import Catalog
from finscale.market.names import bars_name

OUT = Path(__file__).parents[1] / "docs" / "measured" / "features_speed.json"
N_PANEL_SYMBOLS, N_PANEL_BARS, PANEL_TIER = 500, 7_500, "a200"
SLOW_MS = 5.0


def synthetic_bars(n_bars: int, seed: int) -> pl.DataFrame:
    """Return a random walk whose volatility and volume wander, as a frame of bars."""
    rng = np.random.default_rng(seed)
    volatility = 0.01 * np.exp(np.cumsum(rng.normal(0.0, 0.03, n_bars)).clip(-1.5, 1.5))
    close = 100 * np.exp(np.cumsum(volatility * rng.standard_t(5, n_bars)).clip(-4, 4))
    opened = np.roll(close, 1) * np.exp(0.3 * volatility * rng.standard_normal(n_bars))
    opened[0] = close[0]
    spread = volatility * np.abs(rng.standard_normal((2, n_bars)))
    days = pd.bdate_range("1990-01-01", periods=n_bars).to_numpy().astype("datetime64[D]")
    return pl.DataFrame(
        {
            "symbol": [f"S{seed:03}"] * n_bars,
            "date": days,
            "open": opened,
            "high": np.maximum(opened, close) * np.exp(spread[0]),
            "low": np.minimum(opened, close) * np.exp(-spread[1]),
            "close": close,
            "volume": np.round(1e6 * np.exp(rng.normal(0.0, 0.5, n_bars))),
        }
    )


# --- the plain build ----------------------------------------------------------------------------


def pandas_build(bars: pd.DataFrame, n_features: int) -> pd.DataFrame:
    """Build 20 features with rolling methods, and any further ones with Python functions."""
    close, returns = bars["close"], np.log(bars["close"]).diff()
    columns: dict[str, pd.Series] = {}
    for n in (5, 10, 20, 50, 100):
        columns[f"sma_{n}"] = close / close.rolling(n).mean() - 1
        columns[f"volatility_{n}"] = returns.rolling(n).std()
        columns[f"range_{n}"] = (close - bars["low"].rolling(n).min()) / (
            bars["high"].rolling(n).max() - bars["low"].rolling(n).min()
        )
        columns[f"volume_{n}"] = bars["volume"] / bars["volume"].rolling(n).mean()
    periods = itertools.product((5, 10, 15, 20, 30, 40, 60, 80, 100, 120), _BY_HAND.items())
    for n, (name, function) in itertools.islice(periods, n_features - 20):
        columns[f"{name}_{n}"] = returns.rolling(n).apply(function, raw=True)
    return pd.DataFrame(columns)


def _slope(window: np.ndarray) -> float:
    time_, mean = np.arange(len(window)) - (len(window) - 1) / 2, window.mean()
    return float((time_ * (window - mean)).sum() / (time_**2).sum())


def _autocorrelation(window: np.ndarray) -> float:
    x, y = window[:-1] - window[:-1].mean(), window[1:] - window[1:].mean()
    return float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))


def _drawdown(window: np.ndarray) -> float:
    worst = highest = total = 0.0
    for step in window:
        total += step
        highest = max(highest, total)
        worst = min(worst, total - highest)
    return worst


def _streak(window: np.ndarray) -> float:
    length = 0
    for step in window[::-1]:
        if step <= 0:
            break
        length += 1
    return length


_BY_HAND: dict[str, Callable[[np.ndarray], float]] = {
    "slope": _slope,
    "autocorrelation": _autocorrelation,
    "drawdown": _drawdown,
    "streak": _streak,
    "rank": lambda window: float((window < window[-1]).mean()),
    "skew": lambda window: float(((window - window.mean()) ** 3).mean() / window.std() ** 3),
    "semi_variance": lambda window: float((np.minimum(window, 0) ** 2).mean()),
    "up_share": lambda window: float((window > 0).mean()),
}


# --- measuring ----------------------------------------------------------------------------------


def build_time_s(bars: OHLCV, features: tuple[Feature, ...], *, repeats: int) -> float:
    """Return the median time of a build from bars that have computed nothing yet."""
    return _median_s(lambda: build_features(bars.head(len(bars)), features), repeats=repeats)


def _median_s(work: Callable[[], object], *, repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@dataclass(frozen=True)
class Panel:
    """What building a panel took.

    ``cpu_s`` is the processor time of the command and its workers: over their number, it is what
    the build would take on a machine with nothing else to do.
    """

    n_symbols: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    written_bytes: int


def panel(n_symbols: int, tier: str, n_workers: int) -> Panel:
    """Run the command on a catalogue of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "data"
        catalog = Catalog(root)
        for seed in range(n_symbols):
            frame = synthetic_bars(N_PANEL_BARS, seed)
            catalog.register(
                bars_name(f"S{seed:03}"), frame, source="made for the benchmark", provenance={}
            )
        before = set(root.rglob("*.parquet"))
        program = str(Path(sys.executable).with_name("finscale"))
        command = [program, "features", "build", "--all"]
        command += ["--catalog", str(root), "--tier", tier, "--workers", str(n_workers)]
        cpu_before_s, started = _children_cpu_s(), time.perf_counter()
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        out, peak_bytes = _communicate(running)
        wall_s = time.perf_counter() - started
        n_built = sum("registered" in line for line in out.splitlines())
        if running.returncode or n_built != n_symbols:
            raise SystemExit(f"{n_built} of {n_symbols} built, exit code {running.returncode}")
        written = sum(path.stat().st_size for path in set(root.rglob("*.parquet")) - before)
        return Panel(n_symbols, wall_s, _children_cpu_s() - cpu_before_s, peak_bytes, written)


def _communicate(running: subprocess.Popen[str]) -> tuple[str, int]:
    """Wait for a command; return what it printed, and its peak memory, sampled."""
    peak, done, top = [0], threading.Event(), psutil.Process(running.pid)

    def sample() -> None:
        while not done.wait(0.1):
            total = 0
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in (top, *top.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        total += process.memory_info().rss
            peak[0] = max(peak[0], total)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        out, _ = running.communicate()
    finally:
        done.set()
        sampler.join()
    return out, peak[0]


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def slow_features(bars: OHLCV, features: tuple[Feature, ...]) -> list[tuple[float, str]]:
    """Return the features that take more than SLOW_MS ms, slowest first."""
    warm = bars.head(len(bars))
    for one in features:
        one.function(warm)
    # The best of five: what another program took away is not the feature's.
    timed = [
        (1e3 * min(timeit.repeat(partial(one.function, warm), number=1, repeat=5)), one.name)
        for one in features
    ]
    return sorted((one for one in timed if one[0] > SLOW_MS), reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a panel of 10; writes no file")
    parser.add_argument("--workers", type=int, default=2, help="processes for the panel")
    arguments = parser.parse_args()
    quick, n_workers = arguments.quick, arguments.workers
    print_machine()
    env = describe_environment(torch.device("cpu"), "")

    frame = synthetic_bars(5_000, 1)
    bars, table = to_arrays(frame), pd.DataFrame(frame.to_dict(as_series=False))
    print(f"\n{'one symbol, 5,000 bars':>24} {'seconds':>8} {'ms/feature':>10}")
    plain, built = {}, {}
    for n in (20, 100):
        plain[n] = _median_s(partial(pandas_build, table, n), repeats=1)
        print(f"{f'pandas, {n}':>24} {plain[n]:8.3f} {1e3 * plain[n] / n:10.2f}")
    for tier, names in TIERS.items():
        n = len(names)
        built[tier] = build_time_s(bars, tier_features(tier), repeats=3)
        print(
            f"{f'finscale {tier}':>24} {built[tier]:8.3f} {1e3 * built[tier] / n:10.2f}"
            f"   {plain[100] / 100 * n / built[tier]:.0f} times as many a second as pandas, 100"
        )

    bars = to_arrays(synthetic_bars(8_000, 2))
    print(f"\n{'one symbol, 8,000 bars':>24} {'seconds':>8} {'target':>7}")
    longer = {}
    for tier, target in (("a200", "< 0.5"), ("a500", "< 2")):
        longer[tier] = build_time_s(bars, tier_features(tier), repeats=5)
        print(f"{tier:>24} {longer[tier]:8.3f} {target:>7}")
    slow = slow_features(bars, tier_features(list(TIERS)[-1]))
    listed = ", ".join(f"{name} {ms:.1f} ms" for ms, name in slow) or "none"
    print(f"features that take over {SLOW_MS:g} ms: {listed}")

    # What else the machine had to do: processes waiting for a core, of the last minute.
    other_load = os.getloadavg()[0]
    took = panel(10 if quick else N_PANEL_SYMBOLS, PANEL_TIER, n_workers)
    print(
        f"\nfinscale features build --all --tier {PANEL_TIER}, {took.n_symbols} symbols × "
        f"{N_PANEL_BARS:,} bars, {n_workers} workers: {took.wall_s:.1f} s ({took.cpu_s:.1f} s of "
        f"processor time), {took.peak_bytes / 2**30:.2f} GiB at the most, "
        f"{took.written_bytes / 2**30:.2f} GiB written"
    )
    print(f"target: {N_PANEL_SYMBOLS} symbols on 2 cores in < 90 s and < 8 GB")
    if quick:
        return
    write_json_atomic(
        OUT,
        {
            "machine": {name: env[name] for name in ("cpu", "n_cores", "python") if name in env},
            "one_symbol": {
                "n_bars": 5_000,
                "pandas_s": {str(n): round(one, 3) for n, one in plain.items()},
                "tier_s": {tier: round(one, 3) for tier, one in built.items()},
            },
            "one_symbol_of_8000_bars_s": {tier: round(one, 3) for tier, one in longer.items()},
            "slow_features_ms": {name: round(ms, 1) for ms, name in slow},
            "panel": {
                "command": f"finscale features build --all --tier {PANEL_TIER}",
                "n_symbols": took.n_symbols,
                "n_bars": N_PANEL_BARS,
                "n_workers": n_workers,
                "wall_s": round(took.wall_s, 1),
                "cpu_s": round(took.cpu_s, 1),
                "other_load": round(other_load, 1),
                "peak_gib": round(took.peak_bytes / 2**30, 2),
                "written_gib": round(took.written_bytes / 2**30, 2),
            },
        },
    )
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
