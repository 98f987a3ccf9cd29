from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from finscale.report.data_tables import symbol_skill_table, symbols_table, warnings_table


def one(symbol: str, n_warnings: int = 0, **more: Any) -> dict[str, Any]:
    finding = {"message": "volume is 0", "dates": ["2018-01-02"], "n": 3}
    return {
        "symbol": symbol,
        "n_bars": 1234,
        "first_date": "1999-01-04",
        "last_date": "2018-12-31",
        "bars_hash": "ba25" * 16,
        "provenance": {"prices": "adjusted"},
        "warnings": [finding] * n_warnings,
        **more,
    }


def symbols(n: int, n_warnings: int = 0) -> list[dict[str, Any]]:
    return [one(f"S{i}", n_warnings, first_usable_row=254) for i in range(n)]


def test_context_is_shown_beside_the_symbols() -> None:
    series = one("^VIX", 1, name="vix", kind="volatility_index")
    data = {"symbols": symbols(1), "context_series": [series]}
    assert symbols_table(data).rows == (
        (
            "^VIX (context vix)",
            "1999-01-04",
            "2018-12-31",
            "adjusted",
            "–",
            "ba25ba25ba25",
            "1,234",
            "–",
        ),
        ("S0", "1999-01-04", "2018-12-31", "adjusted", "–", "ba25ba25ba25", "1,234", "255"),
    )
    assert warnings_table(data).rows == (("^VIX (context vix)", "volume is 0", "2018-01-02", "3"),)


def test_repairs_are_shown() -> None:
    repairs = [
        {"repair": "drop_future", "n_rows": 3, "rows": "798-800"},
        {"repair": "sort", "n_rows": 0, "rows": ""},
    ]
    data = {"symbols": [one("S", provenance={"prices": "adjusted", "repairs": repairs})]}
    table = symbols_table(data)
    assert dict(zip(table.header, table.rows[0], strict=True))["repairs"] == (
        "drop_future, 3 rows (798-800); sort, 0 rows"
    )


def test_tables_say_how_much_they_leave_out() -> None:
    assert len(symbols_table({"symbols": symbols(40)}).rows) == 40
    table = symbols_table({"symbols": symbols(1042)})
    assert len(table.rows) == 41
    assert table.rows[-1] == ("… and 1,002 more, in data.json", *[""] * 7)
    table = warnings_table({"symbols": symbols(41, 1)})
    assert table.rows[-1] == ("… and 1 more, in data.json", "", "", "")
    assert table.rows[39][0] == "S39"
    assert all(len(row) == len(table.header) for row in table.rows)


@pytest.mark.parametrize(("n", "n_rows"), [(40, 40), (45, 41)])
def test_the_table_of_skill_by_symbol_says_how_much_it_leaves_out(n: int, n_rows: int) -> None:
    label = np.tile([0.0, 1.0], n)
    predictions = pl.DataFrame(
        {
            "part": "test",
            "seed": pl.Series([None] * (2 * n), dtype=pl.Int64),
            "symbol": np.repeat([f"S{i}" for i in range(n)], 2),
            "model": "logistic_all",
            "label": label,
            "probability": 0.2 + 0.6 * label,
        }
    )
    cell = {"base_rate": 0.5, "best_baseline": "logistic_all", "budgets": {}}
    table = symbol_skill_table(cell, predictions)
    assert table is not None
    assert len(table.rows) == n_rows
    if n > 40:
        assert table.rows[-1] == ("… and 5 more, in predictions.parquet", "", "", "")
