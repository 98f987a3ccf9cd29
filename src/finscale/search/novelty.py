"""No trial is run twice: what counts as the same again, and how something new is drawn instead.

Pure functions of what was proposed and what was tried before, so that a search that was interrupted
draws the same again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from finscale.models.architecture import Architecture
from finscale.training.recipe import Recipe

Proposal = tuple[Architecture, Recipe]

# Closer than this, a difference of learning rate or weight decay is far below that of two seeds.
_NEAR_LOG = math.log(1.05)
# Floats that were written out and read again may differ in the last bit.
_SLACK = 1e-9
_N_ATTEMPTS = 8


@dataclass(frozen=True)
class Draw:
    """What a trial is given.

    Attributes
    ----------
    n_redrawn
        Proposals that were refused because the like had been tried.
    source
        ``"sampler"``; ``"untried"`` (the sampler kept to what was tried, so an architecture was
        drawn); ``"repeat"`` (what was proposed has been tried with every architecture: the seed
        alone differs).
    """

    architecture: Architecture
    recipe: Recipe
    n_redrawn: int
    source: Literal["sampler", "untried", "repeat"]


def is_near(one: Proposal, other: Proposal) -> bool:
    """Return whether two trials would be the same but for their seeds.

    They are if architecture, dropout, warm-up and epochs are equal, and learning rate and weight
    decay each within 5% of the other's.
    """
    (architecture, recipe), (other_architecture, other_recipe) = one, other
    return (
        architecture == other_architecture
        and recipe.dropout == other_recipe.dropout
        and recipe.warmup_steps == other_recipe.warmup_steps
        and recipe.epochs == other_recipe.epochs
        and _near(recipe.learning_rate, other_recipe.learning_rate)
        and _near(recipe.weight_decay, other_recipe.weight_decay)
    )


def draw_new(
    propose: Callable[[int], Proposal],
    tried: Collection[Proposal],
    architectures: Sequence[Architecture],
    *,
    seed: int,
    n_attempts: int = _N_ATTEMPTS,
) -> Draw:
    """Return the first proposal that is not near to anything tried.

    Parameters
    ----------
    propose
        Attempt number, from 0, to a proposal; the same number has to give the same proposal.
    tried
        Everything before it in the search: sampled or forced, finished or running. Supplementary
        runs are no part of it.
    architectures
        Those of the grid. After ``n_attempts`` the trial gets one of them that was never tried,
        at random, with the recipe of the last attempt; if there is none, one that was not tried
        with the like of a recipe that was proposed, the last such recipe first.
    seed
        Of the trial's own, from :func:`finscale.seeds.derive_seed`; decides what is taken then.
    """
    refused: list[Proposal] = []
    for attempt in range(n_attempts):
        proposal = propose(attempt)
        if not _is_known(proposal, tried):
            return Draw(*proposal, attempt, "sampler")
        refused.append(proposal)
    known = {architecture for architecture, _ in tried}
    recipes = [recipe for _, recipe in reversed(refused)]
    left = [(one, recipes[0]) for one in architectures if one not in known]
    for recipe in recipes:
        left = left or [
            (one, recipe) for one in architectures if not _is_known((one, recipe), tried)
        ]
    if left:
        ranked = sorted(left, key=lambda pair: pair[0])
        return Draw(*ranked[seed % len(ranked)], n_attempts, "untried")
    return Draw(*refused[-1], n_attempts, "repeat")


def _is_known(proposal: Proposal, tried: Collection[Proposal]) -> bool:
    return any(is_near(proposal, other) for other in tried)


def _near(one: float, other: float) -> bool:
    return abs(math.log(one / other)) <= _NEAR_LOG + _SLACK
