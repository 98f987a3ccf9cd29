from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.scripts.literals import WIDTH, literal, text, wrapped

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
VALUES = st.recursive(
    ATOMS.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=30,
)


@settings(max_examples=40)
@given(VALUES)
def test_a_literal_reads_back_as_the_value(value: Any) -> None:
    assert ast.literal_eval(literal(value, used=8)) == value


@settings(max_examples=40)
@given(st.dictionaries(st.text("ab", max_size=5), st.lists(st.integers(0, 99), max_size=60)))
def test_lines_are_no_longer_than_the_formatter_allows(value: dict[str, list[int]]) -> None:
    lines = f"STUDY = {literal(value, used=len('STUDY = '))}".splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_what_fits_stays_on_its_line_and_the_rest_takes_one_line_each() -> None:
    long = list(range(100, 120))
    assert literal({"a": [1, 2], "b": (3,)}, used=8) == '{"a": [1, 2], "b": (3,)}'
    assert literal({"a": [1, 2], "b": long}, used=8) == "\n".join(
        [
            "{",
            '    "a": [1, 2],',
            '    "b": [',
            *(f"        {number}," for number in long),
            "    ],",
            "}",
        ]
    )


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("plain", '"plain"'),
        ('a "b"', "'a \"b\"'"),
        ("it's", '"it\'s"'),
        ("back\\slash\n", '"back\\\\slash\\n"'),
        ("é", '"é"'),
    ],
)
def test_text_is_quoted_as_the_formatter_would(value: str, source: str) -> None:
    assert text(value) == source


def test_words_are_wrapped_at_the_width() -> None:
    words = " ".join(["word"] * 40)
    lines = wrapped(words, prefix="# ").splitlines()
    assert all(len(line) <= WIDTH and line.startswith("# word") for line in lines)
    assert " ".join(line.removeprefix("# ") for line in lines) == words
    assert wrapped("two words", prefix="") == "two words\n"
