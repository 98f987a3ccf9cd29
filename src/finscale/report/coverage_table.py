"""The table of what was tried of each budget's grid."""

from __future__ import annotations

from collections.abc import Mapping

from finscale.report.numbers import NOTHING
from finscale.report.tables import Table
from finscale.search.coverage import Coverage, untouched

_HEADER = (
    "budget",
    "architectures tried",
    "extremes tried",
    "runs forced",
    "runs sampled",
    "supplementary runs",
    "values never tried",
)


def coverage_table(found: Mapping[str, Coverage]) -> Table:
    """Return a row per budget; values that no run had are named by their dimension."""
    rows = [
        (
            label,
            f"{one.total.n_tried} of {one.total.n}",
            f"{one.extremes.n_tried} of {one.extremes.n}",
            *(
                str(one.n_trials_by_origin.get(origin, 0))
                for origin in ("forced", "search", "supplementary")
            ),
            ", ".join(untouched(one)) or NOTHING,
        )
        for label, one in found.items()
    ]
    return Table(_HEADER, tuple(rows))
