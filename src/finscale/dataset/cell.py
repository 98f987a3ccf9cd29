"""What an experiment's runs share: features, labels, split and scaling of one cell.

A cell is one horizon, task and data size; the budgets of a study compete on the same cells. The
rows of all symbols are stacked, symbol after symbol; no window and no label crosses from one to
the next, because every anchor has its window and its label among its own symbol's rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from finscale.dataset.market import Market, SymbolMarket
from finscale.dataset.truth import shuffle_labels
from finscale.errors import SplitError, StudyError
from finscale.files import hash_bytes
from finscale.market.bars import OHLCV
from finscale.return_bins import ReturnBins
from finscale.splits import PARTS, IntArray, Split, SymbolRows, hold_out, walk_forward
from finscale.study import Study
from finscale.study_rows import ALL_DATA, DataSize, TaskName, cell_name
from finscale.tasks import BaseRate, Task, get_task, label_rows, log_reach
from finscale.windows import Scaler, Windows

# A feature that lies at the clip on more rows than this has changed its nature since training.
_OFTEN_CLIPPED = 0.2


@dataclass(frozen=True)
class Cell:
    """One horizon, task and data size."""

    horizon_bars: int
    task: TaskName
    size: DataSize = ALL_DATA

    @property
    def name(self) -> str:
        """``h1_threshold_1pct``."""
        return cell_name(self.horizon_bars, self.task, self.size)


@dataclass(frozen=True)
class CellData:
    """The rows, labels and scaled features that every model of a cell is trained and scored on.

    Attributes
    ----------
    symbols
        In the order in which their rows are stacked.
    bars
        Of each symbol, on the study's time scale: one bar per row.
    offsets
        First row of each symbol, and the number of all rows, T.
    date
        Session of each row.
    scalers
        By symbol; the same one for all where scaling is pooled.
    labels_T
        float32, NaN where the future is not there yet: 0 or 1; of the task ``return`` the number of
        the bin.
    scaled_TF
        float32 features scaled by training statistics, NaN before a symbol's first usable row.
    context_length
        Rows of a window: every anchor has so many scaled rows up to and including its own.
    base_rate
        Share of positive labels among the training anchors; of the task ``return`` that of each
        bin.
    data_hash
        SHA-256 over symbols, features, labels and the rows of the split.
    returns_T, bins
        Of the task ``return``: the log returns, NaN where the future is not there yet, and their
        bins, from the training anchors. None for a binary task.
    """

    cell: Cell
    task: Task
    symbols: tuple[str, ...]
    bars: tuple[OHLCV, ...]
    offsets: IntArray
    date: NDArray[np.datetime64]
    feature_names: tuple[str, ...]
    scalers: Mapping[str, Scaler]
    labels_T: NDArray[np.float32]
    scaled_TF: NDArray[np.float32]
    split: Split
    context_length: int
    base_rate: BaseRate
    data_hash: str
    returns_T: NDArray[np.float64] | None = None
    bins: ReturnBins | None = None

    def windows(self, context_length: int, device: torch.device) -> Windows:
        """Put the rows on a device."""
        return Windows(self.scaled_TF, self.labels_T, context_length=context_length, device=device)

    def symbol_of(self, rows: IntArray) -> NDArray[np.str_]:
        """Return the symbol that each row belongs to."""
        numbers = np.searchsorted(self.offsets, rows, side="right") - 1
        return np.asarray(self.symbols)[numbers]

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the cell, JSON-ready."""
        return {
            "question": self.task.describe(self.cell.horizon_bars),
            "horizon_bars": self.cell.horizon_bars,
            "task": self.cell.task,
            "data_size": self.cell.size.model_dump(),
            "base_rate": self.base_rate if isinstance(self.base_rate, float) else None,
            "data_hash": self.data_hash,
            "labels_hash": hash_bytes(self.labels_T.astype("<f4").tobytes()),
            "parts": {
                name: self._describe_part(name) for name in PARTS if len(self.split.part(name))
            },
        }

    def _describe_part(self, name: str) -> dict[str, Any]:
        rows = self.split.part(name)
        return {
            "n": len(rows),
            "n_symbols": len(np.unique(self.symbol_of(rows))),
            "first_date": str(self.date[rows].min()),
            "last_date": str(self.date[rows].max()),
            "event_rate": self._event_rate(rows),
            "clipped": self._often_clipped(rows),
        }

    def _event_rate(self, rows: IntArray) -> float | None:
        if self.bins is not None:
            return None
        return float(self.labels_T[rows].mean(dtype=np.float64))

    def _often_clipped(self, rows: IntArray) -> dict[str, float]:
        """Return the features that are clipped on a large share of a part's rows, and the share."""
        clip = next(iter(self.scalers.values())).clip
        shares = np.mean(np.abs(self.scaled_TF[rows]) >= clip, axis=0)
        return {
            name: round(float(share), 3)
            for name, share in zip(self.feature_names, shares, strict=True)
            if share > _OFTEN_CLIPPED
        }


