"""Does a feature know tomorrow? Looked for in every cell, before anything is trained.

Features are proved causal by their code (`finscale.features.proof`); what that cannot see is data
that are dated wrongly: a context series shifted by a day, a file with a column ahead of its row.
Such a leak shows in the numbers, because a market hardly tells its next move and a leak does.

On training and validation rows, each feature of row t, and its change since row t - 1, is held
against what only row t + 1 knows: its return, the surprise in its range and in its volume (what
remains after a regression on their own last bar and means of 5 and 22 bars; Corsi 2009, "A simple
approximate long-memory model of realized volatility"), and against the label. A rank correlation
beyond that of `LIMITS`, or an AUC beyond `MAX_AUC` either way, is a leak. So is a ridge regression
on all features and changes that, fitted on training rows, foretells the returns of validation rows
beyond the limit of a single one. Test rows are not looked at, neither their features nor their
bars.

The limits lie far above what markets tell. On the S&P 500 and the NASDAQ 1999-2018 the strongest of
the 500 features and their changes reach 0.08 with the next return, 0.33 with the surprise in the
range, 0.28 with that in the volume, and an AUC of 0.73; tomorrow's return with as much noise again
reaches 0.7. What is weaker than the limits is not found.

Whether the check works on these very data is tried every time: tomorrow's return is planted among
the features in memory, once as it is and once its rank with as much noise, and has to be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from finscale.dataset.cell import CellData
from finscale.dataset.market import Market
from finscale.market.bars import OHLCV
from finscale.seeds import derive_seed

MAX_AUC = 0.9
LIMITS = {
    "next return": 0.5,
    "surprise in the next range": 0.6,
    "surprise in the next volume": 0.7,
}
"""What only the next bar knows, and the rank correlation that no honest feature has with it."""

TARGETS = tuple(LIMITS)

# A panel of millions of rows would take minutes, and a leak shows on far fewer.
_MAX_ROWS = 20_000
_MIN_ROWS = 100
_TOGETHER = "all features together"

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Leak:
    """A feature that knows what it cannot.

    Attributes
    ----------
    feature
        Its name; "all features together" for the regression.
    form
        ``"value"`` or ``"change"`` since the row before.
    knows
        What of the next bar: one of `TARGETS`, or ``"label"``.
    measure, strength, limit
        ``"rank correlation"`` (of all together, on validation) or ``"AUC"``, its value, and the
        limit that it is beyond.
    """

    feature: str
    form: str
    knows: str
    measure: str
    strength: float
    limit: float

    def describe(self) -> str:
        """Say it in a line."""
        of = "the change of " if self.form == "change" else ""
        verb = "know" if self.feature == _TOGETHER else "knows"
        return (
            f"{of}{self.feature} {verb} the {self.knows} "
            f"({self.measure} {self.strength:+.2f}, limit {self.limit:.2f})"
        )


@dataclass(frozen=True)
class CanaryReport:
    """What the check found in one cell.

    Attributes
    ----------
    n_rows
        Rows looked at.
    strongest
        The largest rank correlation of the features with each target, in size; the label's AUC is
        given as its distance from a half, doubled.
    planted_found
        Planted leak to whether it was found; empty if there were too few rows to look at.
    leaks
        What was found, the strongest of each feature, the strongest first.
    """

    n_rows: int
    strongest: Mapping[str, float]
    planted_found: Mapping[str, bool]
    leaks: tuple[Leak, ...]

    @property
    def works(self) -> bool:
        """Whether every planted leak was found."""
        return bool(self.planted_found) and all(self.planted_found.values())

    @property
    def alarm(self) -> str:
        """What a reader has to know before anything else; empty where nothing was found."""
        if self.leaks:
            more = f", and {len(self.leaks) - 1} more" if len(self.leaks) > 1 else ""
            return f"no conclusion may be drawn: {self.leaks[0].describe()}{more}"
        if not self.works:
            return (
                f"whether a feature knows tomorrow could not be checked on {self.n_rows} rows: "
                "tomorrow's return, planted among the features, was not found"
            )
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return the report, JSON-ready."""
        return {
            "n_rows": self.n_rows,
            "works": self.works,
            "alarm": self.alarm,
            "strongest": dict(self.strongest),
            "planted_found": dict(self.planted_found),
            "leaks": [asdict(one) | {"text": one.describe()} for one in self.leaks],
        }


