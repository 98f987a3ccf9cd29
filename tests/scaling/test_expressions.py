from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import FitError
from finscale.scaling.expressions import parse_expression

COLUMNS = {"flops": np.array([12.0, 48.0]), "n": np.array([1.0, 4.0]), "a b": np.array([2.0, 3.0])}


def value(text: str) -> list[float]:
    return parse_expression(text, tuple(COLUMNS), "--d").evaluate(COLUMNS, 2).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n", [1.0, 4.0]),
        ("flops/(6*n)", [2.0, 2.0]),
        ("-n + 5", [4.0, 1.0]),
        ("n ** 0.5", [1.0, 2.0]),
        ("2 ** -n", [0.5, 0.0625]),
        ("a b", [2.0, 3.0]),
        ("`a b` * n", [2.0, 12.0]),
        ("sqrt(n) + log(exp(n))", [2.0, 6.0]),
        ("7", [7.0, 7.0]),
        ("1e3", [1000.0, 1000.0]),
    ],
)
def test_arithmetic_by_hand(text: str, expected: list[float]) -> None:
    assert value(text) == pytest.approx(expected)


def test_a_column_may_be_called_anything() -> None:
    columns = {"6*n": np.array([5.0])}
    expression = parse_expression("6*n", ("6*n",), "--d")
    assert expression.evaluate(columns, 1).tolist() == [5.0]
    assert expression.columns == ("6*n",)


def test_the_columns_an_expression_reads() -> None:
    assert parse_expression("`a b`/n + n", tuple(COLUMNS), "--d").columns == ("a b", "n")


def test_no_value_is_not_finite() -> None:
    assert not np.isfinite(value("1 / (n - 1)")[0])
    assert not np.isfinite(value("log(n - 4)")).any()
    assert value("9.0 ** 9 ** 9 ** 9") == [np.inf, np.inf]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("m", "no column m; there are flops, n, `a b`"),
        ("`c d` + 1", "no column c d; there are flops, n, `a b`"),
        ("flops/(6*", "not an expression"),
        ("", "not an expression"),
        ("__import__('os')", "__import__('os') is not understood"),
        ("n.real", "n.real is not understood"),
        ("n[0]", "n[0] is not understood"),
        ("sin(n)", "sin(n) is not understood"),
        ("log(n, 10)", "log(n, 10) is not understood"),
        ("n < 3", "n < 3 is not understood"),
        ("n // 3", "n // 3 is not understood"),
        ("True", "True is not a number"),
        ("'n'", "'n' is not understood"),
        ("1j", "1j is not understood"),
        ("lambda: 1", "lambda: 1 is not understood"),
        ("(" * 300 + "n" + ")" * 300, "not an expression"),
        ("n\x00", "not an expression"),
    ],
)
def test_anything_else_is_refused(text: str, fault: str) -> None:
    with pytest.raises(FitError) as caught:
        value(text)
    assert str(caught.value).startswith(f"--d {text}: {fault}")


def test_a_very_long_expression_is_refused() -> None:
    with pytest.raises(FitError, match="an expression of 2001 characters"):
        value("n" + "+n" * 1000)
    with pytest.raises(FitError, match="not an expression"):
        value("-" * 990 + "(" * 9)


@given(st.text(alphabet="n+-*/().,:`'[]{}=<>!@#lambdaflopsif 0123456789_\\", max_size=40))
def test_whatever_is_written_is_a_value_or_a_fit_error(text: str) -> None:
    with contextlib.suppress(FitError):
        assert len(value(text)) == 2
