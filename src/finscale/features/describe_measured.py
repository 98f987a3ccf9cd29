"""What was measured of the tiers, as a chapter of the features' document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from finscale.features.build import FeatureMatrix
from finscale.features.tiers import TIERS
from finscale.files import hash_json
from finscale.market.bars import FloatArray

MEASURING_COMMAND = "python benchmarks/feature_tiers.py"

_GAPS = (
    "overnight_gap",
    "overnight_return_20",
    "overnight_variance_share_20",
    "gap_to_range_20",
)


def tier_names_hash(tier: str) -> str:
    """Hash what a tier consists of: a measurement of other features is not one of this tier."""
    return hash_json(list(TIERS[tier]))


def fingerprints(matrix: FeatureMatrix) -> dict[str, float]:
    """Return one number for the values of each feature on the usable rows.

    The mean of x_t (1 + sin t), over row numbers t: another value anywhere is another number. A
    hash would be of the last bits too, which differ between processors; compare to one part in
    10^5 of :func:`fingerprint_sizes`.
    """
    values, weights = _weighed(matrix)
    return dict(zip(matrix.names, (values.T @ weights / len(values)).tolist(), strict=True))


def fingerprint_sizes(matrix: FeatureMatrix) -> dict[str, float]:
    """Return the mean of |x_t| of each feature, which its fingerprint is measured against."""
    values, _ = _weighed(matrix)
    return dict(zip(matrix.names, np.abs(values).mean(axis=0).tolist(), strict=True))


def _weighed(matrix: FeatureMatrix) -> tuple[FloatArray, FloatArray]:
    values = matrix.values[matrix.first_row :].astype(np.float64)
    return values, 1 + np.sin(np.arange(len(values)))


def measured_markdown(measured: Mapping[str, Any]) -> str:
    """Return the chapter as GitHub's Markdown.

    Parameters
    ----------
    measured
        What ``benchmarks/feature_tiers.py`` wrote.
    """
    return "\n".join([_sizes(measured), _skills(measured), _source(measured), _copies(measured)])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _sizes(measured: Mapping[str, Any]) -> str:
    tiers: Sequence[Mapping[str, Any]] = measured["tiers"]
    limit, most = measured["near_copy_above"], measured["explained_above"]
    size = markdown_table(
        (
            "tier",
            "features",
            "effective rank",
            "participation ratio",
            f"near-copies (> {limit})",
            f"rank copies (> {limit})",
            f"R² > {most}",
        ),
        [
            (
                one["tier"],
                str(one["n_features"]),
                f"{one['effective_rank']:.1f}",
                f"{one['participation_ratio']:.1f}",
                f"{len(one['near_copies'])} ({one['near_copy_frac']:.1%})",
                str(len(one["rank_copies"])),
                f"{len(one['explained'])} ({one['explained_frac']:.1%})",
            )
            for one in tiers
        ],
    )
    return f"""\
## What the tiers hold, measured

S&P 500 (bundled), {measured["first_date"]} to {measured["last_date"]}, by

```
{MEASURING_COMMAND}
```

{size}
Effective rank is that of Roy & Vetterli (2007), EUSIPCO: the exponential of the entropy of the
singular values of the standardised features, each over their sum. The participation ratio is
(Σ λ)² / Σ λ² over the eigenvalues λ of the correlation matrix. A near-copy has an absolute
correlation above {limit} with one feature that stands before it, a rank copy the same by
Spearman's, and R² is that of a regression on all features that stand before: of what is above
{most}, a linear model can make all but the rest from the others. First usable row:
{", ".join(f"{one['tier']} {one['first_usable_row']}" for one in tiers)}.
"""


def _skills(measured: Mapping[str, Any]) -> str:
    tiers: Sequence[Mapping[str, Any]] = measured["tiers"]
    horizons = list(tiers[0]["skill"])
    return f"""\
