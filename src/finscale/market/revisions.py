"""What a newer version of bars changes in an older one."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from finscale.market.bars import PRICES


@dataclass(frozen=True)
class Revision:
    """The differences between two versions of the bars of one symbol, session by session.

    Attributes
    ----------
    n_added, n_removed
        Sessions that only the newer, or only the older version has.
    n_changed
        Sessions whose prices or volume differ.
    n_inserted
        Of those added, the ones before the older version's last session.
    first_changed
        First session that was changed, removed or inserted.
    max_change_frac
        Largest change of a close, relative to the older one.
    n_days_back
        By how many days the newer version ends before the older one; 0 if it does not.
    """

    n_added: int
    n_changed: int
    n_removed: int
    n_inserted: int
    first_changed: dt.date | None
    max_change_frac: float
    n_days_back: int

    @property
    def rewrites_history(self) -> bool:
        """Whether anything but new sessions at the end is different."""
        return self.n_changed + self.n_removed + self.n_inserted > 0

    def as_dict(self) -> dict[str, Any]:
        """Return the revision, JSON-ready."""
        first = None if self.first_changed is None else str(self.first_changed)
        return {
            **asdict(self),
            "first_changed": first,
            "rewrites_history": self.rewrites_history,
        }


def compare_bars(older: pl.DataFrame, newer: pl.DataFrame) -> Revision:
    """Compare two versions of the bars of one symbol.

    Equal means equal to the bit: a provider that adjusts prices anew changes all of them a little.
    """
    numbers = [*PRICES, "volume"]
    both = older.join(newer, on="date", suffix="_newer")
    is_changed = pl.any_horizontal(pl.col(name) != pl.col(f"{name}_newer") for name in numbers)
    changed = both.filter(is_changed)
    added, removed = newer.join(older, on="date", how="anti"), older.join(newer, "date", how="anti")
    end: dt.date = older["date"][-1]
    inserted = added.filter(pl.col("date") < end)
    dates = pl.concat([changed["date"], removed["date"], inserted["date"]])
    change_frac = (changed["close_newer"] / changed["close"] - 1).abs().max()
    return Revision(
        n_added=len(added),
        n_changed=len(changed),
        n_removed=len(removed),
        n_inserted=len(inserted),
        first_changed=min(dates, default=None),
        max_change_frac=float(change_frac) if isinstance(change_frac, float) else 0.0,
        n_days_back=max((end - newer["date"][-1]).days, 0),
    )
