from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest

from finscale.errors import FeatureError
from finscale.features import panel as panel_module
from finscale.features.build import FeatureMatrix, build_features
from finscale.features.frame import matrix_to_frame
from finscale.features.panel import PanelJob, PanelResult, build_panel
from finscale.features.registry import Feature
from finscale.features.tiers import tier_features
from finscale.files import write_bytes_atomic
from finscale.market.bars import OHLCV
from strategies import make_bars

A25 = tier_features("a25")
FEW = A25[:3]


@pytest.fixture(scope="module")
def matrix() -> FeatureMatrix:
    return build_features(make_bars(300), A25)


# --- a matrix as a table ------------------------------------------------------------------------


def test_a_table_has_a_date_and_a_float32_column_for_each_feature(matrix: FeatureMatrix) -> None:
    frame = matrix_to_frame(matrix)
    assert frame.columns == ["date", *(one.name for one in A25)]
    assert frame.dtypes == [pl.Date] + [pl.Float32] * 25
    assert len(frame) == 300 - 254
    assert frame["date"][0] == matrix.date[254].item()
    column = A25.index(next(one for one in A25 if one.name == "rsi_14"))
    np.testing.assert_array_equal(frame["rsi_14"].to_numpy(), matrix.values[254:, column])


# --- many symbols -------------------------------------------------------------------------------


def refuse(message: str) -> OHLCV:
    raise FeatureError(message)


def crash() -> OHLCV:
    return OHLCV(*([1 / 0] * 6))


def die() -> OHLCV:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def threads_and_process(_: FeatureMatrix) -> tuple[str, int]:
    return f"{os.environ['POLARS_MAX_THREADS']} {os.environ['OMP_NUM_THREADS']}", os.getpid()


def blocked_signals(_: FeatureMatrix) -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def panel(*symbols: str) -> list[tuple[str, Callable[[], OHLCV]]]:
    loads = {
        "REFUSED": partial(refuse, "REFUSED: no bars; give some"),
        "SHORT": partial(make_bars, 5),
        "BUG": crash,
        "DEADLY": die,
    }
    return [
        (one, loads.get(one, partial(make_bars, 300, seed=number)))
        for number, one in enumerate(symbols)
    ]


def store(directory: Path, name: str, matrix: FeatureMatrix) -> Path:
    path = directory / f"{name}.parquet"
    buffer = io.BytesIO()
    matrix_to_frame(matrix).write_parquet(buffer)
    write_bytes_atomic(path, buffer.getvalue())
    return path


def write_panel(
    symbols: list[tuple[str, Callable[[], OHLCV]]],
    features: tuple[Feature, ...],
    directory: Path,
    *,
    n_workers: int,
) -> Iterator[PanelResult[Path]]:
    jobs = (
        PanelJob(symbol, features, load, partial(store, directory, symbol))
        for symbol, load in symbols
    )
    return build_panel(jobs, n_workers=n_workers)


def by_name(results: Iterator[PanelResult[Path]]) -> dict[str, PanelResult[Path]]:
    return {one.name: one for one in results}


@pytest.mark.parametrize("n_workers", [1, 2])
def test_every_symbol_gets_its_file_and_a_failing_one_its_reason(
    n_workers: int, tmp_path: Path
) -> None:
    bars = panel("A", "SHORT", "BRK.B", "REFUSED", "BUG", "^DJI")
    results = by_name(write_panel(bars, A25, tmp_path, n_workers=n_workers))
    assert set(results) == {symbol for symbol, _ in bars}
    assert {name for name, one in results.items() if one.error} == {"SHORT", "REFUSED", "BUG"}
    assert str(results["SHORT"].error).startswith("5 bars are too few: adx_14 needs 254")
    assert str(results["REFUSED"].error) == "REFUSED: no bars; give some"
    assert isinstance(results["BUG"].error, ZeroDivisionError)
    assert {file.name for file in tmp_path.iterdir()} == {
        "A.parquet",
        "BRK.B.parquet",
        "^DJI.parquet",
    }
    for number, symbol in ((0, "A"), (2, "BRK.B"), (5, "^DJI")):
        expected = matrix_to_frame(build_features(make_bars(300, seed=number), A25))
        path = results[symbol].value
        assert path == tmp_path / f"{symbol}.parquet"
        assert pl.read_parquet(path).equals(expected)
        assert results[symbol].duration_s > 0


def test_a_worker_that_dies_takes_no_other_symbol_along(tmp_path: Path) -> None:
    bars = panel("A", "DEADLY", "B", "C", "D")
    results = by_name(write_panel(bars, FEW, tmp_path, n_workers=2))
    assert set(results) == {"A", "B", "C", "D", "DEADLY"}
    assert [name for name, one in results.items() if one.error] == ["DEADLY"]
    assert str(results["DEADLY"].error) == (
        "DEADLY: the worker died (killed, or out of memory); make room and build it again"
    )
    assert len(list(tmp_path.iterdir())) == 4


