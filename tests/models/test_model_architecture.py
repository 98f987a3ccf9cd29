from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import ModelError
from finscale.models.architecture import Architecture, InputShape


def test_label_and_dict_give_the_four_numbers() -> None:
    architecture = Architecture(64, 2, 4, 256)
    assert architecture.label == "64x2x4x256"
    assert architecture.as_dict() == {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 256}
    assert architecture.ff_ratio == 4.0
    assert architecture.head_dim == 16


@given(
    head_dim=st.integers(1, 256),
    n_heads=st.integers(1, 32),
    n_layers=st.integers(1, 256),
    d_ff=st.integers(1, 8192),
)
def test_parse_reads_every_label_back(
    head_dim: int, n_heads: int, n_layers: int, d_ff: int
) -> None:
    architecture = Architecture(head_dim * n_heads, n_layers, n_heads, d_ff)
    assert Architecture.parse(architecture.label) == architecture
    assert Architecture(**architecture.as_dict()) == architecture


@pytest.mark.parametrize("text", ["", "64x2x4", "64x2x4x256x1", "64X2X4X256", " 64x2x4x256", "-1x"])
def test_parse_refuses_other_text_and_shows_an_example(text: str) -> None:
    with pytest.raises(ModelError, match="for example 64x2x4x256"):
        Architecture.parse(text)


def test_heads_must_divide_the_width_and_the_error_names_the_nearest_that_do() -> None:
    with pytest.raises(ModelError, match=r"n_heads 5 does not divide d_model 64.* 4 and 8"):
        Architecture(64, 2, 5, 256)
    with pytest.raises(ModelError, match=r"nearest that do are 64$"):
        Architecture(64, 2, 65, 256)


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2"])
@pytest.mark.parametrize("place", range(4))
def test_numbers_must_be_positive_whole_numbers(place: int, value: object) -> None:
    numbers: list[object] = [64, 2, 4, 256]
    numbers[place] = value
    with pytest.raises(ModelError, match="whole number of 1 or more"):
        Architecture(*numbers)
    with pytest.raises(ModelError, match="whole number of 1 or more"):
        InputShape(*numbers)


def test_architectures_are_ordered_by_width_then_depth_heads_and_feed_forward() -> None:
    ordered = [
        Architecture(32, 9, 8, 64),
        Architecture(64, 1, 8, 64),
        Architecture(64, 2, 2, 999),
        Architecture(64, 2, 4, 64),
        Architecture(64, 2, 4, 128),
    ]
    assert sorted(ordered[i] for i in (3, 0, 4, 2, 1)) == ordered


def test_a_single_output_is_left_unsaid_and_both_forms_are_read_back() -> None:
    one, many = InputShape(25, 60, 10, 5), InputShape(25, 60, 10, 5, 20)
    assert "n_outputs" not in one.as_dict()
    assert many.as_dict()["n_outputs"] == 20
    assert InputShape(**one.as_dict()) == one
    assert InputShape(**many.as_dict()) == many
    with pytest.raises(ModelError, match="n_outputs is 0"):
        InputShape(25, 60, 10, 5, 0)


def test_reference_input_has_eleven_patches() -> None:
    assert InputShape(25, 60, 10, 5).n_patches == 11
    assert InputShape(25, 60, 10, 5).patch_width == 250
    assert InputShape(1, 60, 60, 1).n_patches == 1


@given(
    patch_length=st.integers(1, 30),
    patch_stride=st.integers(1, 30),
    context_length=st.integers(1, 200),
)
def test_a_valid_shape_covers_every_row_and_ends_at_the_last(
    patch_length: int, patch_stride: int, context_length: int
) -> None:
    try:
        shape = InputShape(3, context_length, patch_length, patch_stride)
    except ModelError:
        fits = (
            patch_stride <= patch_length <= context_length
            and (context_length - patch_length) % patch_stride == 0
        )
        assert not fits
        return
    starts = [i * patch_stride for i in range(shape.n_patches)]
    seen = {row for start in starts for row in range(start, start + patch_length)}
    assert seen == set(range(context_length))


def test_a_context_that_leaves_rows_out_is_refused_with_the_nearest_that_fit() -> None:
    with pytest.raises(ModelError, match=r"last 3 of context_length 63.* are 60 and 65$"):
        InputShape(25, 63, 10, 5)


def test_patches_must_fit_and_must_not_skip_rows() -> None:
    with pytest.raises(ModelError, match="patch_length 61 is longer than context_length 60"):
        InputShape(25, 60, 61, 5)
    with pytest.raises(ModelError, match="patch_stride 11 is longer than patch_length 10"):
        InputShape(25, 65, 10, 11)


def test_costs_and_ladder_do_not_load_torch() -> None:
    code = (
        "import sys, finscale.models.cost, finscale.ladder.batching, finscale.ladder.extremes;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
