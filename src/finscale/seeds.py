"""Seeds: every random draw of a study derives from the study's one seed."""

from __future__ import annotations

from finscale.files import hash_json


def derive_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2^31) that is a pure function of ``parts``.

    Distinct parts give unrelated seeds, so that a trial, an epoch or a step can be re-created
    without replaying those before it.
    """
    return int(hash_json(list(parts))[:8], 16) % 2**31
