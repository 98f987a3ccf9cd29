from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from finscale.errors import FitError
from finscale.scaling.laws import PowerLawWithFloor
from finscale.scaling.uncertainty import Interval, direction
from finscale.scaling.verdict import Paired, Point, judge
from finscale.scaling.wording import _aicc_phrase, change_text, extrapolation_notes

SIZES = np.geomspace(1e6, 1.28e8, 8).round().astype(int)
FALLING = PowerLawWithFloor.predict({"E": 0.3, "A": 4.0, "alpha": 0.3}, SIZES)
# Two seeds per budget; their means scatter around the law by a fixed pattern of some 0.0005.
SCATTER = 0.0005 * np.array([1, -1, 1, 1, -1, -1, 1, -1])


def make_points(sizes, losses, seed_gap=0.002):
    return [
        Point(f"b{i}", int(n), (float(loss - seed_gap), float(loss + seed_gap)))
        for i, (n, loss) in enumerate(zip(sizes, losses, strict=True))
    ]


def test_falling_loss():
    verdict = judge(make_points(SIZES, FALLING + SCATTER), best_baseline=("logistic_all", 0.3))

    assert verdict.kind == "falls"
    assert verdict.comparison.chosen == "power_law_with_floor"
    assert verdict.delta_aicc > 20
    difference = verdict.intervals[-1].loss_difference
    assert difference.low < FALLING[-1] - FALLING[0] < difference.high < 0
    assert verdict.spans_a_decade
    # Each budget's two seeds lie 0.002 to either side of their mean: 2 * 0.002² per df.
    assert verdict.seed_noise.sigma == pytest.approx(0.002 * 2**0.5)
    assert verdict.seed_noise.df == 8
    assert verdict.best_budget == "b7"
    assert "from 1M to 128M parameters" in verdict.extrapolation_warning


def test_sentence_of_a_falling_loss():
    verdict = judge(
        make_points(SIZES, FALLING + SCATTER),
        base_loss=0.36,
        best_baseline=("logistic_all", 0.3),
    )
    interval = verdict.intervals[-1]
    difference, alpha = interval.loss_difference, interval.alpha

    assert verdict.sentence == (
        "The loss falls with model size: over 8 budgets spanning ×128 (1M to 128M parameters) it "
        f"changes by {difference.estimate:+.4f} (95% interval {difference.low:+.4f} to "
        f"{difference.high:+.4f}) from the smallest to the largest, and L = E + A N^-alpha with "
        f"alpha {alpha.estimate:.2f} (95% interval {alpha.low:.2f} to {alpha.high:.2f}) beats a "
        f"constant by {verdict.delta_aicc:.1f} AICc; "
        "7 of 8 budgets have a lower mean loss than the base rate (0.360), the lowest being that "
        "of b7 (0.314); none of the budgets has a lower mean loss than logistic_all (0.300)."
    )
    assert verdict.best_skill == pytest.approx(1 - verdict.best_loss / 0.36)


def test_rising_loss():
    verdict = judge(make_points(SIZES, 0.68 - FALLING + SCATTER))

    assert verdict.kind == "rises"
    assert verdict.sentence.startswith("The loss rises with model size: over 8 budgets")
    assert verdict.intervals[-1].loss_difference.low > 0


def test_flat_loss_is_no_evidence():
    verdict = judge(make_points(SIZES, 0.35 + SCATTER))

    assert verdict.kind == "no_evidence"
    assert verdict.sentence.startswith("No evidence that the loss depends on model size: over 8")
    assert f"AICc prefers a constant by {-verdict.delta_aicc:.1f}" in verdict.sentence
    assert verdict.extrapolation_warning == "There is no law to extrapolate."


