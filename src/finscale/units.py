"""Numbers as people read them: counts, bytes, durations."""

from __future__ import annotations

import re

# Before a number that nothing stands against, or in an exponent: 3e-05, N^-alpha.
_MINUS = re.compile(r"(?<![\w.-])-(?=\.?\d)|(?<=\de)-(?=\d)|(?<=\^)-")
_PARAMETERS = ((1e9, "B"), (1e6, "M"), (1e3, "K"))
_FLOPS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))
_BYTES = ((2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"))


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, as "1 row" and "3,000 rows"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def count_text(count: float) -> str:
    """Return a parameter count to three digits, in the units of budgets: ``2.41M``, ``2B``."""
    return _scaled(count, _PARAMETERS)


def flops_text(flops: float) -> str:
    """Return FLOPs to three digits: ``1.59G``."""
    return _scaled(flops, _FLOPS)


def bytes_text(n_bytes: float) -> str:
    """Return bytes to three digits, in binary units: ``2.54 GiB``."""
    return _scaled(n_bytes, _BYTES) + (" B" if n_bytes < 2**10 else "")


def duration_text(seconds: float) -> str:
    """Return a duration in its one or two largest units: ``8s``, ``45m``, ``6h34m``, ``2.7d``."""
    if round(seconds) < 60:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{seconds / 86400:.1f}d"


def true_minus(text: str) -> str:
    """Write minus signs (U+2212) before numbers and in exponents; dates and words keep hyphens."""
    return _MINUS.sub("\u2212", text)


def _scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    for size, suffix in units:
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
