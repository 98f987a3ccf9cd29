"""Whether the skill of return forecasts holds in every year, in calm and in turmoil."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import resample_dependent
from finscale.evaluation.closes import Closes
from finscale.evaluation.quantile_metrics import crps_from_quantiles
from finscale.evaluation.return_frames import ReturnFrame, gather_returns
from finscale.evaluation.return_metrics import QUANTILE_LEVELS
from finscale.evaluation.stability import Stability, regimes_of, skill_by_year_and_regime
from finscale.seeds import derive_seed


def return_stability(
    frame: ReturnFrame,
    models: Sequence[str],
    closes: Closes,
    *,
    reference_Q: npt.ArrayLike,
    horizon_bars: int,
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> dict[str, Stability]:
    """Return the CRPS skill of models on test within every year and every regime.

    Parameters
    ----------
    models
        Names; of a budget its average over seeds is meant.
    closes
        Of the cell's symbols; regimes are cut on the dates before validation begins.
    reference_Q
        Quantiles of the training returns, at `QUANTILE_LEVELS`: what has a skill of 0.
    horizon_bars
        Bars that a return spans.
    n_bootstrap, confidence, seed
        Of the intervals.

    Raises
    ------
    ValueError
        If a row has no close.
    """
    if not models:
        return {}
    # All models have the same rows.
    rows = gather_returns(frame, models[0], "test")
    regimes = regimes_of(gather_returns(frame, models[0], "validation"), rows, closes)
    constant_BQ = np.tile(np.asarray(reference_Q, dtype=np.float64), (rows.y_B.size, 1))
    base_loss_B = crps_from_quantiles(constant_BQ, rows.y_B, QUANTILE_LEVELS)
    found = {}
    for model in models:
        test = gather_returns(frame, model, "test")
        loss_B = crps_from_quantiles(test.q_BQ, test.y_B, QUANTILE_LEVELS)
        resampling = resample_dependent(
            test.date_B,
            loss_B[:, None],
            horizon_bars=horizon_bars,
            n_samples=n_bootstrap,
            seed=derive_seed(seed, "return stability"),
            confidence=confidence,
        )
        found[model] = skill_by_year_and_regime(
            loss_B,
            base_loss_B,
            (rows.y_B > 0.0).astype(np.float64),
            rows,
            resampling,
            regimes=regimes,
        )
    return found