def look_for_leaks(market: Market, data: CellData, seed: int = 0) -> CanaryReport:
    """Look for features that know the next bar, and try the check on a planted one.

    Parameters
    ----------
    market, data
        The bars, and the scaled features and split of a cell.
    seed
        Of the noise of the planted leak.
    """
    rows = _rows(data)
    now_NF = data.scaled_TF[rows].astype(np.float64)
    change_NF = now_NF - data.scaled_TF[rows - 1]
    label_N = _events(data, rows)
    known = _next_bars(market, rows)
    next_NK = np.column_stack([known[name][rows] for name in TARGETS])
    is_whole = np.isfinite(change_NF).all(axis=1) & np.isfinite(next_NK[:, 0])
    rows, now_NF, change_NF = rows[is_whole], now_NF[is_whole], change_NF[is_whole]
    label_N, next_NK = label_N[is_whole], next_NK[is_whole]
    if len(rows) < _MIN_ROWS:
        return CanaryReport(len(rows), {}, {}, ())
    tomorrow = _Tomorrow.of(label_N, next_NK)
    names = data.feature_names
    found = {form: tomorrow.known_by(x) for form, x in (("value", now_NF), ("change", change_NF))}
    leaks = _leaks(names, found)
    is_train = np.isin(rows, data.split.train)
    together = _foretold(np.hstack([now_NF, change_NF]), next_NK[:, 0], is_train)
    limit = LIMITS[TARGETS[0]]
    if together > limit:
        measure = "rank correlation on validation"
        leaks.append(Leak(_TOGETHER, "value", TARGETS[0], measure, together, limit))
    strongest = {
        name: max(float(np.abs(found[form][:, at]).max()) for form in found)
        for at, name in enumerate((*TARGETS, "label"))
    }
    leaks.sort(key=lambda one: -abs(one.strength))
    return CanaryReport(
        len(rows),
        strongest | {f"next return, {_TOGETHER}": together},
        _try_planted(tomorrow, next_NK[:, 0], seed),
        tuple(leaks),
    )


def _events(data: CellData, rows: NDArray[np.int64]) -> FloatArray:
    """Return binary labels as they are, and whether a return lies above the training median."""
    labels_N = data.labels_T[rows].astype(np.float64)
    if data.bins is None:
        return labels_N
    return np.asarray(2.0 * labels_N >= data.bins.n_bins, dtype=np.float64)