def test_budgets_of_one_size_are_one_measurement_of_it():
    # Noise that two budgets of one built size share is no second sign of a dependence on size.
    sizes = np.repeat(SIZES, 2)
    twice = [Point(f"b{k}", int(size), (FALLING[k // 2],)) for k, size in enumerate(sizes)]
    once = [Point(f"b{k}", int(size), (FALLING[k],)) for k, size in enumerate(SIZES)]
    one, many = judge(once, n_bootstrap=100), judge(twice, n_bootstrap=100)
    assert (many.delta_aicc, many.change, many.line) == (one.delta_aicc, one.change, one.line)


def test_order_of_points_does_not_matter():
    points = make_points(SIZES, FALLING + SCATTER)
    assert judge(points[::-1], n_bootstrap=100) == judge(points, n_bootstrap=100)


@pytest.mark.parametrize("n_points", [1, 2, 3, 4, 5])
def test_few_points_say_so(n_points):
    verdict = judge(
        make_points(SIZES[:n_points], FALLING[:n_points]), best_baseline=("logistic_all", 0.351)
    )

    assert verdict.kind == "too_few_points"
    assert verdict.n_budgets_needed == 6
    assert verdict.sentence.startswith(f"Too few points for a verdict: {n_points} budget")
    assert "needs at least 6 distinct sizes" in verdict.sentence
    assert "logistic_all (0.351)" in verdict.sentence
    assert verdict.intervals == ()
    assert verdict.delta_aicc is None
    json.dumps(verdict.as_dict(), allow_nan=False)


def test_sentence_of_too_few_points():
    points = [Point("2M", 2_000_000, (0.36,)), Point("20M", 20_000_000, (0.347,))]

    assert judge(points, best_baseline=("logistic_all", 0.351)).sentence == (
        "Too few points for a verdict: 2 budgets spanning ×10, while comparing a power law with a "
        "floor against a constant by AICc needs at least 6 distinct sizes; 1 of 2 budgets has a "
        "lower mean loss than logistic_all (0.351), the lowest being that of 20M (0.347)."
    )


@pytest.mark.parametrize(
    ("low", "high", "said", "beats"),
    [
        (-0.02, -0.004, "beats", True),
        (-0.02, 0.004, "is not told apart from", False),
        (0.002, 0.02, "is worse than", False),
    ],
)
def test_a_rival_is_beaten_only_by_a_paired_interval(low, high, said, beats):
    points = [Point("2M", 2_000_000, (0.36,)), Point("20M", 20_000_000, (0.347,))]
    pair = Paired("20M", Interval(estimate=(low + high) / 2, low=low, high=high))
    clear = Paired("20M", Interval(estimate=-0.1, low=-0.12, high=-0.08))

    verdict = judge(
        points,
        base_loss=0.45,
        best_baseline=("logistic_all", 0.351),
        paired={"the base rate": clear, "logistic_all": pair},
    )

    assert verdict.beats is beats
    assert verdict.sentence.endswith(
        "20M, whose averaged forecast is best on validation, beats the base rate (0.450), its loss "
        f"differing by -0.100 (95% interval -0.120 to -0.080) and {said} logistic_all (0.351), "
        f"its loss differing by {(low + high) / 2:+.3f} (95% interval {low:+.3f} to {high:+.3f})."
    )
    # Without the comparison nothing is claimed but means, nor with that of one rival alone.
    assert judge(points, base_loss=0.45).beats is None
    rivals = {"base_loss": 0.45, "best_baseline": ("logistic_all", 0.351)}
    assert judge(points, **rivals, paired={"the base rate": clear}).beats is None


def test_what_is_not_beaten_is_named_beside_a_beaten_best_baseline():
    points = [Point("2M", 2_000_000, (0.36,)), Point("20M", 20_000_000, (0.347,))]

    def pair(estimate, width):
        low, high = estimate - width, estimate + width
        return Paired("20M", Interval(estimate=estimate, low=low, high=high))

    paired = {"the base rate": pair(-0.1, 0.02), "garch": pair(-0.02, 0.01)}
    rivals = {"base_loss": 0.45, "best_baseline": ("garch", 0.367)}
    assert judge(points, **rivals, paired=paired).sentence.endswith("-0.030 to -0.010).")

    paired |= {"har": pair(-0.03, 0.04), "forest": pair(-0.05, 0.01), "logistic": pair(0.001, 0.01)}
    verdict = judge(points, **rivals, paired=paired)
    assert verdict.beats is True
    assert verdict.not_beaten == ("logistic", "har")
    assert verdict.sentence.endswith("-0.030 to -0.010); it is not shown to beat logistic and har.")

    paired["garch"] = pair(0.0, 0.01)
    verdict = judge(points, **rivals, paired=paired)
    assert verdict.not_beaten == ("logistic", "garch", "har")
    assert "not shown to beat" not in verdict.sentence


def test_a_law_that_does_not_carry_over_is_said_so():
    # The last budget breaks the fall of the five before it.
    losses = [0.50, 0.45, 0.41, 0.38, 0.36, 0.345, 0.50]
    sizes = [10.0**exponent for exponent in np.linspace(4, 7, 7)]
    verdict = judge(make_points(sizes, losses), extrapolate=True)
    assert set(verdict.extrapolation) == {"constant", "power", "power-floor"}
    errors = {name: one.rms_error for name, one in verdict.extrapolation.items()}
    assert errors["constant"] < min(errors["power"], errors["power-floor"])

    kind = extrapolation_notes("falls", verdict.extrapolation)
    assert len(kind) == 1
    assert "a constant predicts each budget from the others better" in kind[0]
    assert extrapolation_notes("no_evidence", verdict.extrapolation) == ()
    law = judge(make_points(sizes, [0.3 + 2 * n**-0.3 for n in sizes]), extrapolate=True)
    assert extrapolation_notes("falls", law.extrapolation) == ()


def test_budgets_of_one_size_count_once():
    sizes = [1_000_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000]

    verdict = judge(make_points(sizes, FALLING[:6]))

    assert verdict.kind == "too_few_points"
    assert "6 budgets of 5 distinct sizes" in verdict.sentence


def test_seeds_do_not_count_as_points():
    points = [
        Point(f"b{i}", int(n), (float(loss),) * 10)
        for i, (n, loss) in enumerate(zip(SIZES[:5], FALLING[:5], strict=True))
    ]
    assert judge(points).kind == "too_few_points"


def test_span_under_a_decade_claims_no_law():
    sizes = np.geomspace(1e6, 6e6, 8).round()

    verdict = judge(make_points(sizes, FALLING + SCATTER))

    assert verdict.kind == "falls"
    assert not verdict.spans_a_decade
    assert "spanning ×6 " in verdict.sentence
    assert "less than one decade, so no scaling law can be claimed" in verdict.sentence


@pytest.mark.parametrize("n_points", [6, 8, 12])
def test_constant_with_noise_is_seldom_called_a_law(n_points):
    # Measured on 1,000 runs each: falls in 0.0, 0.5 and 0.8% and rises in 0.0, 0.0 and 0.5% for
    # 6, 8 and 12 budgets; a 95% interval alone would allow 2.5% each.
    sizes = np.geomspace(1e6, 1.28e8, n_points).round().astype(int)
    rng = np.random.default_rng(n_points)
    n_runs = 200
    kinds = [
        judge(
            [Point(str(n), int(n), (0.35 + 0.003 * rng.standard_normal(),)) for n in sizes],
            n_bootstrap=100,
        ).kind
        for _ in range(n_runs)
    ]

    limit = stats.binom.ppf(0.999, n_runs, 0.025)
    assert kinds.count("falls") <= limit
    assert kinds.count("rises") <= limit


@pytest.mark.parametrize("n_points", [6, 8])
def test_a_real_fall_is_found_in_noise(n_points):
    # A fall of 0.049 in noise of 0.004: found in 92% (6 budgets) and 100% (8) of 300 runs measured.
    sizes = np.geomspace(1e6, 1.28e8, n_points).round().astype(int)
    loss = PowerLawWithFloor.predict({"E": 0.3, "A": 4.0, "alpha": 0.3}, sizes)
    rng = np.random.default_rng(20)
    kinds = [
        judge(
            make_points(sizes, loss + 0.004 * rng.standard_normal(n_points)), n_bootstrap=100
        ).kind
        for _ in range(40)
    ]
    assert kinds.count("falls") >= stats.binom.ppf(0.001, 40, 0.92 if n_points == 6 else 0.99)
    assert "rises" not in kinds


def test_verdict_is_json_safe():
    verdict = judge(make_points(SIZES, FALLING + SCATTER), base_loss=0.37, n_bootstrap=100)

    record = json.loads(json.dumps(verdict.as_dict(), allow_nan=False))

    assert record["kind"] == "falls"
    assert record["seed_noise"]["df"] == 8
    assert [fit["law"] for fit in record["comparison"]["fits"]] == [
        "constant",
        "power_law",
        "power_law_with_floor",
    ]
    assert record["intervals"][1]["loss_difference"]["high"] < 0


def test_parameters_at_a_bound_are_named():
    straight = 0.4 + 0.01 * np.log(SIZES / 1e6) + SCATTER
    verdict = judge(make_points(SIZES, straight))
    assert any("alpha" in note and "at a bound" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "nothing to judge"),
        ([Point("2M", 2, (0.3,)), Point("2M", 3, (0.3,))], "budget 2M appears 2 times"),
        ([Point("2M", 2, ())], "budget 2M has no loss"),
        ([Point("2M", 2, (0.3, float("nan")))], "budget 2M: .* got nan"),
        ([Point("2M", 0, (0.3,))], "budget 2M: .* got 0"),
    ],
)
def test_unusable_points_are_refused(points, message):
    with pytest.raises(FitError, match=message):
        judge(points)


@pytest.mark.parametrize(
    ("delta_aicc", "phrase"),
    [
        (-5.14, "AICc prefers a constant by 5.1"),
        (1.26, "AICc prefers a power law by only 1.3"),
        (2.0, "although AICc prefers a power law by 2.0 that interval includes 0"),
    ],
)
def test_why_there_is_no_evidence(delta_aicc, phrase):
    assert _aicc_phrase(delta_aicc, "a power law") == phrase


def six_budgets(change, noise, seed):
    """Return six budgets whose loss changes evenly in ln N, with three seeds each."""
    rng = np.random.default_rng(seed)
    return [
        Point(f"b{k}", 5000 * 2**k, tuple(0.35 + change * k / 5 + noise * rng.standard_normal(3)))
        for k in range(6)
    ]


@pytest.mark.parametrize(("change", "kind"), [(-0.006, "falls"), (0.006, "rises")])
def test_six_budgets_show_a_small_change_of_either_direction(change, kind):
    # Under 2% of the loss over a factor of 32: no power law with alpha of 0.01 or more is so flat.
    for seed in range(10):
        verdict = judge(six_budgets(change, 0.0005, seed), n_bootstrap=200)
        assert verdict.kind == kind
        assert verdict.prefers_line
        assert verdict.change.estimate == pytest.approx(change, abs=0.002)
        assert f"The loss {kind} with model size: over 6 budgets" in verdict.sentence
        assert "a straight line in ln N beats a constant by" in verdict.sentence


def test_six_budgets_of_noise_show_nothing():
    kinds = [judge(six_budgets(0.0, 0.003, seed), n_bootstrap=200).kind for seed in range(300)]
    # At a true rate of 2%, more than 15 of 300 are found once in a thousand times.
    assert sum(kind != "no_evidence" for kind in kinds) <= 15


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(-0.0212345, -0.0312, -0.0098), "-0.021 (95% interval -0.031 to -0.010)"),
        (Interval(0.000123, -0.00005, 0.00031), "+0.00012 (95% interval -0.00005 to +0.00031)"),
        (Interval(15.0, 2.0, 31.0), "+15 (95% interval +2 to +31)"),
        (Interval(0.0, 0.0, 0.0), "+0.000000 (95% interval +0.000000 to +0.000000)"),
    ],
)
def test_numbers_are_rounded_to_what_the_interval_supports(interval, text):
    assert change_text(interval, "95%") == text


@pytest.mark.parametrize(
    ("delta_aicc", "low", "high", "kind"),
    [
        (2.0, -0.02, -0.01, "falls"),
        (2.0, 0.01, 0.02, "rises"),
        (1.9, -0.02, -0.01, "no_evidence"),
        (50.0, -0.02, 0.0, "no_evidence"),
        (50.0, 0.0, 0.02, "no_evidence"),
    ],
)
def test_a_verdict_needs_both_aicc_and_the_interval(delta_aicc, low, high, kind):
    assert direction(delta_aicc, Interval((low + high) / 2, low, high)) == kind