@dataclass(frozen=True)
class TrainSizes:
    """Training anchors of a cell.

    Attributes
    ----------
    whole
        Of its final models.
    folds
        Of a trial, by walk-forward fold; with one fold those of the final models.
    """

    whole: int
    folds: tuple[int, ...]

    @staticmethod
    def of(data: CellData, folds: Sequence[CellData]) -> TrainSizes:
        """Count a cell's anchors; without folds there is the one."""
        return TrainSizes(
            len(data.split.train), tuple(len(one.split.train) for one in folds or (data,))
        )

    @property
    def smallest(self) -> int:
        """Of the training run that has the fewest."""
        return min(self.whole, *self.folds)


def study_cells(study: Study) -> tuple[Cell, ...]:
    """Return every horizon, task and data size of a study."""
    return tuple(
        Cell(horizon, task, size)
        for task in study.tasks
        for size in study.sizes()
        for horizon in study.horizons
    )


def check_schedule(study: Study, n_train: int) -> None:
    """Refuse a warm-up that the shortest run would not survive: it would be a dead knob.

    Parameters
    ----------
    n_train
        Training samples of the cell that has the fewest.

    Raises
    ------
    StudyError
        If the longest warm-up has as many steps as the shortest run, or more.
    """
    shortest = min(study.search.space.epochs) * math.ceil(n_train / study.training.effective_batch)
    longest_warmup = max(study.search.space.warmup_steps)
    if longest_warmup >= shortest:
        raise StudyError(
            f"search.space.warmup_steps: got {longest_warmup}; the shortest run has {shortest} "
            f"steps ({min(study.search.space.epochs)} epochs of {n_train} samples in batches of "
            f"{study.training.effective_batch}); give fewer warm-up steps or more epochs"
        )


def prepare_cell(study: Study, market: Market, cell: Cell) -> CellData:
    """Label, split and scale the rows of one cell.

    Every data size is scored on the same rows: those of the symbols that the smallest one trains
    on.

    Raises
    ------
    SplitError
        If a part has no samples, or its labels are all the same.
    """
    rows = _CellRows.of(study, market, cell)
    return rows.scaled(hold_out(rows.by_symbol, study.split, **rows.sizes), place=cell.name)


def prepare_folds(study: Study, market: Market, cell: Cell) -> tuple[CellData, ...]:
    """Label, split and scale the rows of one cell for each walk-forward fold, the oldest first.

    A fold's scaler and base rate are those of its own training rows; it has no test part. With
    one fold it is the cell's own training and validation part.

    Raises
    ------
    SplitError
        If a part of a fold has no samples, or its labels are all the same.
    """
    rows = _CellRows.of(study, market, cell)
    folds = walk_forward(rows.by_symbol, study.split, **rows.sizes)
    return tuple(
        rows.scaled(split, place=f"{cell.name}, fold {number} of {len(folds)}")
        for number, split in enumerate(folds, start=1)
    )


class _Sizes(TypedDict):
    """What a split is made of beside the rows and the dates."""

    horizon_bars: int
    history_frac: float
    n_trained: int | None
    n_scored: int | None


