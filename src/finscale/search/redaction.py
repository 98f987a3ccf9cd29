"""A storage's place as it may be shown."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url


def redacted(place: Path | str) -> str:
    """Return the place without a password, for messages."""
    return str(place) if isinstance(place, Path) else make_url(place).render_as_string()
