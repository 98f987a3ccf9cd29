"""What an experiment's runs share: features, labels, split and scaling of one cell.

A cell is one horizon and task; the budgets of a study compete on the same cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from finscale.errors import SplitError, StudyError
from finscale.features.build import FeatureMatrix, build_features
from finscale.features.tiers import tier_features
from finscale.files import hash_bytes
from finscale.market.bars import OHLCV, bars_hash, to_arrays
from finscale.market.sources.bundled import load_bundled
from finscale.market.sources.file import load_file
from finscale.splits import Split, hold_out
from finscale.study import BundledData, FileData, Study, TaskName, cell_name
from finscale.tasks import Task, get_task, label_rows
from finscale.windows import Scaler, Windows

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Market:
    """The study's bars and their features."""

    name: str
    symbol: str
    bars: OHLCV
    bars_hash: str
    tier: str
    features: FeatureMatrix

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the data, JSON-ready."""
        return {
            "name": self.name,
            "symbol": self.symbol,
            "n_bars": len(self.bars),
            "first_date": str(self.bars.date[0]),
            "last_date": str(self.bars.date[-1]),
            "bars_hash": self.bars_hash,
            "tier": self.tier,
            "feature_names": list(self.features.names),
            "first_usable_row": self.features.first_row,
            "date": [str(day) for day in self.bars.date],
            "close": self.bars.close.tolist(),
        }


@dataclass(frozen=True)
class Cell:
    """One horizon and task."""

    horizon_bars: int
    task: TaskName

    @property
    def name(self) -> str:
        """``h1_threshold_1pct``."""
        return cell_name(self.horizon_bars, self.task)


@dataclass(frozen=True)
class CellData:
    """The rows, labels and scaled features that every model of a cell is trained and scored on.

    Attributes
    ----------
    labels_T
        float32, NaN where the future is not there yet.
    scaled_TF
        float32 features scaled by training statistics, NaN before the first usable row.
    base_rate
        Share of positive labels among the training anchors.
    data_hash
        SHA-256 over features and labels.
    """

    cell: Cell
    task: Task
    date: NDArray[np.datetime64]
    feature_names: tuple[str, ...]
    families: tuple[str, ...]
    scaler: Scaler
    labels_T: NDArray[np.float32]
    scaled_TF: NDArray[np.float32]
    split: Split
    base_rate: float
    data_hash: str

    def windows(self, context_length: int, device: torch.device) -> Windows:
        """Put the rows on a device."""
        return Windows(self.scaled_TF, self.labels_T, context_length=context_length, device=device)

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the cell, JSON-ready."""
        return {
            "question": self.task.describe(self.cell.horizon_bars),
            "horizon_bars": self.cell.horizon_bars,
            "task": self.cell.task,
            "base_rate": self.base_rate,
            "data_hash": self.data_hash,
            "parts": {name: self._describe_part(name) for name in PARTS},
        }

    def _describe_part(self, name: str) -> dict[str, Any]:
        rows = self.split.part(name)
        return {
            "n": len(rows),
            "first_date": str(self.date[rows[0]]),
            "last_date": str(self.date[rows[-1]]),
            "event_rate": float(self.labels_T[rows].mean()),
        }


def load_bars(data: BundledData | FileData) -> tuple[str, pl.DataFrame]:
    """Return the name of a data set and its valid bars.

    Raises
    ------
    DataError
        If the data are missing, damaged or impossible.
    """
    if isinstance(data, BundledData):
        return f"bundled {data.symbol}", load_bundled(data.symbol)
    return data.path.name, load_file(data.path, symbol=data.symbol)


def load_market(study: Study) -> Market:
    """Load the study's bars and build its tier of features.

    Raises
    ------
    DataError, FeatureError
        If bars or features cannot be had.
    """
    name, frame = load_bars(study.data)
    bars = to_arrays(frame)
    return Market(
        name=name,
        symbol=frame["symbol"][0],
        bars=bars,
        bars_hash=bars_hash(frame),
        tier=study.features.tier,
        features=build_features(bars, tier_features(study.features.tier)),
    )


def study_cells(study: Study) -> tuple[Cell, ...]:
    """Return every horizon and task of a study."""
    return tuple(Cell(horizon, task) for task in study.tasks for horizon in study.horizons)


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

    Raises
    ------
    SplitError
        If a part has no samples, or its labels are all the same.
    """
    task, features = get_task(cell.task), market.features
    labels_T = label_rows(market.bars, task, cell.horizon_bars)
    split = hold_out(
        features.date,
        study.split,
        first_anchor=features.first_row + study.windows.context_length - 1,
        horizon_bars=cell.horizon_bars,
    )
    base_rate = float(labels_T[split.train].mean(dtype=np.float64))
    for part in PARTS:
        labels = labels_T[split.part(part)]
        if labels.min() == labels.max():
            raise SplitError(
                f"{cell.name}: every {part} label is {labels[0]:.0f}, so there is nothing to "
                "learn or score; choose another task or horizon, or move the split"
            )
    # Rows that training windows see: from the first usable one to the last training anchor.
    seen_TF = features.values[features.first_row : split.train[-1] + 1]
    scaler = Scaler.fit(seen_TF, study.windows.clip)
    content = [features.content_hash().encode(), labels_T.astype("<f4").tobytes()]
    return CellData(
        cell=cell,
        task=task,
        date=features.date,
        feature_names=features.names,
        families=features.families,
        scaler=scaler,
        labels_T=labels_T,
        scaled_TF=scaler.transform(features.values),
        split=split,
        base_rate=base_rate,
        data_hash=hash_bytes(b"\0".join(content)),
    )
