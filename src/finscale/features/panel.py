"""Features of many symbols in parallel, one at a time in each process.

Bars are loaded, turned into a matrix and stored inside a worker, which then forgets them, and no
more symbols are in hand than workers can take up at once: memory does not grow with the panel.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from concurrent.futures.thread import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, resource_tracker
from time import perf_counter
from typing import Any, Generic, TypeVar

from finscale.errors import FeatureError
from finscale.features.build import FeatureMatrix, build_features
from finscale.features.registry import Feature
from finscale.interrupts import ctrl_c_held
from finscale.market.bars import OHLCV

T = TypeVar("T")

# Read once, when a library is loaded: a worker per core leaves no core for further threads.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


@dataclass(frozen=True)
class PanelJob(Generic[T]):
    """One table to build. Travels to another process, so its functions are those of a module.

    Attributes
    ----------
    name
        What to call it in messages: a symbol, or the name of a data set.
    features
        Its columns.
    load
        Gives the bars, and is called in the worker, so that only those in work are in memory.
    store
        Puts the matrix away, in the worker too; what it returns comes back with the result.
    """

    name: str
    features: tuple[Feature, ...]
    load: Callable[[], OHLCV]
    store: Callable[[FeatureMatrix], T]


@dataclass(frozen=True)
class PanelResult(Generic[T]):
    """What became of one job.

    Attributes
    ----------
    value
        What the job's ``store`` returned; None if it failed.
    error
        Why it failed; None if it did not.
    duration_s
        Of the work itself; zero if it failed.
    """

    name: str
    value: T | None
    error: BaseException | None
    duration_s: float


def build_panel(jobs: Iterable[PanelJob[T]], *, n_workers: int) -> Iterator[PanelResult[T]]:
    """Build many tables, and report each as it is done.

    One worker works in this process, several in processes of their own with one thread each. The
    jobs are drawn as they are needed. A job that fails is reported with its error, and the others
    go on; if a worker dies (killed, or out of memory), what was in work is repeated, each job on
    its own, so that the one it died of is named.

    Stopping early, by Ctrl-C or by closing the iterator, waits for the jobs in work and starts no
    other.

    Parameters
    ----------
    n_workers
        Jobs in work at the same time, one or more.

    Yields
    ------
    PanelResult
        In the order in which they are done.
    """
    waiting = iter(jobs)
    executor = _executor(n_workers)
    in_hand: dict[Future[tuple[T, float]], PanelJob[T]] = {}
    try:
        while True:
            # Executors and futures take locks of Python.
            with ctrl_c_held():
                # One more than can be worked on, so that no worker waits for the next to arrive.
                for job in islice(waiting, n_workers + 1 - len(in_hand)):
                    in_hand[_submit(executor, job)] = job
                if not in_hand:
                    return
                done = wait(in_hand, return_when=FIRST_COMPLETED).done
                if any(map(_lost, done)):
                    # A worker that dies takes along all that was in hand.
                    done = wait(in_hand).done
                    executor.shutdown()
                    executor = _executor(n_workers)
            for future in [one for one in in_hand if one in done]:
                job = in_hand.pop(future)
                with ctrl_c_held():
                    result = _alone(job) if _lost(future) else _result(job, future)
                yield result
    finally:
        with ctrl_c_held():
            executor.shutdown(cancel_futures=True)


def _executor(n_workers: int) -> Executor:
    return ThreadPoolExecutor(1) if n_workers == 1 else _processes(n_workers)


def _processes(n_workers: int) -> Executor:
    # Fresh interpreters: forking a process that has threads (polars, torch) can hang.
    return ProcessPoolExecutor(n_workers, get_context("spawn"))


def _submit(executor: Executor, job: PanelJob[T]) -> Future[tuple[T, float]]:
    if not isinstance(executor, ProcessPoolExecutor):
        return executor.submit(_work, job)
    # A process is started when a job first needs it.
    with _environment(_ONE_THREAD), _ctrl_c_blocked():
        try:
            return executor.submit(_work, job)
        except BrokenProcessPool as error:  # a worker has died since we last looked
            lost: Future[tuple[T, float]] = Future()
            lost.set_exception(error)
            return lost


def _work(job: PanelJob[T]) -> tuple[T, float]:
    started = perf_counter()
    value = job.store(build_features(job.load(), job.features))
    return value, perf_counter() - started


def _lost(future: Future[Any]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _alone(job: PanelJob[T]) -> PanelResult[T]:
    """Repeat a job whose worker died, in a process of its own: only the guilty one dies again."""
    with _processes(1) as executor:
        return _result(job, _submit(executor, job))


def _result(job: PanelJob[T], future: Future[tuple[T, float]]) -> PanelResult[T]:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        error = FeatureError(
            f"{job.name}: the worker died (killed, or out of memory); make room and build it again"
        )
    if error is not None:
        return PanelResult(job.name, None, error, 0.0)
    value, duration_s = future.result()
    return PanelResult(job.name, value, None, duration_s)


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C for processes that are started inside the block.

    It reaches every process of a terminal, and is for the first of them to answer. Unlike a
    handler, what is blocked stays so in a new interpreter from its first instruction.
    """
    resource_tracker.ensure_running()  # its start would end the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started inside the block."""
    before: dict[str, Any] = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
