"""Whether features say anything on the bars at hand: bars enough, and values that change."""

from __future__ import annotations

from collections.abc import Sequence

from finscale.errors import FeatureError
from finscale.features.build import FeatureMatrix
from finscale.features.registry import Feature
from finscale.market.symbol_bars import Finding

# Sessions that a bar of each coarser scale has at most, or nearly.
_SESSIONS = {"2d": 2, "3d": 3, "5d": 5, "weekly": 5, "monthly": 21}
# Over fewer rows a slow feature may well stand still.
_FEW_ROWS = 50
_NAMED = 5


def require_bars_enough(n_bars: int, n_daily: int, scale: str, features: Sequence[Feature]) -> None:
    """Refuse a time scale on which the longest look-back has more bars than there are.

    Parameters
    ----------
    n_bars
        Bars on the time scale.
    n_daily
        Daily bars that they were made from.
    scale
        One of :data:`finscale.market.timescale.TIME_SCALES`; daily bars are left to
        :func:`finscale.features.build.build_features`, which knows where series begin.

    Raises
    ------
    FeatureError
        Saying how many daily bars would do.
    """
    slowest = max(features, key=lambda one: one.lookback_bars)
    if scale not in _SESSIONS or n_bars > slowest.lookback_bars:
        return
    needed = (slowest.lookback_bars + 1) * _SESSIONS[scale]
    raise FeatureError(
        f"{n_daily:,} daily bars make {n_bars:,} {scale} ones, and {slowest.name} looks back over "
        f"{slowest.lookback_bars}; choose a finer time scale, or give many more than {needed:,} "
        "daily bars"
    )


def find_constant(matrix: FeatureMatrix) -> tuple[Finding, ...]:
    """Warn of features that have one value in all usable rows, such as the weekday of weeks."""
    values_TF = matrix.values[matrix.first_row :]
    if len(values_TF) < _FEW_ROWS:
        return ()
    is_constant_F = values_TF.min(axis=0) == values_TF.max(axis=0)
    names = [name for name, same in zip(matrix.names, is_constant_F, strict=True) if same]
    if not names:
        return ()
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    word = "feature never changes" if len(names) == 1 else "features never change"
    message = f"{len(names)} {word} on these bars: {', '.join(names[:_NAMED])}{more}"
    fix = "nothing can be learnt from it; another tier or time scale may not have it"
    return (Finding("constant_feature", "warning", message, fix),)
