"""Set-up shared by all tests."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from finscale.features import modules
from finscale.features.registry import REGISTRY
from finscale.market.bars import OHLCV, to_arrays
from finscale.market.sources.bundled import load_bundled
from finscale.rundir import RunDirectory
from tiny import finished_run

# Timings differ by a factor of ten between machines, so no example has a deadline, nor may a busy
# machine pass for inputs that are too slow to make; where many share the results, everyone has to
# see the same ones.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Bits may depend on the number of threads, which a run sets for its whole process.
torch.set_num_threads(1)

# A shell ignores Ctrl-C in what it runs in the background, and all its children inherit that; tests
# of interruptions mean what a terminal does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Importing `modules` has imported the tiers.
BUILT_IN = dict(REGISTRY)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_user_features(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin and end without features of the user's own.

    Those of fixtures of a whole module are already there when a test begins, so what is forgotten
    is everything that is not built in, rather than what this test has added.
    """
    monkeypatch.setattr(modules, "_REGISTERED", {})
    monkeypatch.setattr(modules, "_CONTENT", {})
    _forget_user_features()
    yield
    _forget_user_features()


def _forget_user_features() -> None:
    REGISTRY.clear()
    REGISTRY.update(BUILT_IN)
    for name in [one for one in sys.modules if one.startswith("finscale_user_features_")]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def sp500() -> OHLCV:
    return to_arrays(load_bundled("SP500").bars)


@pytest.fixture(scope="session")
def nasdaq() -> OHLCV:
    return to_arrays(load_bundled("NASDAQ").bars)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run of the tiny study, to be looked at and not changed."""
    return finished_run(tmp_path_factory)


@pytest.fixture
def copied(finished: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A finished run of the tiny study to go on with."""
    shutil.copytree(finished.root, tmp_path / "run")
    return RunDirectory(tmp_path / "run")