def _rows(data: CellData) -> NDArray[np.int64]:
    """Return training and validation anchors that have a row of their symbol before them."""
    rows = np.sort(np.concatenate([data.split.train, data.split.validation]))
    rows = rows[~np.isin(rows, data.offsets)]
    step = -(-len(rows) // _MAX_ROWS) or 1
    return rows[::step]


def _next_bars(market: Market, rows: NDArray[np.int64]) -> dict[str, FloatArray]:
    """Return what row t + 1 knows, for the rows of all symbols; NaN where it is not known.

    Of each symbol the bars are read up to the one after its last of ``rows``, which is still one of
    validation: what a surprise is, is not learnt from test.
    """
    by_symbol = []
    offset = 0
    for one in market.symbols:
        n_bars = len(one.bars)
        own = rows[(rows >= offset) & (rows < offset + n_bars)] - offset
        n_read = int(own.max(initial=-2)) + 2
        known = _next_of(one.bars.head(n_read))
        unread = np.full(n_bars - n_read, np.nan)
        by_symbol.append({name: np.concatenate([x, unread]) for name, x in known.items()})
        offset += n_bars
    return {name: np.concatenate([one[name] for one in by_symbol]) for name in TARGETS}


def _next_of(bars: OHLCV) -> dict[str, FloatArray]:
    # A bar without a range has the log range of a hundredth of a basis point.
    log_range = np.log(np.maximum(np.log(bars.high / bars.low), 1e-6))
    values = (bars.log_return, _surprise(log_range), _surprise(np.log1p(bars.volume)))
    return {
        name: np.append(one[1:], np.nan)[: len(bars)]
        for name, one in zip(TARGETS, values, strict=True)
    }


def _surprise(x_T: FloatArray) -> FloatArray:
    """Return what of x_t is not foretold by its last value and means of 5 and 22."""
    n, slowest = len(x_T), 22
    if n <= 3 * slowest or np.ptp(x_T) == 0:
        return np.full(n, np.nan)
    total = np.concatenate([[0.0], np.cumsum(x_T)])
    at = np.arange(slowest, n)
    past = [x_T[at - 1], *((total[at] - total[at - span]) / span for span in (5, slowest))]
    design = np.column_stack([np.ones(len(at)), *past])
    fitted = design @ np.linalg.lstsq(design, x_T[at], rcond=None)[0]
    return np.concatenate([np.full(slowest, np.nan), x_T[at] - fitted])


@dataclass(frozen=True)
class _Tomorrow:
    """What the features are held against, ranked and standardised once."""

    rank_NK: FloatArray
    label_N: FloatArray

    @staticmethod
    def of(label_N: FloatArray, next_NK: FloatArray) -> _Tomorrow:
        # What is not known of a few rows (no volume, no history) counts as usual there.
        filled = np.where(np.isfinite(next_NK), next_NK, np.nan)
        for at in range(filled.shape[1]):
            column = filled[:, at]
            known = np.isfinite(column)
            column[~known] = np.median(column[known]) if known.any() else 0.0
        return _Tomorrow(_standard_ranks(filled), label_N)

    def known_by(self, x_NF: FloatArray) -> FloatArray:
        """Return rank correlations with the targets, and 2 AUC - 1 for the label: F × 4."""
        rank_NF = _standard_ranks(x_NF)
        n = len(rank_NF)
        correlation_FK = rank_NF.T @ self.rank_NK / n
        is_event = self.label_N > 0.5
        n_events = int(is_event.sum())
        # The difference of mean ranks, in units of n, is AUC - 1/2 (Mann and Whitney 1947).
        ranks_NF = rankdata(x_NF, axis=0)
        gap_F = (
            ranks_NF[is_event].mean(axis=0) - ranks_NF[~is_event].mean(axis=0)
            if 0 < n_events < n
            else np.zeros(x_NF.shape[1])
        )
        return np.column_stack([correlation_FK, 2.0 * gap_F / n])


def _standard_ranks(x_NF: FloatArray) -> FloatArray:
    """Return ranks with mean 0 and standard deviation 1; of a constant, zeros."""
    ranks = rankdata(x_NF, axis=0)
    ranks -= ranks.mean(axis=0)
    scale = ranks.std(axis=0)
    return np.asarray(ranks / np.where(scale > 0, scale, 1.0))


def _leaks(names: tuple[str, ...], found: Mapping[str, FloatArray]) -> list[Leak]:
    """Return the strongest leak of every feature that has one."""
    leaks = []
    for at, name in enumerate(names):
        own = []
        for form, strength_FK in found.items():
            strengths = strength_FK[at]
            for knows, value in zip(TARGETS, strengths[:-1], strict=True):
                if abs(value) > LIMITS[knows]:
                    own.append(
                        Leak(name, form, knows, "rank correlation", float(value), LIMITS[knows])
                    )
            auc = 0.5 + float(strengths[-1]) / 2.0
            if max(auc, 1.0 - auc) > MAX_AUC:
                own.append(Leak(name, form, "label", "AUC", auc, MAX_AUC))
        if own:
            leaks.append(max(own, key=lambda one: abs(one.strength)))
    return leaks


def _foretold(x_NF: FloatArray, y_N: FloatArray, is_train: NDArray[np.bool_]) -> float:
    """Return the correlation of a ridge forecast with the truth, on the rows not fitted."""
    if is_train.sum() < _MIN_ROWS or (~is_train).sum() < _MIN_ROWS:
        return 0.0
    x, y = x_NF[is_train], y_N[is_train]
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x = (x - centre) / scale
    # As many pseudo-observations as a tenth of the rows: strong enough for a thousand columns.
    gram = x.T @ x + 0.1 * len(x) * np.eye(x.shape[1])
    weight_F = np.linalg.solve(gram, x.T @ (y - y.mean()))
    forecast = ((x_NF[~is_train] - centre) / scale) @ weight_F
    truth = y_N[~is_train]
    if np.ptp(forecast) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(forecast), rankdata(truth))[0, 1])


def _try_planted(tomorrow: _Tomorrow, next_return_N: FloatArray, seed: int) -> dict[str, bool]:
    """Return whether tomorrow's return would be found among the features."""
    noise = np.random.default_rng(derive_seed(seed, "canary")).standard_normal(len(next_return_N))
    # Of ranks: noise of the size of a few wild days, or of one wild symbol, drowns all others.
    rank_N = _standard_ranks(next_return_N[:, None])[:, 0]
    planted = {
        "tomorrow's return": next_return_N,
        "tomorrow's return with as much noise": rank_N + noise,
    }
    strength_FK = tomorrow.known_by(np.column_stack(list(planted.values())))
    found = {one.feature for one in _leaks(tuple(planted), {"value": strength_FK})}
    return {name: name in found for name in planted}
