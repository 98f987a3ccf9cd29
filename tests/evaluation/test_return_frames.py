"""Quantile forecasts as a frame: what is kept, and what is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finscale.errors import RunDirectoryError
from finscale.evaluation.return_frames import (
    QUANTILE_COLUMNS,
    gather_returns,
    read_return_frame,
    return_frame,
    validate_return_frame,
    write_return_frame,
)

Q = np.linspace(-0.02, 0.02, 19)


def frame(model: str = "20K", seed: int | None = None, shift: float = 0.0) -> pl.DataFrame:
    return return_frame(
        rows=[7, 8],
        symbols=["B", "A"],
        dates=[dt.date(2020, 1, 2), dt.date(2020, 1, 2)],
        part="test",
        returns=[0.01, -0.01],
        model=model,
        seed=seed,
        losses_B=[3.0 + shift, 2.5],
        means_B=[0.001, -0.001],
        quantiles_BQ=[Q + shift, Q],
    )


def test_the_columns_are_named_by_their_level() -> None:
    assert QUANTILE_COLUMNS[:2] == ("q05", "q10")
    assert QUANTILE_COLUMNS[-1] == "q95"
    assert frame()["q50"].to_list() == [0.0, 0.0]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    both = pl.concat([frame(), frame("base_rate")])
    write_return_frame(tmp_path / "kept.parquet", both)
    assert read_return_frame(tmp_path / "kept.parquet").equals(both)


def test_a_model_is_gathered_by_date_and_symbol_without_its_seeds() -> None:
    both = pl.concat([frame(shift=0.001), frame(seed=3), frame("base_rate")])
    gathered = gather_returns(both, "20K", "test")
    assert gathered.symbol_B.tolist() == ["A", "B"]
    assert gathered.y_B.tolist() == [-0.01, 0.01]
    np.testing.assert_allclose(gathered.q_BQ, [Q, Q + 0.001])
    assert gathered.mean_B is not None
    assert gathered.mean_B.tolist() == [-0.001, 0.001]


def test_what_breaks_the_contract_is_refused() -> None:
    with pytest.raises(ValueError, match="do not rise"):
        validate_return_frame(frame().with_columns(q10=pl.lit(0.5)))
    with pytest.raises(ValueError, match="not finite"):
        validate_return_frame(frame().with_columns(pl.lit(float("nan")).alias("return")))
    with pytest.raises(ValueError, match="twice"):
        validate_return_frame(pl.concat([frame(), frame()]))
    other = frame("base_rate").with_columns(pl.lit(0.3).alias("return"))
    with pytest.raises(ValueError, match="two symbols, dates, parts or returns"):
        validate_return_frame(pl.concat([frame(), other]))
    with pytest.raises(ValueError, match="columns must be"):
        validate_return_frame(frame().drop("q95"))


def test_a_file_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="evaluate this run first"):
        read_return_frame(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(RunDirectoryError, match="delete it and evaluate this run again"):
        read_return_frame(tmp_path / "bad.parquet")
