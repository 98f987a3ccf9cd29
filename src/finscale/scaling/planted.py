"""Whether the law that was found is the one that is there, where the truth is known.

On a simulated market the loss that a trained model has to expect is known without its labels: the
entropy of the true probabilities plus the model's divergence from them. Judged by the same rules,
these losses give the verdict that the labels of a finite test part can only approach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from finscale.scaling.points import Point
from finscale.scaling.uncertainty import Kind
from finscale.scaling.verdict import judge
from finscale.scaling.wording import change_text

Agreement = Literal["agrees", "missed", "false", "undecided"]


@dataclass(frozen=True)
class Planted:
    """The verdict by the true probabilities, beside that by the labels.

    Attributes
    ----------
    kind
        What the expected losses say of size.
    agreement
        ``"agrees"``; ``"missed"`` where the truth depends on size and the labels show no evidence;
        ``"false"`` where the labels show what is not there; ``"undecided"`` below six sizes.
    sentence
        In words, with numbers.
    best_possible_loss
        Entropy of the true probabilities, nats.
    least_regret
        Of the budgets, the lowest expected regret, and ``least_regret_budget`` whose it is.
    """

    kind: Kind
    agreement: Agreement
    sentence: str
    best_possible_loss: float
    least_regret: float
    least_regret_budget: str


def compare_with_truth(
    points: Sequence[Point],
    found: Mapping[str, Any],
    *,
    best_possible: float,
    rivals: Mapping[str, float],
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Judge the expected losses, and compare with the verdict on the labels.

    Parameters
    ----------
    points
        Budgets with the expected loss of each seed.
    found
        The verdict on the realised losses (`finscale.scaling.verdict.Verdict.as_dict`).
    best_possible
        Loss of the true probabilities, nats.
    rivals
        Expected losses of the baselines.
    n_bootstrap, confidence, seed
        See `finscale.scaling.verdict.judge`.
    """
    truth = judge(points, n_bootstrap=n_bootstrap, confidence=confidence, seed=seed)
    agreement = _agreement(found["kind"], truth.kind)
    best = min(points, key=lambda point: point.mean_loss)
    words = {
        "agrees": "which is what the labels say",
        "missed": "which the labels of this test part do not show",
        "false": f"so that what the labels say ({_WORDS[found['kind']]}) is not there",
        "undecided": "and no more can be said",
    }[agreement]
    regret = best.mean_loss - best_possible
    percent = f"{100 * confidence:g}%"
    found_text = _WORDS[truth.kind]
    if truth.change is not None:
        found_text += f" (it changes by {change_text(truth.change, percent)})"
    text = (
        f"Judged by the true probabilities, {found_text}, {words}. The best possible loss is "
        f"{best_possible:.4f}; the lowest expected loss of a budget, that of {best.budget}, is "
        f"{regret:.4f} above it"
    )
    if rivals:
        name = min(rivals, key=rivals.__getitem__)
        text += f", and that of the best baseline, {name}, {rivals[name] - best_possible:.4f}"
    return asdict(
        Planted(truth.kind, agreement, f"{text}.", best_possible, regret, best.budget)
    ) | {"verdict": truth.as_dict()}


_WORDS: dict[str, str] = {
    "falls": "the loss falls with model size",
    "rises": "the loss rises with model size",
    "no_evidence": "there is no evidence that the loss depends on model size",
    "too_few_points": "there are too few sizes for a verdict",
}


def _agreement(found: str, truth: str) -> Agreement:
    if "too_few_points" in (found, truth):
        return "undecided"
    if found == truth:
        return "agrees"
    return "missed" if found == "no_evidence" else "false"
