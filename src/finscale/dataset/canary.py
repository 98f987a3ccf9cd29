"""Does a feature know tomorrow? Looked for in every cell, before anything is trained.

Features are proved causal by their code (`finscale.features.proof`); what that cannot see is data
that are dated wrongly: a context series shifted by a day, a file with a column ahead of its row.
Such a leak shows in the numbers, because a market hardly tells its next move and a leak does.

On training and validation rows, each feature of row t, and its change since row t - 1, is held
against what only row t + 1 knows: its return, the surprise in its range and in its volume (what
remains after a regression on their own last bar and means of 5 and 22 bars; Corsi 2009, "A simple
approximate long-memory model of realized volatility"), and against the label. Where labels reach
further, so is it against the return of every other bar that they read, and of all of them together.
A rank correlation beyond that of `limits_of`, or an AUC beyond `MAX_AUC` either way, is a leak. So
is a ridge regression on all features and changes that, fitted on training rows, foretells returns
on validation rows beyond `MAX_RETURN`. Test rows are not looked at, neither their features nor
their bars.

The limits lie far above what markets tell. On the S&P 500 and the NASDAQ 1999-2018 the strongest of
the 500 features and their changes reach 0.08 with the next return, 0.33 with the surprise in the
range, 0.28 with that in the volume, and an AUC of 0.73; tomorrow's return with as much noise again
reaches 0.7. With the return over the next five bars they reach 0.12, and the return over the next
twenty reaches 0.47. What is weaker than the limits is not found.

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

MAX_RETURN = 0.5
"""No honest feature has this rank correlation with the return of one bar to come."""

NEXT_RETURN = "next return"
LIMITS = {
    NEXT_RETURN: MAX_RETURN,
    "surprise in the next range": 0.6,
    "surprise in the next volume": 0.7,
}
"""What only the next bar knows, and the rank correlation that no honest feature has with it."""

# Over all bars that a label reads; the market tells as little of them, and leaks from further ahead
# show in nothing else.
_MAX_WHOLE_RETURN = 0.4

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
        What of the bars to come: one of `limits_of`, or ``"label"``.
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


def limits_of(horizon_bars: int) -> dict[str, float]:
    """Return what of the bars that a label reads is looked for, with the limit of each."""
    if horizon_bars == 1:
        return dict(LIMITS)
    single = {f"return of bar t + {ahead}": MAX_RETURN for ahead in range(2, horizon_bars + 1)}
    return LIMITS | single | {_whole_return(horizon_bars): _MAX_WHOLE_RETURN}


def _whole_return(horizon_bars: int) -> str:
    return f"return over {horizon_bars} bars" if horizon_bars > 1 else NEXT_RETURN


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
    horizon_bars = data.cell.horizon_bars
    limits = limits_of(horizon_bars)
    known = _bars_to_come(market, rows, horizon_bars)
    ahead_NK = np.column_stack([known[name][rows] for name in limits])
    is_whole = np.isfinite(change_NF).all(axis=1) & np.isfinite(ahead_NK[:, 0])
    rows, now_NF, change_NF = rows[is_whole], now_NF[is_whole], change_NF[is_whole]
    label_N, ahead_NK = label_N[is_whole], ahead_NK[is_whole]
    if len(rows) < _MIN_ROWS:
        return CanaryReport(len(rows), {}, {}, ())
    future = _Future.of(label_N, ahead_NK)
    found = {form: future.known_by(x) for form, x in (("value", now_NF), ("change", change_NF))}
    leaks = _leaks(data.feature_names, found, limits)
    strongest = {
        name: max(float(np.abs(found[form][:, at]).max()) for form in found)
        for at, name in enumerate((*limits, "label"))
    }
    is_train = np.isin(rows, data.split.train)
    for name in dict.fromkeys((NEXT_RETURN, _whole_return(horizon_bars))):
        return_N = future.filled_NK[:, list(limits).index(name)]
        together = _foretold(np.hstack([now_NF, change_NF]), return_N, is_train)
        strongest[f"{name}, {_TOGETHER}"] = together
        if together > MAX_RETURN:
            measure = "rank correlation on validation"
            leaks.append(Leak(_TOGETHER, "value", name, measure, together, MAX_RETURN))
    leaks.sort(key=lambda one: -abs(one.strength))
    planted = _try_planted(future, ahead_NK[:, 0], limits, seed)
    return CanaryReport(len(rows), strongest, planted, tuple(leaks))


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


def _bars_to_come(
    market: Market, rows: NDArray[np.int64], horizon_bars: int
) -> dict[str, FloatArray]:
    """Return what of the next bars is looked for, for the rows of all symbols; NaN if not known.

    Of each symbol the bars are read up to the last that a label of ``rows`` reads, which lies
    before the test part: what a surprise is, is not learnt from test.
    """
    by_symbol = []
    offset = 0
    for one in market.symbols:
        n_bars = len(one.bars)
        own = rows[(rows >= offset) & (rows < offset + n_bars)] - offset
        n_read = min(int(own.max()) + 1 + horizon_bars, n_bars) if len(own) else 0
        known = _to_come(one.bars.head(n_read), horizon_bars)
        unread = np.full(n_bars - n_read, np.nan)
        by_symbol.append({name: np.concatenate([x, unread]) for name, x in known.items()})
        offset += n_bars
    names = limits_of(horizon_bars)
    return {name: np.concatenate([one[name] for one in by_symbol]) for name in names}


def _to_come(bars: OHLCV, horizon_bars: int) -> dict[str, FloatArray]:
    # A bar without a range has the log range of a hundredth of a basis point.
    log_range = np.log(np.maximum(np.log(bars.high / bars.low), 1e-6))
    of_bar = (bars.log_return, _surprise(log_range), _surprise(np.log1p(bars.volume)))
    known = {name: _ahead(x, 1) for name, x in zip(LIMITS, of_bar, strict=True)}
    further = [_ahead(bars.log_return, ahead) for ahead in range(2, horizon_bars + 1)]
    known |= {f"return of bar t + {ahead}": x for ahead, x in enumerate(further, 2)}
    return known | {_whole_return(horizon_bars): known[NEXT_RETURN] + sum(further)}


def _ahead(x_T: FloatArray, n_bars: int) -> FloatArray:
    return np.concatenate([x_T[n_bars:], np.full(min(n_bars, len(x_T)), np.nan)])


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
class _Future:
    """What the features are held against, also ranked and standardised, once."""

    filled_NK: FloatArray
    rank_NK: FloatArray
    label_N: FloatArray

    @staticmethod
    def of(label_N: FloatArray, ahead_NK: FloatArray) -> _Future:
        # What is not known of a few rows (no volume, no history) counts as usual there.
        filled = np.where(np.isfinite(ahead_NK), ahead_NK, np.nan)
        for at in range(filled.shape[1]):
            column = filled[:, at]
            known = np.isfinite(column)
            column[~known] = np.median(column[known]) if known.any() else 0.0
        return _Future(filled, _standard_ranks(filled), label_N)

    def known_by(self, x_NF: FloatArray) -> FloatArray:
        """Return rank correlations with all K, and 2 AUC - 1 for the label, shape (F, K + 1)."""
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


def _leaks(
    names: tuple[str, ...], found: Mapping[str, FloatArray], limits: Mapping[str, float]
) -> list[Leak]:
    """Return the strongest leak of every feature that has one."""
    leaks = []
    for at, name in enumerate(names):
        own = []
        for form, strength_FK in found.items():
            strengths = strength_FK[at]
            for (knows, limit), value in zip(limits.items(), strengths[:-1], strict=True):
                if abs(value) > limit:
                    own.append(Leak(name, form, knows, "rank correlation", float(value), limit))
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


def _try_planted(
    future: _Future, next_return_N: FloatArray, limits: Mapping[str, float], seed: int
) -> dict[str, bool]:
    """Return whether tomorrow's return would be found among the features."""
    noise = np.random.default_rng(derive_seed(seed, "canary")).standard_normal(len(next_return_N))
    # Of ranks: noise of the size of a few wild days, or of one wild symbol, drowns all others.
    rank_N = _standard_ranks(next_return_N[:, None])[:, 0]
    planted = {
        "tomorrow's return": next_return_N,
        "tomorrow's return with as much noise": rank_N + noise,
    }
    strength_FK = future.known_by(np.column_stack(list(planted.values())))
    found = {one.feature for one in _leaks(tuple(planted), {"value": strength_FK}, limits)}
    return {name: name in found for name in planted}