Skill (1 − log-loss / log-loss of the training base rate) of a logistic regression that sees the
last row, for `{measured["task"]}`, validation / test. Training ends on {measured["train_end"]},
validation on {measured["validation_end"]}. *Fixed* has C = 1; *chosen* has the L2 strength of the
logistic baseline, from cross-validation ordered in time within the training rows. What fixed lacks
against chosen is overfitting. The test columns are there to show what was found, not to choose a
tier by.

{_skill_table(tiers, horizons)}
The same, chosen, less the skill of a25: 95% intervals of a circular block bootstrap
({measured["n_resamples"]:,} resamples of blocks of {measured["block_bars"]} sessions, the same for
both). Where an interval holds zero, these labels do not tell the tiers apart.

{_interval_table(tiers, horizons)}"""


def _skill_table(tiers: Sequence[Mapping[str, Any]], horizons: Sequence[str]) -> str:
    rows = []
    for one in tiers:
        for kind in ("fixed", "chosen"):
            found = [one["skill"][horizon][kind] for horizon in horizons]
            strengths = dict.fromkeys(f"{score['c']:.2g}" for score in found)
            rows.append(
                (
                    one["tier"],
                    f"{kind} (C = {', '.join(strengths)})",
                    *(
                        f"{score['validation_skill']:+.3f} / {score['test_skill']:+.3f}"
                        for score in found
                    ),
                )
            )
    return markdown_table(("tier", "L2 strength", *horizons), rows)


def _interval_table(tiers: Sequence[Mapping[str, Any]], horizons: Sequence[str]) -> str:
    header = ("tier", *(f"{one}, {part}" for one in horizons for part in ("validation", "test")))
    rows = []
    for one in tiers[1:]:
        bounds = [
            one["skill"][horizon]["less_a25"][part]
            for horizon in horizons
            for part in ("validation", "test")
        ]
        rows.append((one["tier"], *(f"{low:+.3f} … {high:+.3f}" for low, high in bounds)))
    return markdown_table(header, rows)


def _source(measured: Mapping[str, Any]) -> str:
    last = measured["tiers"][-1]
    stale = measured["stale_open_frac"]
    years = list(stale)
    opens = markdown_table(years, [[f"{stale[year]:.0%}" for year in years]])
    clipped = markdown_table(
        ("feature", "train", "validation", "test"),
        [
            (
                f"`{one['feature']}`",
                *(f"{one[part]:.0%}" for part in ("train", "validation", "test")),
            )
            for one in last["often_clipped"]
        ],
    )
    return f"""\
### What the data source changed

In the bundled S&P 500 the open is the previous close for years: a value that the source put there,
and no price. Share of the opens within 0.01% of the previous close:

{opens}
Features of the gap between a close and the next open ({", ".join(f"`{one}`" for one in _GAPS)}
and others) measure this change of the source as much as the market. They are standard quantities,
tell what they say where opens are real, as in the bundled NASDAQ, and stay in the tiers; but on
this series their distribution in training is not the one in validation and test. The scale that a
study divides by is made so that it does not collapse on such values (`finscale.windows.Scaler`).
Clipped at ±{measured["clip"]:g} in more than {measured["often_clipped_above"]:.0%} of the rows of a
part all the same, of the {last["n_features"]} features of {last["tier"]}:

{clipped}
On bars whose opens are not prices, prefer another source, or read the importance of these
features with this in mind.
"""


def _copies(measured: Mapping[str, Any]) -> str:
    last = measured["tiers"][-1]
    parts = []
    for key, what in (("near_copies", "near-copies"), ("rank_copies", "rank copies")):
        table = markdown_table(
            ("feature", "nearly", "correlation"),
            [
                (f"`{one['feature']}`", f"`{one['of']}`", f"{one['correlation']:+.3f}")
                for one in last[key]
            ],
        )
        parts.append(_folded(f"The {what} of {last['tier']}", table))
    table = markdown_table(
        ("feature", "R² on those before"),
        [(f"`{one['feature']}`", f"{one['r_squared']:.4f}") for one in last["explained"]],
    )
    title = f"The features of {last['tier']} that those before them explain"
    return "\n".join([*parts, _folded(title, table)])


def _folded(title: str, table: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{table}\n</details>\n"
