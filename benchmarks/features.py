"""Building features: one symbol, and a panel in parallel, beside a plain pandas build.

«pandas» is what one would write first: rolling methods where pandas has one, ``rolling.apply`` with
a Python function where it has none; 20 and 100 features. «finscale» builds its tiers from the same
bars. A panel is bars of many symbols, read from Parquet and written as Parquet; memory is the
largest sum of the resident sizes of all processes, which counts shared pages once for each.

    python benchmarks/features.py [--quick] [--workers N]
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import psutil

from finscale.features.build import build_features
from finscale.features.panel import write_panel
from finscale.features.registry import Feature
from finscale.features.tiers import TIERS, tier_features
from finscale.market.bars import OHLCV, to_arrays

N_PANEL_SYMBOLS, N_PANEL_BARS = 500, 7_500
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


def load(path: Path) -> OHLCV:
    return to_arrays(pl.read_parquet(path))


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


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Sample the memory of this process and all below it; the list's item is the peak in bytes."""
    peak, done, this = [0], threading.Event(), psutil.Process()

    def sample() -> None:
        while not done.wait(0.05):
            total = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        done.set()
        sampler.join()


@dataclass(frozen=True)
class Panel:
    """What building a panel took.

    ``cpu_s`` is the processor time of the workers: over their number, it is what the build would
    take on a machine with nothing else to do.
    """

    first_s: float
    last_s: float
    cpu_s: float
    peak_bytes: int
    written_bytes: int


def panel(n_symbols: int, tier: str, n_workers: int) -> Panel:
    with tempfile.TemporaryDirectory() as temporary:
        raw, built = Path(temporary) / "raw", Path(temporary) / "built"
        raw.mkdir()
        for seed in range(n_symbols):
            synthetic_bars(N_PANEL_BARS, seed).write_parquet(raw / f"S{seed:03}.parquet")
        bars = [(path.stem, partial(load, path)) for path in sorted(raw.iterdir())]
        times = []
        cpu_before_s = _children_cpu_s()
        with peak_memory() as peak:
            started = time.perf_counter()
            for one in write_panel(bars, tier_features(tier), built, n_workers=n_workers):
                if one.error is not None:
                    raise one.error
                times.append(time.perf_counter() - started)
        written = sum(path.stat().st_size for path in built.iterdir())
        return Panel(times[0], times[-1], _children_cpu_s() - cpu_before_s, peak[0], written)


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
    # Workers load this file, and need no torch.
    from common import print_machine  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a panel of 10, extrapolated")
    parser.add_argument("--workers", type=int, default=2, help="processes for the panel")
    arguments = parser.parse_args()
    quick, n_workers = arguments.quick, arguments.workers
    print_machine()

    frame = synthetic_bars(5_000, 1)
    bars, table = to_arrays(frame), pd.DataFrame(frame.to_dict(as_series=False))
    print(f"\n{'one symbol, 5,000 bars':>24} {'seconds':>8} {'ms/feature':>10}")
    per_feature = {}
    for n in (20, 100):
        seconds = _median_s(partial(pandas_build, table, n), repeats=1)
        per_feature[n] = seconds / n
        print(f"{f'pandas, {n}':>24} {seconds:8.3f} {1e3 * seconds / n:10.2f}")
    for tier, names in TIERS.items():
        seconds = build_time_s(bars, tier_features(tier), repeats=3)
        n = len(names)
        print(
            f"{f'finscale {tier}':>24} {seconds:8.3f} {1e3 * seconds / n:10.2f}"
            f"   {per_feature[100] * n / seconds:.0f} times as many a second as pandas, 100"
        )

    bars = to_arrays(synthetic_bars(8_000, 2))
    print(f"\n{'one symbol, 8,000 bars':>24} {'seconds':>8} {'target':>7}")
    for tier, target in (("a200", "< 0.5"), ("a500", "< 2")):
        seconds = build_time_s(bars, tier_features(tier), repeats=5)
        print(f"{tier:>24} {seconds:8.3f} {target:>7}")
    slow = slow_features(bars, tier_features(list(TIERS)[-1]))
    listed = ", ".join(f"{name} {ms:.1f} ms" for ms, name in slow) or "none"
    print(f"features that take over {SLOW_MS:g} ms: {listed}")

    n_symbols = 10 if quick else N_PANEL_SYMBOLS
    took = panel(n_symbols, "a200", n_workers)
    print(
        f"\na200, {n_symbols} symbols × {N_PANEL_BARS:,} bars, {n_workers} workers: "
        f"{took.last_s:.1f} s ({took.first_s:.1f} s to the first; {took.cpu_s:.1f} s of processor "
        f"time), {took.peak_bytes / 2**30:.2f} GiB at the most, "
        f"{took.written_bytes / 2**30:.2f} GiB written"
    )
    if quick:
        rate_s = (took.last_s - took.first_s) / (n_symbols - 1)
        print(
            f"extrapolated, not measured: {took.first_s + rate_s * (N_PANEL_SYMBOLS - 1):.0f} s "
            f"for {N_PANEL_SYMBOLS} symbols at that rate"
        )
    print(f"target: {N_PANEL_SYMBOLS} symbols on 2 cores in < 90 s and < 8 GB")


if __name__ == "__main__":
    main()
