"""What a slot is given to try: a pure function of the search's seed, the slot and the history.

The proposal is drawn in a throw-away study in memory that is given the history, so that a proposal
that is refused (:mod:`finscale.search.novelty`) leaves no trace in the storage; what is taken is
then enqueued like a forced trial.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Sequence

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from finscale.models.architecture import Architecture
from finscale.search.novelty import Draw, Proposal, draw_new
from finscale.search.space import suggest
from finscale.seeds import derive_seed
from finscale.study import Search, Space

# Attempts after which TPE's narrow idea of what is good gives way to random draws.
_N_FROM_SAMPLER = 4


def draw_trial(
    settings: Search,
    architectures: Sequence[Architecture],
    *,
    seed: int,
    slot: int,
    n_extremes: int,
    history: Sequence[FrozenTrial],
    tried: Collection[Proposal],
) -> Draw:
    """Draw what a slot tries: proposed by the sampler, and unlike anything tried before.

    Parameters
    ----------
    architectures
        Those of the experiment's grid.
    seed
        Of the search; with the slot it decides every draw.
    n_extremes
        Slots at the beginning that are forced, and not drawn.
    history
        The trials that TPE learns from.
    tried
        Everything that was begun in the search, sampled or forced.
    """
    independent = is_independent(settings, slot, n_extremes=n_extremes)

    def proposed(attempt: int) -> Proposal:
        return propose(
            history,
            architectures,
            settings.space,
            seed=seed,
            slot=slot,
            attempt=attempt,
            independent=independent or attempt >= _N_FROM_SAMPLER,
        )

    return draw_new(proposed, tried, architectures, seed=derive_seed(seed, "untried", slot))


def is_independent(settings: Search, slot: int, *, n_extremes: int) -> bool:
    """Return whether a slot is drawn at random, whatever the others came to.

    All are with ``sampler: random``, and the start-up ones with any sampler. Of those after, every
    slot at which another whole one is due of ``random_share`` of them: exactly that share.

    Parameters
    ----------
    n_extremes
        Slots at the beginning that are forced, and not drawn.
    """
    number = slot - n_extremes - settings.n_startup_trials
    if settings.sampler == "random" or number < 0:
        return True
    share = settings.random_share
    return math.floor((number + 1) * share + 1e-9) > math.floor(number * share + 1e-9)


def propose(
    history: Sequence[FrozenTrial],
    architectures: Sequence[Architecture],
    space: Space,
    *,
    seed: int,
    slot: int,
    attempt: int,
    independent: bool,
) -> Proposal:
    """Draw what a slot would be given.

    Parameters
    ----------
    history
        The trials that TPE learns from; of those still running it keeps away (constant liar).
        Not looked at if ``independent``.
    seed
        Of the search.
    attempt
        Number of the draw, from 0; another number draws something else.
    """
    own = derive_seed(seed, "sampler", slot, attempt)
    study = optuna.create_study(sampler=_sampler(own, independent=independent))
    if not independent:
        # A trial that waits would be what the study is asked for.
        study.add_trials(one for one in history if one.state != TrialState.WAITING)
    return suggest(study.ask(), architectures, space)


def _sampler(seed: int, *, independent: bool) -> BaseSampler:
    if independent:
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Start-up trials are drawn by the other branch.
        return TPESampler(
            seed=seed, n_startup_trials=0, multivariate=True, group=True, constant_liar=True
        )
