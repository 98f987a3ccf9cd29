"""Scores of probability forecasts of a binary event, always against the training base rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from finscale.evaluation.calibration import ReliabilityBin, check_forecasts, reliability_curve

EPS = 1e-7
"""Probabilities are clipped to [EPS, 1 - EPS] in a log-loss: no row costs more than 16.1 nats."""

N_BINS = 10

COLLAPSE_P_VALUE = 0.05

# Two predictions whose odds differ by under 1%. Forecasts this close together can gain at most
# p (1 - p) 0.01² / 8 < 4e-6 nats over their mean: no skill that any table would show.
NEARLY_EQUAL_LOGIT_RANGE = 0.01

FloatArray = npt.NDArray[np.float64]


def sigmoid(logits: npt.ArrayLike) -> FloatArray:
    """Probabilities of logits: the one place where a model's output becomes a probability.

    Computed in float64 without overflow for any finite logit, in any shape. Models return logits;
    applying this to something that is already a probability squeezes it into [0.5, 0.73].
    """
    return np.asarray(special.expit(np.asarray(logits, dtype=np.float64)), dtype=np.float64)


def log_loss(p_B: npt.ArrayLike, y_B: npt.ArrayLike) -> float:
    """Mean negative log-likelihood in nats, with probabilities clipped to [EPS, 1 - EPS].

    Parameters
    ----------
    p_B, y_B : array_like
        Predicted probabilities and 0/1 labels, shape (B,).

    Raises
    ------
    ValueError
        See `finscale.evaluation.calibration.check_forecasts`.
    """
    return float(np.mean(row_log_loss(p_B, y_B)))


def row_log_loss(p_B: npt.ArrayLike, y_B: npt.ArrayLike) -> FloatArray:
    """Negative log-likelihood of each row in nats, clipped as in `log_loss`; shape (B,).

    Raises
    ------
    ValueError
        See `finscale.evaluation.calibration.check_forecasts`.
    """
    p_B, y_B = check_forecasts(p_B, y_B)
    p_B = np.clip(p_B, EPS, 1.0 - EPS)
    return np.asarray(-(special.xlogy(y_B, p_B) + special.xlog1py(1.0 - y_B, -p_B)))


def skill(log_loss: float, base_log_loss: float) -> float:
    """Skill score 1 - log_loss / base_log_loss: 0 is no better than the base rate, 1 is perfect.

    Parameters
    ----------
    log_loss : float
        Log-loss of the model, in nats.
    base_log_loss : float
        Log-loss, on the *same rows*, of always predicting the base rate of the *training* rows.
        The base rate of the scored rows would be a forecast nobody could have made.

    Raises
    ------
    ValueError
        If ``base_log_loss`` is not positive.
    """
    if not base_log_loss > 0.0:
        raise ValueError(f"the base rate's log-loss must be positive, got {base_log_loss}")
    return 1.0 - log_loss / base_log_loss


def hindsight_skill(event_rate: float, base_rate: float) -> float:
    """Skill of always predicting the scored rows' own event rate, known only in hindsight.

    Above 0 where the rate has drifted since training: skill up to here may be a shift of level and
    no knowledge of which rows are events. From the entropy of the rate o against its cross-entropy
    with the base rate b: 1 - H(o) / H(o, b).

    Raises
    ------
    ValueError
        If the base rate is 0 or 1.
    """

    def cross_entropy(rate: float) -> float:
        hits = special.xlogy(event_rate, rate)
        return float(-(hits + special.xlog1py(1.0 - event_rate, -rate)))

    if not 0.0 < base_rate < 1.0:
        raise ValueError(f"the base rate must be within (0, 1), got {base_rate}")
    return skill(cross_entropy(event_rate), cross_entropy(base_rate))


@dataclass(frozen=True)
class Metrics:
    """Scores of one set of predictions; see `evaluate` for how each is computed.

    Attributes
    ----------
    n : int
        Rows scored.
    event_rate : float
        Share of rows with label 1.
    log_loss, base_log_loss, skill : float
        Nats, nats, and 1 - log_loss / base_log_loss.
    brier, brier_skill : float
        Mean squared error of the probability; 1 - brier / brier of the training base rate (None
        where the latter is 0).
    reliability, resolution, uncertainty : float
        Murphy's decomposition over at most ten equal-count bins.
    auc, average_precision : float or None
        None where one class is absent.
    calibration_error : float
        Expected calibration error over the same bins.
    p_min, p_05, p_95, p_max : float
        Range and 5% and 95% quantiles of the predictions.
    collapsed : bool
        Whether the predictions show no resolution; see `evaluate` for what this does not detect.
    collapse_p_value : float or None
        P-value of independence of bin and label; None with one bin or one class.
    """

    n: int
    event_rate: float
    log_loss: float
    base_log_loss: float
    skill: float
    brier: float
    brier_skill: float | None
    reliability: float
    resolution: float
    uncertainty: float
    auc: float | None
    average_precision: float | None
    calibration_error: float
    p_min: float
    p_05: float
    p_95: float
    p_max: float
    collapsed: bool
    collapse_p_value: float | None

    def as_dict(self) -> dict[str, int | float | bool | None]:
        """Fields by name, ready for JSON: finite numbers, booleans, and None where undefined."""
        return asdict(self)


def evaluate(p_B: npt.ArrayLike, y_B: npt.ArrayLike, *, base_rate: float) -> Metrics:
    """Score probabilities against labels and against the training base rate.

    The Brier score is decomposed over bins k of n_k rows (Murphy 1973, "A new vector partition of
    the probability score", eq. 9): reliability = Σ n_k (p_k - o_k)² / n, resolution =
    Σ n_k (o_k - o)² / n and uncertainty = o (1 - o), with p_k the bin's mean prediction, o_k its
    event frequency and o that of all rows. ``reliability - resolution + uncertainty`` is exactly
    the Brier score of the predictions replaced by their bin means; the score of the predictions
    themselves differs by the variation within bins. The calibration error is Σ n_k |p_k - o_k| / n;
    noise makes it positive even for a perfect forecaster, by some 0.8 sqrt(o (1 - o) / n_k).

    **Collapse.** If bins and labels are independent, n * resolution / uncertainty (Pearson's
    statistic of the 2 × bins table) is approximately chi-square with bins - 1 degrees of freedom.
    ``collapsed`` is set when its p-value exceeds 0.05, or when the odds of all predictions agree
    within 1%. What it does not detect, and what it does not prove:

    - Labels that overlap (horizons above one bar), and labels and predictions that both move
      slowly, inflate the statistic, so that a collapsed model may go unflagged. A horizon of h
      bars leaves roughly n / h independent rows.
    - Resolution has no sign and no scale: predictions that are upside down, or badly calibrated,
      are not collapsed. Read it together with skill and AUC.
    - On few rows a real but weak signal is flagged: the flag says that no resolution was shown.
    - With one class absent nothing can be shown, and only equal predictions are flagged.

    Parameters
    ----------
    p_B : array_like
        Predicted probabilities, shape (B,), within [0, 1].
    y_B : array_like
        Labels, shape (B,), 0 or 1.
    base_rate : float
        Event rate of the training rows, within [0, 1].

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If the inputs are empty, of different lengths or outside their ranges.
    """
    p_B, y_B = check_forecasts(p_B, y_B)
    if not 0.0 <= base_rate <= 1.0:
        raise ValueError(f"the base rate must be within [0, 1], got {base_rate}")
    base_B = np.full_like(p_B, base_rate)
    loss, base_loss = log_loss(p_B, y_B), log_loss(base_B, y_B)
    brier, base_brier = float(np.mean((p_B - y_B) ** 2)), float(np.mean((base_B - y_B) ** 2))
    bins = reliability_curve(p_B, y_B, N_BINS)
    reliability, resolution, uncertainty = murphy_decomposition(bins)
    p_value = _independence_p_value(p_B.size, len(bins), resolution, uncertainty)
    p_05, p_95 = np.quantile(p_B, [0.05, 0.95])
    return Metrics(
        n=p_B.size,
        event_rate=float(y_B.mean()),
        log_loss=loss,
        base_log_loss=base_loss,
        skill=skill(loss, base_loss),
        brier=brier,
        brier_skill=1.0 - brier / base_brier if base_brier > 0.0 else None,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        auc=_auc(p_B, y_B),
        average_precision=_average_precision(p_B, y_B),
        calibration_error=_calibration_error(bins),
        p_min=float(p_B.min()),
        p_05=float(p_05),
        p_95=float(p_95),
        p_max=float(p_B.max()),
        collapsed=_nearly_equal(p_B) or (p_value is not None and p_value > COLLAPSE_P_VALUE),
        collapse_p_value=p_value,
    )


def murphy_decomposition(bins: Sequence[ReliabilityBin]) -> tuple[float, float, float]:
    """Reliability, resolution and uncertainty of the Brier score over bins (Murphy 1973)."""
    predicted_K, observed_K, weight_K = _columns(bins)
    event_rate = float(weight_K @ observed_K)
    reliability = float(weight_K @ (predicted_K - observed_K) ** 2)
    resolution = float(weight_K @ (observed_K - event_rate) ** 2)
    return reliability, resolution, event_rate * (1.0 - event_rate)


def _calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    predicted_K, observed_K, weight_K = _columns(bins)
    return float(weight_K @ np.abs(predicted_K - observed_K))


def _columns(bins: Sequence[ReliabilityBin]) -> tuple[FloatArray, FloatArray, FloatArray]:
    predicted_K = np.array([b.mean_predicted for b in bins])
    observed_K = np.array([b.observed_frequency for b in bins])
    count_K = np.array([b.count for b in bins], dtype=np.float64)
    return predicted_K, observed_K, count_K / count_K.sum()


def _independence_p_value(
    n: int, n_bins: int, resolution: float, uncertainty: float
) -> float | None:
    if n_bins < 2 or uncertainty <= 0.0:
        return None
    return float(stats.chi2.sf(n * resolution / uncertainty, n_bins - 1))


def _nearly_equal(p_B: FloatArray) -> bool:
    low, high = special.logit(np.clip([p_B.min(), p_B.max()], EPS, 1.0 - EPS))
    return bool(high - low < NEARLY_EQUAL_LOGIT_RANGE)


def _auc(p_B: FloatArray, y_B: FloatArray) -> float | None:
    """Probability that an event is ranked above a non-event, ties counting half."""
    n_events = int(y_B.sum())
    n_others = y_B.size - n_events
    if n_events == 0 or n_others == 0:
        return None
    rank_sum = float(stats.rankdata(p_B) @ y_B)
    return (rank_sum - n_events * (n_events + 1) / 2) / (n_events * n_others)


def _average_precision(p_B: FloatArray, y_B: FloatArray) -> float | None:
    """Σ (recall_k - recall_{k-1}) precision_k over the distinct thresholds, descending."""
    n_events = int(y_B.sum())
    if n_events in (0, y_B.size):
        return None
    order_B = np.argsort(-p_B, kind="stable")
    last_of_tie_T = np.flatnonzero(np.diff(p_B[order_B], append=-1.0))
    hits_T = np.cumsum(y_B[order_B])[last_of_tie_T]
    precision_T = hits_T / (last_of_tie_T + 1.0)
    return float(np.diff(hits_T, prepend=0.0) @ precision_T / n_events)
