"""The features as a document: every tier, from the registry, beside what was measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from finscale.features.context import ContextKind, context_features
from finscale.features.describe_measured import markdown_table, measured_markdown
from finscale.features.registry import Feature
from finscale.features.tiers import TIERS, tier_features

GENERATING_COMMAND = "python docs/make_features.py"

_INTRODUCTION = f"""\
# Features

<!-- Generated from the registry by `{GENERATING_COMMAND}`; a test keeps it current. -->

A feature is a causal function of the bars up to and including row t. A tier is a named, ordered
set of features, each a superset of the one below: what is listed under a50 comes on top of a25.
All are free of scale: returns, ratios, ranks, bounded oscillators and logs of scale-free
quantities, never the level of a price or a volume. That makes them comparable over decades as far
as the bars are; a change in how bars are recorded is not taken away (see *What the data source
changed*).

`finscale features list TIER` prints a tier, `finscale features check` proves causality on data and
features of one's own, and `finscale features build` writes tables into the catalogue.

## Reading the formulas

| symbol | meaning |
| --- | --- |
| O, H, L, C, V | open, high, low, close and volume of row t; `C_{{t-n}}` is n bars before |
| r | log return of the close, `ln(C_t / C_{{t-1}})` |
| mean_n, sum_n, sd_n, min_n, max_n | over rows t - n + 1 … t; SMA_n is mean_n |
| EMA_n | exponential average of weight 2 / (n + 1); Wilder's has weight 1 / n |
| X, x | a context series as of the bar's close, and its log change over one bar |

**Look-back** is the number of rows before t that the value at t depends on. For a window it is
exact: the value needs that many rows and no more. A recursive indicator never quite forgets where
history starts; its look-back is the number of rows after which the value agrees with the one from
the full history to 1e-6. That holds of markets that move by a few percent a session: on a series of
8% a session nine recursive indicators of a500 (`rsi_14` and `adx_14` among them) were seen to
differ by up to 1e-5, which `finscale features check` then reports. **Warm-up** follows from it: a
matrix begins at the row whose number is the longest look-back of its features, their *first usable
row*, so that no value depends by more on where history starts. A feature of a context series counts
from the first value of the series. `tests/features/test_lookback.py` measures both for every
feature.

**Causality** is proved for every feature, with no exemptions, by
`tests/features/test_causality.py`: cutting off the rows after t changes no value up to t, and
replacing them by another future changes none, both to the last bit, on random bars and on a real
market. Views by week and month use completed periods only, which the same proof covers.
"""

_EXAMPLES: tuple[tuple[str, ContextKind, str], ...] = (
    ("vix", "volatility_index", "a volatility index, in percent a year"),
    ("index", "price", "a price or the level of an index"),
)


def features_markdown(measured: Mapping[str, Any]) -> str:
    """Return the document as GitHub's Markdown.

    Parameters
    ----------
    measured
        What ``benchmarks/feature_tiers.py`` wrote.
    """
    parts = [_INTRODUCTION, measured_markdown(measured)]
    below: tuple[str, ...] = ()
    for tier, names in TIERS.items():
        added = [one for one in tier_features(tier) if one.name not in below]
        parts.append(_tier(tier, added, below=len(below)))
        below = names
    parts.append(_context())
    return "\n".join(parts)


def _tier(tier: str, features: Sequence[Feature], *, below: int) -> str:
    more = f", {len(features)} of them new" if below else ""
    return "\n".join([f"## {tier}: {below + len(features)} features{more}\n", *_families(features)])


def _families(features: Sequence[Feature]) -> Iterable[str]:
    order = list(dict.fromkeys(one.family for one in features))
    ranked = sorted(features, key=lambda one: order.index(one.family))
    for family, members in groupby(ranked, key=lambda one: one.family):
        listed = list(members)
        yield f"### {family} ({len(listed)})\n\n{_featuremarkdown_table(listed)}"


def _context() -> str:
    tables = "\n".join(
        f"### {series}: {what}\n\n{_featuremarkdown_table(context_features(series, kind))}"
        for series, kind, what in _EXAMPLES
    )
    return f"""\
## Context features

Not part of a tier, but added to one where the study or the command names a series. Their names
begin with that of the series; here they are with `vix` and `index` as examples.

A volatility index is in percent a year, and a year is taken for 252 bars. On bars of several
sessions that is no year: there the logs of the index over a volatility are shifted by a constant
and the scaled returns multiplied by one, which nothing that is scaled by its own spread sees, but
`vix_volatility_premium_20` is a difference of what is no longer alike. Read it on daily bars only.

{tables}"""


def _featuremarkdown_table(features: Sequence[Feature]) -> str:
    return markdown_table(
        ("name", "meaning", "formula", "inputs", "look-back", "reference"),
        [
            (
                f"`{one.name}`",
                _text(one.meaning),
                _code(one.formula),
                ", ".join(one.inputs),
                str(one.lookback_bars),
                _text(one.reference),
            )
            for one in features
        ],
    )


def _text(text: str) -> str:
    """Escape what Markdown would read as markup in a table's cell."""
    for mark in "\\|*<`":
        text = text.replace(mark, f"\\{mark}")
    return text


def _code(formula: str) -> str:
    # A pipe ends the cell even inside a code span, unless it is escaped.
    return f"`{formula.replace('|', chr(92) + '|')}`"
