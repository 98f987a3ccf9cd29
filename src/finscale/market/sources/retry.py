"""Asking a server again: how often, how long to wait, and what it is asked at most."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

T = TypeVar("T")

_log = logging.getLogger("finscale")


class TemporaryError(Exception):
    """A request that failed, and may succeed a little later.

    Attributes
    ----------
    max_retries
        Repetitions after which a failure of this kind is believed; None: as patience has it.
    """

    max_retries: ClassVar[int | None] = None


class RateLimitedError(TemporaryError):
    """A request that was refused because there were too many."""


@dataclass(frozen=True)
class Patience:
    """How often a request is repeated, and how long the pauses are.

    Attributes
    ----------
    n_retries
        Repetitions after the first request.
    base_s, cap_s
        The pause before repetition k (from 0) is drawn uniformly from [0, min(cap, base · 2^k)]:
        «full jitter», by which clients that failed together do not come back together
        (M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015).
    rate_limit_base_s, rate_limit_cap_s
        The same after a refusal for too many requests, where the draw comes on top of
        ``rate_limit_base_s``: a limit is over after a time, not by luck.
    min_interval_s
        Between any two requests, failed or not.
    """

    n_retries: int = 5
    base_s: float = 1.0
    cap_s: float = 60.0
    rate_limit_base_s: float = 30.0
    rate_limit_cap_s: float = 300.0
    min_interval_s: float = 1.0

    def bound_s(self, n_failures: int, *, rate_limited: bool) -> tuple[float, float]:
        """Return the interval the pause after the n-th failure (from 1) is drawn from, seconds."""
        doublings = 2.0 ** min(n_failures - 1, 30)
        if rate_limited:
            low = self.rate_limit_base_s
            return low, low + min(self.rate_limit_cap_s, low * doublings)
        return 0.0, min(self.cap_s, self.base_s * doublings)


@dataclass
class Retrying:
    """Asks with patience. One object for all requests to one server: it keeps their distance."""

    patience: Patience = field(default_factory=Patience)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)
    _last_request_s: float | None = field(default=None, init=False)

    def __call__(self, request: Callable[[], T], *, what: str) -> tuple[T, int]:
        """Return what ``request`` returns, and how often it was asked.

        Parameters
        ----------
        request
            Raises :class:`TemporaryError` where asking again may help; any other error passes.
        what
            What is asked for, in the lines that say why nothing happens for a while.

        Raises
        ------
        TemporaryError
            The last one, when the repetitions are used up.
        """
        n_asked = 0
        failures: Counter[type[TemporaryError]] = Counter()
        while True:
            self._keep_distance()
            n_asked += 1
            try:
                return request(), n_asked
            except TemporaryError as error:
                failures[type(error)] += 1
                believed = error.max_retries is not None and (
                    failures[type(error)] > error.max_retries
                )
                if believed or n_asked > self.patience.n_retries:
                    raise
                limited = isinstance(error, RateLimitedError)
                pause_s = self.rng.uniform(*self.patience.bound_s(n_asked, rate_limited=limited))
                _log.warning(
                    "%s: %s; asking again in %.0f s (%d of %d)",
                    *(what, error, pause_s, n_asked, self.patience.n_retries),
                )
                self.sleep(pause_s)

    def _keep_distance(self) -> None:
        if self._last_request_s is not None:
            left_s = self._last_request_s + self.patience.min_interval_s - self.clock()
            if left_s > 0:
                self.sleep(left_s)
        self._last_request_s = self.clock()
