from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from finscale.models.layers import Block, Dropout, attend, draw_twice

LEVELS = 65536


def _dropped(p: float, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Drop values of ``x`` as one sample."""
    torch.manual_seed(seed)
    return Dropout(p).train()(x[None])[0]


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_at_its_rate_in_each_quarter_of_the_words(
    p: float, dtype: torch.dtype
) -> None:
    n = 400_000
    zero = (_dropped(p, torch.ones(n, dtype=dtype)) == 0).double()
    rate = round(p * LEVELS) / LEVELS
    sigma = math.sqrt(rate * (1 - rate) / (n / 4))
    for lane in range(4):
        assert abs(zero[lane::4].mean().item() - rate) < 5 * sigma


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_dropout_keeps_the_mean_and_has_the_bernoulli_variance(p: float) -> None:
    n = 400_000
    y = _dropped(p, torch.ones(n, dtype=torch.float64))
    rate = round(p * LEVELS) / LEVELS
    variance = rate / (1 - rate)
    assert abs(y.mean().item() - 1.0) < 5 * math.sqrt(variance / n)
    assert y.var().item() == pytest.approx(variance, rel=0.02)


def test_what_is_kept_is_scaled_by_the_inverse_of_the_actual_keep_probability() -> None:
    y = _dropped(0.1, torch.ones(10_000, dtype=torch.float64))
    # round(0.1 * 65536) = 6554
    assert set(y.tolist()) == {0.0, 65536 / (65536 - 6554)}


def test_dropout_rounds_a_bf16_value_once() -> None:
    x = torch.randn(10_001, dtype=torch.bfloat16)
    y = _dropped(0.1, x)
    kept = y != 0
    expected = (x.float() * (65536 / (65536 - 6554))).bfloat16()
    assert y.dtype == torch.bfloat16
    assert torch.equal(y[kept], expected[kept])


def test_neighbouring_draws_are_uncorrelated() -> None:
    n = 400_000
    zero = (_dropped(0.5, torch.ones(n)) == 0).double() - 0.5
    for lag in (1, 2, 3, 4, 64):
        correlation = 4 * (zero[lag:] * zero[:-lag]).mean().item()
        assert abs(correlation) < 5 / math.sqrt(n)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    p=st.floats(0.0, 0.999),
    seed=st.integers(0, 2**32),
)
def test_dropout_follows_the_seed_and_its_gradient_is_the_mask(
    shape: list[int], p: float, seed: int
) -> None:
    x = torch.rand(shape, dtype=torch.float64).add_(1.0).requires_grad_()
    y = _dropped(p, x, seed)
    assert torch.equal(y, _dropped(p, x, seed))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    scale = LEVELS / (LEVELS - min(round(p * LEVELS), LEVELS - 1))
    assert torch.equal(gradient, (y != 0) * torch.tensor(scale, dtype=torch.float64))


def test_seeds_give_different_masks() -> None:
    x = torch.ones(1000)
    assert not torch.equal(_dropped(0.5, x, seed=1), _dropped(0.5, x, seed=2))


def test_dropout_is_the_identity_in_evaluation_and_at_zero() -> None:
    x = torch.ones(100)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_dropout_drops_a_transposed_input_in_its_own_shape() -> None:
    x = torch.arange(1.0, 13.0).reshape(3, 4).T
    y = _dropped(0.5, x)
    assert torch.equal(y, torch.where(y == 0, 0.0, 2 * x))


def test_dropout_keeps_the_dtype_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        h = torch.nn.Linear(8, 8)(torch.ones(4, 8))
        assert Dropout(0.5).train()(h).dtype == torch.bfloat16


# 130 patches take the fused kernel, the others the explicit form.
@pytest.mark.parametrize("n_patches", [1, 2, 11, 130])
@pytest.mark.parametrize("n_heads", [1, 3])
def test_attention_and_its_gradient_equal_the_formula(n_patches: int, n_heads: int) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(3, 2, n_heads, n_patches, 5, dtype=torch.float64, requires_grad=True)
    q, k, v = qkv.unbind(0)
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(5)
    expected = torch.einsum("bhij,bhjk->bhik", torch.exp(functional.log_softmax(scores, -1)), v)
    actual = attend(qkv, qkv.shape[3])
    torch.testing.assert_close(actual, expected)
    direction = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((actual * direction).sum(), qkv),
        torch.autograd.grad((expected * direction).sum(), qkv),
    )


def test_attention_survives_scores_that_overflow_an_exponential() -> None:
    qkv = torch.full((3, 1, 1, 4, 2), 1e4)
    torch.testing.assert_close(attend(qkv, qkv.shape[3]), torch.full((1, 1, 4, 2), 1e4))


@pytest.mark.parametrize("n_values", [8, 66])
def test_seeded_dropout_gives_a_batch_the_same_masks_however_it_is_cut(n_values: int) -> None:
    layer = Dropout(0.3).train()
    x = torch.ones(10, n_values)
    layer.seed(5)
    whole = layer(x)
    layer.seed(5)
    cut = torch.cat([layer(part) for part in x.split([1, 6, 3])])
    assert torch.equal(whole, cut)
    layer.seed(6)
    assert not torch.equal(whole, layer(x))


@pytest.mark.parametrize("n_read", [1, 4, 11])
def test_a_block_read_at_its_last_patches_gives_what_the_whole_block_gives(n_read: int) -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 16, dropout=0.5, output_gain=1.0).double().eval()
    x = torch.randn(3, 11, 8, dtype=torch.float64)
    whole = block(x, n_read=11)
    assert whole.shape == x.shape
    torch.testing.assert_close(block(x, n_read=n_read), whole[:, -n_read:])


def test_a_second_pass_draws_the_masks_of_the_first_and_disturbs_nothing() -> None:
    block = Block(8, 2, 16, dropout=0.5, output_gain=1.0).train()
    masked = [block.attention_dropout, block.feed_forward_dropout]
    x = torch.ones(3, 5, 8)

    def draw() -> list[torch.Tensor]:
        return [layer(x) for layer in masked]

    for number, layer in enumerate(masked):
        layer.seed(number)
    earlier = draw()
    first_context, second_context = draw_twice(block)
    with first_context:
        first = draw()
    between = draw()
    with second_context:
        # As torch does it, which leaves as soon as it has what it needs.
        second = [masked[0](x)]
    after = draw()
    assert torch.equal(second[0], first[0])
    for number, layer in enumerate(masked):
        layer.seed(number)
    undisturbed = [draw() for _ in range(4)]
    for found, expected in zip((earlier, first, between, after), undisturbed, strict=True):
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)


def test_a_second_pass_that_fails_disturbs_nothing() -> None:
    layer = Dropout(0.5).train()
    layer.seed(1)
    _, second_context = draw_twice(layer)
    x = torch.ones(4, 9)
    first, expected = layer(x), layer(x)
    layer.seed(1)
    layer(x)

    def fail() -> None:
        with second_context:
            assert torch.equal(layer(x), first)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(layer(x), expected)
