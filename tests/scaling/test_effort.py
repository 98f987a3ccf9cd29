from __future__ import annotations

import pytest

from finscale.records import FinalRecord, Identity, Scores, TrialRecord
from finscale.scaling.effort import effort_cautions, search_effort

IDENTITY = Identity(settings="s", data="d", grid="g", code="c")
MODEL = {
    "experiment": "2M_h1_direction",
    "budget": "2M",
    "horizon_bars": 1,
    "task": "direction",
    "identity": IDENTITY,
    "code_version": "0.1.0",
    "created_at": "2026-01-01T00:00:00+00:00",
    "d_model": 8,
    "n_layers": 1,
    "n_heads": 1,
    "d_ff": 16,
    "n_parameters": 1000,
    "recipe": {},
    "effective_batch": 256,
    "micro_batch": 256,
    "precision": "fp32",
    "best_epoch": 1,
    "curve": (),
    "duration_s": 1.0,
}


def trial(number, loss, *, independent=True, state="complete", flops=10.0, forced=()):
    return TrialRecord(
        **MODEL, uid=f"t{number}", seed=number, trial=number, forced=forced, state=state, reason="",
        independent=independent, validation_loss=loss, flops=flops, train_loss=loss,
        validation_skill=None if loss is None else 1 - loss,
    )  # fmt: skip


def final(seed, validation, test):
    scores = Scores(validation={"log_loss": validation}, test={"log_loss": test})
    return FinalRecord(**MODEL, uid=f"f{seed}", seed=seed, trial=0, flops=1.0, scores=scores)


def test_what_the_choice_flattered_stands_beside_the_chosen():
    trials = [trial(0, 0.40), trial(1, 0.36), trial(2, 0.50)]
    found = search_effort({"2M": trials}, {"2M": [final(0, 0.38, 0.41), final(1, 0.40, 0.43)]})
    one = found["budgets"]["2M"]
    assert one["best_loss"] == 0.36
    assert one["retrained_loss"] == pytest.approx(0.39)
    assert one["optimism"] == pytest.approx(0.03)
    assert one["test_loss"] == pytest.approx(0.42)
    assert one["flops"] == 30.0
    # Two seeds 0.02 apart.
    assert found["seed_sigma"] == pytest.approx(0.02 / 2**0.5)


def test_budgets_are_compared_on_as_many_trials():
    few = [trial(0, 0.40), trial(1, 0.36)]
    many = [trial(0, 0.41), trial(1, 0.37), trial(2, 0.30)]
    found = search_effort({"2M": few, "20M": many[::-1]}, {})
    assert found["equal_effort"] == 2
    assert not found["is_equal"]
    assert found["budgets"]["20M"]["best_loss"] == 0.30
    assert found["budgets"]["20M"]["best_at_equal_effort"] == 0.37
    assert effort_cautions(found) == [
        "budgets were searched with unequal effort (trials: 2M 2, 20M 3)"
    ]


def test_the_curve_knows_random_trials_alone():
    trials = [
        trial(0, 0.1, independent=False, forced=("widest",)),
        trial(1, 0.2, independent=False),
        trial(2, 0.2, independent=None),
        *(trial(n, 0.4) for n in range(3, 8)),
        trial(8, 0.5, state="pruned"),
        trial(9, None, state="failed"),
    ]
    one = search_effort({"2M": trials}, {}, base_loss=0.7)["budgets"]["2M"]
    assert one["n_trials"] == 10
    assert one["n_independent"] == 7
    assert one["curve"]["n_censored"] == 2
    assert one["curve"]["median"][-1] == pytest.approx(0.4)
    # One run per budget says nothing about noise, so nothing is judged.
    assert one["tuned"] == "unknown"


def test_a_search_cut_short_weakens_the_verdict():
    trials = [trial(n, 0.6 - 0.03 * n) for n in range(8)]
    finals = [final(0, 0.4, 0.4), final(1, 0.401, 0.4)]
    found = search_effort({"2M": trials}, {"2M": finals})
    assert found["budgets"]["2M"]["tuned"] == "still_falling"
    assert effort_cautions(found) == [
        (
            "the search of 2M was still finding better recipes, so its loss is that of a search "
            "cut short"
        )
    ]


def test_what_was_not_recorded_is_unknown():
    one = search_effort({"2M": [trial(0, 0.4), trial(1, 0.4, flops=None)]}, {})["budgets"]["2M"]
    assert one["flops"] is None
    assert search_effort({}, {})["budgets"] == {}
    assert effort_cautions(search_effort({}, {})) == []
