"""What a model is built from: the architecture's four numbers and the shape of its input.

Free of torch, so that previews and reports can name, count and cost models without loading it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from finscale.errors import ModelError

_LABEL = re.compile(r"([0-9]+)x([0-9]+)x([0-9]+)x([0-9]+)")


def _check_positive(owner: str, sizes: Mapping[str, object]) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ModelError(f"{owner}: {name} is {value!r}; give a whole number of 1 or more")


@dataclass(frozen=True, order=True)
class Architecture:
    """The four numbers that name a transformer; ordered by them, from left to right.

    Raises
    ------
    ModelError
        If a number is not a positive whole number, or ``n_heads`` does not divide ``d_model``.
    """

    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int

    def __post_init__(self) -> None:
        _check_positive("architecture", self.as_dict())
        if self.d_model % self.n_heads:
            allowed = [n for n in range(1, self.d_model + 1) if self.d_model % n == 0]
            below = max(n for n in allowed if n < self.n_heads)
            above = min((n for n in allowed if n > self.n_heads), default=below)
            raise ModelError(
                f"architecture: n_heads {self.n_heads} does not divide d_model {self.d_model}; "
                f"the nearest that do are {' and '.join(map(str, sorted({below, above})))}"
            )

    @property
    def label(self) -> str:
        """The name in records and tables: d_model x n_layers x n_heads x d_ff, ``64x2x4x256``."""
        return f"{self.d_model}x{self.n_layers}x{self.n_heads}x{self.d_ff}"

    @property
    def ff_ratio(self) -> float:
        """Width of the feed-forward layer over the width of the model."""
        return self.d_ff / self.d_model

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    def as_dict(self) -> dict[str, int]:
        """Give the four numbers by name; ``Architecture(**a.as_dict()) == a``."""
        return asdict(self)

    @classmethod
    def parse(cls, label: str) -> Architecture:
        """Read a label back.

        Raises
        ------
        ModelError
            If the text is not of the form ``64x2x4x256``, or names no valid architecture.
        """
        match = _LABEL.fullmatch(label)
        if match is None:
            raise ModelError(
                f"architecture {label!r}: write d_model x n_layers x n_heads x d_ff, "
                "for example 64x2x4x256"
            )
        return cls(*map(int, match.groups()))


@dataclass(frozen=True, order=True)
class InputShape:
    """How a window of rows is cut into patches, and how many numbers come out.

    Patch ``i`` spans the rows ``i * patch_stride … i * patch_stride + patch_length - 1``. Every row
    is in a patch and the last patch ends exactly at the last row, so the most recent bar is always
    seen.

    Attributes
    ----------
    n_outputs
        Logits of the head: 1 for a binary question, and one per class for more than two.

    Raises
    ------
    ModelError
        If a number is not a positive whole number, or the patches leave a row out.
    """

    n_features: int
    context_length: int
    patch_length: int
    patch_stride: int
    n_outputs: int = 1

    def __post_init__(self) -> None:
        _check_positive("input shape", asdict(self))
        if self.patch_length > self.context_length:
            raise ModelError(
                f"input shape: patch_length {self.patch_length} is longer than context_length "
                f"{self.context_length}; give a patch_length of at most {self.context_length}"
            )
        if self.patch_stride > self.patch_length:
            raise ModelError(
                f"input shape: patch_stride {self.patch_stride} is longer than patch_length "
                f"{self.patch_length}, so rows between patches are never seen; give a patch_stride "
                f"of at most {self.patch_length}"
            )
        rest = (self.context_length - self.patch_length) % self.patch_stride
        if rest:
            below = self.context_length - rest
            raise ModelError(
                f"input shape: patches of {self.patch_length} rows every {self.patch_stride} leave "
                f"out the last {rest} of context_length {self.context_length}; the nearest "
                f"context_length values that fit are {below} and {below + self.patch_stride}"
            )

    @property
    def n_patches(self) -> int:
        """How many patches a window gives: the length of the transformer's sequence."""
        return (self.context_length - self.patch_length) // self.patch_stride + 1

    @property
    def patch_width(self) -> int:
        """Values in one patch: its rows times the features."""
        return self.patch_length * self.n_features

    def as_dict(self) -> dict[str, int]:
        """Give the numbers by name, a single output unsaid; ``InputShape(**s.as_dict()) == s``."""
        return {k: v for k, v in asdict(self).items() if k != "n_outputs" or v > 1}
