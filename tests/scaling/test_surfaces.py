from __future__ import annotations

import json

import numpy as np

from finscale.report.effort import surface_table
from finscale.scaling.surfaces import MIN_POINTS, surfaces

SETTINGS = {"n_bootstrap": 200, "confidence": 0.9, "seed": 1}


def planted(n_sizes: int, n_rows: int) -> list[dict]:
    """Points of L = 0.3 + 20 / N^0.5 + 30 / D^0.6 with noise, two seeds each."""
    rng = np.random.default_rng(0)
    return [
        {
            "kind": "final", "horizon_bars": 1, "task": "direction", "seed": seed,
            "budget": f"b{number}", "cell": f"size{step}", "params": n, "rows": d,
            "flops": 60.0 * n * d,
            "test_loss": 0.3 + 20 * n**-0.5 + 30 * d**-0.6 + 2e-4 * rng.standard_normal(),
        }
        for number, n in enumerate(np.geomspace(1e4, 1e6, n_sizes))
        for step, d in enumerate(np.geomspace(1e3, 1e5, n_rows))
        for seed in (0, 1)
    ]  # fmt: skip


def test_a_planted_surface_is_found_and_its_compute_is_split():
    (found,) = surfaces(planted(5, 4), **SETTINGS)
    assert (found["of"], found["n_points"], found["why"]) == ("h1_direction", 20, None)
    for name, true in (("E", 0.3), ("alpha", 0.5), ("beta", 0.6)):
        low, high = found["fit"]["intervals"][name]
        assert low <= true <= high
    best = found["allocation"]
    # N D = C / 60 at the optimum, whatever the split.
    product = best["n_optimal"]["estimate"] * best["d_optimal"]["estimate"]
    assert np.isclose(product, best["flops"] / 60)
    json.dumps(found, allow_nan=False)
    (row,) = surface_table([found]).rows
    assert row[-1] == "converged"
    assert "parameters" in row[-2]


def test_too_few_points_are_said_to_be_so():
    (found,) = surfaces(planted(2, 3), **SETTINGS)
    assert found["fit"] is None
    assert found["why"] == f"6 points, and a surface needs {MIN_POINTS}"
    (row,) = surface_table([found]).rows
    assert row[-1] == found["why"]


def test_one_data_size_is_no_surface():
    assert surfaces(planted(8, 1), **SETTINGS) == []


def test_two_data_sizes_do_not_tell_their_exponent_from_the_floor():
    # Twelve points and five parameters, yet E, B and beta are free: B D^-beta takes two values.
    (found,) = surfaces(planted(6, 2), **SETTINGS)
    assert (found["fit"], found["allocation"]) == (None, None)
    assert "D takes 2 values" in found["why"]


def test_three_data_sizes_do():
    covered = [
        low <= true <= high
        for (found,) in [surfaces(planted(6, 3), **SETTINGS)]
        for name, true in (("E", 0.3), ("alpha", 0.5), ("beta", 0.6))
        for low, high in [found["fit"]["intervals"][name]]
    ]
    assert all(covered)