def test_a_worker_that_dies_between_two_looks_takes_no_other_symbol_along(tmp_path: Path) -> None:
    results = write_panel(panel("A", "DEADLY", "B", "C"), FEW, tmp_path, n_workers=2)
    found = [next(results)]
    time.sleep(2)  # the pool is broken by now, and nobody has looked
    found.extend(results)
    assert {one.name for one in found} == {"A", "B", "C", "DEADLY"}
    assert [one.name for one in found if one.error] == ["DEADLY"]


def test_workers_leave_ctrl_c_to_the_process_that_started_them() -> None:
    jobs = [PanelJob(str(n), FEW, partial(make_bars, 10), blocked_signals) for n in range(2)]
    assert all(signal.SIGINT in (one.value or ()) for one in build_panel(jobs, n_workers=2))
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_jobs_are_drawn_as_they_are_needed_and_stopping_starts_no_other() -> None:
    drawn: list[int] = []

    def jobs() -> Iterator[PanelJob[None]]:
        for number in range(100):
            drawn.append(number)
            yield PanelJob(str(number), FEW, partial(make_bars, 10), lambda _: None)

    results = build_panel(jobs(), n_workers=1)
    assert drawn == []
    assert next(results).name == "0"
    assert drawn == [0, 1]
    assert next(results).name == "1"
    assert len(drawn) <= 4
    results.close()
    assert len(drawn) <= 4


def test_several_workers_are_processes_with_one_thread_each() -> None:
    before = dict(os.environ)
    jobs = [
        PanelJob(str(number), FEW, partial(make_bars, 10), threads_and_process)
        for number in range(4)
    ]
    values = [one.value for one in build_panel(jobs, n_workers=2)]
    assert {one[0] for one in values if one} == {"1 1"}
    assert os.getpid() not in {one[1] for one in values if one}
    assert dict(os.environ) == before


def test_no_symbols_are_no_work(tmp_path: Path) -> None:
    assert list(write_panel([], FEW, tmp_path, n_workers=2)) == []


@pytest.mark.parametrize("taken", ["wait", "_submit", "_result"])
def test_ctrl_c_is_not_raised_where_futures_hold_locks(
    taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(panel_module, taken)
    finished = []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        value = original(*arguments, **options)
        finished.append(value)
        return value

    monkeypatch.setattr(panel_module, taken, interrupted)
    jobs = [PanelJob(str(n), FEW, partial(make_bars, 10), lambda _: None) for n in range(3)]
    with pytest.raises(KeyboardInterrupt):
        next(build_panel(jobs, n_workers=1))
    assert finished


_SCRIPT = """
import sys, time
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
from finscale.features.panel import PanelJob, build_panel
from finscale.features.tiers import tier_features
from slow_bars import load, store

if __name__ == "__main__":
    out = Path("out")
    out.mkdir()
    features = tier_features("a25")
    jobs = (PanelJob(str(n), features, load, partial(store, out, str(n))) for n in range(1000))
    print("started", flush=True)
    try:
        for one in build_panel(jobs, n_workers={n_workers}):
            print(one.name, flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""

_SLOW_BARS = """
import time
from finscale.features.frame import matrix_to_frame
from finscale.files import write_bytes_atomic
from io import BytesIO
from strategies import make_bars

def store(directory, name, matrix):
    buffer = BytesIO()
    matrix_to_frame(matrix).write_parquet(buffer)
    write_bytes_atomic(directory / (name + ".parquet"), buffer.getvalue())

def load():
    time.sleep(0.1)
    return make_bars(300)
"""


def alive(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != "zombie":
                found.append(process)
    return found


@pytest.mark.parametrize("n_workers", [1, 2])
def test_ctrl_c_leaves_whole_files_and_no_process(n_workers: int, tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    (tmp_path / "slow_bars.py").write_text(_SLOW_BARS)
    (tmp_path / "main.py").write_text(_SCRIPT.format(tests=tests, n_workers=n_workers))
    with subprocess.Popen(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            assert running.stdout
            lines = [running.stdout.readline() for _ in range(4)]
            assert lines[0] == "started\n"
            # As a terminal does: to every process of the group.
            os.killpg(running.pid, signal.SIGINT)
            out, err = running.communicate(timeout=60)
            # What tracks shared memory for the workers ends by itself, a moment after the last.
            deadline = time.monotonic() + 20
            while alive(running.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert alive(running.pid) == []
        finally:
            for process in alive(running.pid):
                process.kill()
    assert (running.returncode, err) == (0, "")
    assert out.endswith("stopped\n")
    files = list((tmp_path / "out").iterdir())
    assert 3 <= len(files) < 1000
    for file in files:
        assert file.suffix == ".parquet"
        assert len(pl.read_parquet(file)) == 46
