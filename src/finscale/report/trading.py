"""What the forecasts of a cell would have earned as positions, as a table with its caveats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finscale.report.numbers import estimate_text, number, percent
from finscale.report.tables import Table
from finscale.report.theme import display

Item = Mapping[str, Any]


@dataclass(frozen=True)
class TradingSection:
    """What the page shows of a cell's backtests."""

    backtests: Table
    note: str


def trading_section(evidence: Item) -> TradingSection | None:
    """Return the backtests of one cell; None where there are none."""
    economics = evidence["economics"]
    return None if economics is None else TradingSection(_backtests(economics), _note(economics))


def _backtests(economics: Item) -> Table:
    every = (*economics["timing"], *economics["cross_section"])
    rows = [
        (
            display(one["name"]).replace("/", ", "),
            percent(one["annual_return"]),
            percent(one["annual_volatility"]),
            estimate_text(one["sharpe"], 2, sign=True),
            percent(one["max_drawdown"]),
            number(one["annual_turnover"], digits=1),
            number(one["deflated_sharpe"], digits=2),
        )
        for one in every
    ]
    header = (
        *("strategy", "return a year", "volatility", "Sharpe ratio", "worst drawdown"),
        *("turnover a year", "deflated Sharpe"),
    )
    return Table(header, tuple(rows))


def _note(economics: Item) -> str:
    trading = economics["trading"]
    when = "the same close" if trading["lag"] == 0 else f"a close {trading['lag']} later"
    return (
        f"Never the headline: what the forecasts would have earned as positions traded at {when}, "
        f"{trading['cost_bps']:g} basis points for each full turn, rules chosen on validation: in "
        "the market while the forecast (of the return its mean) is beyond a threshold, or in "
        "proportion to how far it is beyond. The "
        "deflated Sharpe ratio (Bailey and López de Prado 2014) is the probability of beating the "
        f"best of {economics['n_strategies']:,} strategies without skill: "
        f"{economics['n_models']:,} models (every trial of the searches here, and the baselines) "
        f"under {economics['n_rules']} rules each, and buy and hold. Strategies that resemble each "
        "other count in full, so the probability is too low rather than too high."
    )
