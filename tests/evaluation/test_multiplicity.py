from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from finscale.evaluation.multiplicity import correct_for_tries, rejects


def test_corrections_by_hand():
    found = correct_for_tries({"b": 0.03, "a": 0.01, "c": 0.04}).p_values

    # Holm: 3 × 0.01, 2 × 0.03, then max(0.06, 1 × 0.04). Discovery: min of 3 × p / rank from above.
    assert list(found) == ["b", "a", "c"]
    assert [found[name].holm for name in "abc"] == pytest.approx([0.03, 0.06, 0.06])
    assert [found[name].benjamini_hochberg for name in "abc"] == pytest.approx([0.03, 0.04, 0.04])


def test_experiments_without_a_p_value_count():
    found = correct_for_tries({"a": 0.004, "b": 0.01}, n_tried=12)

    assert found.p_values["a"].holm == pytest.approx(0.048)
    assert found.p_values["b"].holm == pytest.approx(0.11)
    assert found.p_values["a"].benjamini_hochberg == pytest.approx(0.048)
    assert found.statement == (
        "12 experiments were tried; 2 have a p-value of at most 0.05, and 1 still does after "
        "Holm's correction for all of them."
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 10))
def test_false_discoveries_agree_with_scipy(p_values, n_more):
    named = {str(k): p for k, p in enumerate(p_values)}

    found = correct_for_tries(named, n_tried=len(p_values) + n_more).p_values

    expected = false_discovery_control(p_values + [1.0] * n_more)[: len(p_values)]
    assert [one.benjamini_hochberg for one in found.values()] == pytest.approx(expected)
    assert all(one.benjamini_hochberg <= one.holm + 1e-12 for one in found.values())


@pytest.mark.parametrize(("p", "n"), [({"a": 0.1, "b": 0.2}, 1), ({"a": 1.2}, 1)])
def test_impossible_input_is_refused(p, n):
    with pytest.raises(ValueError, match="p-value"):
        correct_for_tries(p, n_tried=n)


@pytest.mark.parametrize("level", [0.05, 1.0 - 0.95, 0.1, 1.0 - 0.9, 0.2, 1.0 - 0.8])
def test_a_p_value_at_the_level_rejects_whatever_the_rounding(level):
    # 1 - 0.9 is 0.09999999999999998 in binary, and 1 - 0.95 more than 0.05.
    p_value = round(level, 2)

    assert rejects(p_value, level)
    assert not rejects(p_value + 1e-6, level)
    assert correct_for_tries({"a": p_value}, level=level).statement.startswith(
        f"1 experiment was tried; 1 has a p-value of at most {level:g}, and 1 still does"
    )