@dataclass(frozen=True)
class _CellRows:
    """The rows of a cell with their outcomes, before they are split.

    Attributes
    ----------
    outcomes_T
        Labels; of the task ``return`` the returns, whose labels depend on the split.
    """

    study: Study
    market: Market
    cell: Cell
    task: Task
    offsets: IntArray
    outcomes_T: NDArray[Any]

    @staticmethod
    def of(study: Study, market: Market, cell: Cell) -> _CellRows:
        """Stack and label the rows of all symbols."""
        task = get_task(cell.task)
        outcomes: list[NDArray[Any]] = [
            log_reach(one.bars, task, cell.horizon_bars)
            if task.is_return
            else label_rows(one.bars, task, cell.horizon_bars)
            for one in market.symbols
        ]
        if study.data.null == "shuffled_labels":
            outcomes = [
                shuffle_labels(own, cell.horizon_bars, study.seed, one.symbol)
                for own, one in zip(outcomes, market.symbols, strict=True)
            ]
        offsets = np.cumsum([0, *(len(one.bars) for one in market.symbols)])
        return _CellRows(study, market, cell, task, offsets, np.concatenate(outcomes))

    @property
    def by_symbol(self) -> list[SymbolRows]:
        """The rows of each symbol, with the first one that has a whole window before it."""
        context = self.study.windows.context_length
        return [
            SymbolRows(one.features.date, one.features.first_row + context - 1, int(offset))
            for one, offset in zip(self.market.symbols, self.offsets, strict=False)
        ]

    @property
    def sizes(self) -> _Sizes:
        """How much of the rows is trained and scored on."""
        return {
            "horizon_bars": self.cell.horizon_bars,
            "history_frac": self.cell.size.history_frac,
            "n_trained": self.cell.size.n_symbols,
            "n_scored": min(self.study.data_sizes.n_symbols or (len(self.market.symbols),)),
        }

    def scaled(self, split: Split, *, place: str) -> CellData:
        """Scale by the training rows of a split; ``place`` names it in errors."""
        bins, labels_T, base_rate = self._label(split, place)
        for part in PARTS:
            labels = labels_T[split.part(part)]
            if len(labels) and labels.min() == labels.max():
                raise SplitError(
                    f"{place}: every {part} label is {labels[0]:.0f}, so there is nothing to "
                    "learn or score; choose another task or horizon, or move the split"
                )
        symbols = self.market.symbols
        scalers = _fit_scalers(self.study, symbols, self.offsets, split, place=place)
        return CellData(
            cell=self.cell,
            task=self.task,
            symbols=tuple(one.symbol for one in symbols),
            bars=tuple(one.bars for one in symbols),
            offsets=self.offsets,
            date=np.concatenate([one.features.date for one in symbols]),
            feature_names=symbols[0].features.names,
            scalers=scalers,
            labels_T=labels_T,
            scaled_TF=np.concatenate(
                [scalers[one.symbol].transform(one.features.values) for one in symbols]
            ),
            split=split,
            context_length=self.study.windows.context_length,
            base_rate=base_rate,
            data_hash=_hash(symbols, self.outcomes_T, split),
            returns_T=None if bins is None else self.outcomes_T,
            bins=bins,
        )

    def _label(
        self, split: Split, place: str
    ) -> tuple[ReturnBins | None, NDArray[np.float32], BaseRate]:
        """Return labels and base rate, and the bins that they are the numbers of, if any."""
        train = self.outcomes_T[split.train]
        if not self.task.is_return:
            return None, self.outcomes_T, float(train.mean(dtype=np.float64))
        bins = ReturnBins.fit(train, place=place)
        return bins, bins.numbers(self.outcomes_T), tuple(bins.share_K.tolist())


def _fit_scalers(
    study: Study,
    symbols: tuple[SymbolMarket, ...],
    offsets: IntArray,
    split: Split,
    *,
    place: str,
) -> dict[str, Scaler]:
    """Fit on the rows that training windows see, of all symbols together or of each."""
    seen: dict[str, NDArray[np.float32]] = {}
    for one, start, stop in zip(symbols, offsets[:-1], offsets[1:], strict=True):
        own = split.train[(split.train >= start) & (split.train < stop)] - start
        if len(own):
            first = own[0] - study.windows.context_length + 1
            seen[one.symbol] = one.features.values[first : own[-1] + 1]
    if study.windows.scaling == "pooled":
        pooled = Scaler.fit(np.concatenate(list(seen.values())), study.windows.clip)
        return {one.symbol: pooled for one in symbols}
    scored = {
        one.symbol
        for one, start, stop in zip(symbols, offsets[:-1], offsets[1:], strict=True)
        for rows in (split.validation, split.test)
        if ((rows >= start) & (rows < stop)).any()
    }
    unseen = sorted(scored - set(seen))
    if unseen:
        raise SplitError(
            f"{place}: windows.scaling: per_symbol needs training rows of every symbol, and "
            f"{', '.join(unseen)} has none; use pooled, or leave the symbol out"
        )
    fitted = {name: Scaler.fit(rows, study.windows.clip) for name, rows in seen.items()}
    # A symbol beyond those that this data size uses is never looked at; any scaler will do.
    return {one.symbol: fitted.get(one.symbol, next(iter(fitted.values()))) for one in symbols}


def _hash(symbols: tuple[SymbolMarket, ...], outcomes_T: NDArray[Any], split: Split) -> str:
    content = [",".join(one.symbol for one in symbols).encode()]
    content += [one.features.content_hash().encode() for one in symbols]
    content.append(outcomes_T.astype(f"<f{outcomes_T.itemsize}").tobytes())
    content += [split.part(part).astype("<i8").tobytes() for part in PARTS]
    return hash_bytes(b"\0".join(content))
