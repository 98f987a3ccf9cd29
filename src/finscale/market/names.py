"""Names of data sets: ``SPY.OHLCV.daily`` (raw bars), ``SPY.features.a25`` (processed)."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from finscale.errors import DataError

Kind = Literal["raw", "processed"]

_KINDS: dict[str, Kind] = {"OHLCV": "raw", "features": "processed"}
_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
# File systems take 255 bytes, and a writer's temporary name is longer than the final one.
_MAX_BYTES = 120


class DataName(NamedTuple):
    """The parts of a name.

    Attributes
    ----------
    symbol
        May hold dots and ``^``: ``BRK.B``, ``^DJI``.
    kind
        ``"raw"`` for bars, ``"processed"`` for what is computed from them.
    variant
        The time scale of bars, the tier of features.
    """

    symbol: str
    kind: Kind
    variant: str


def bars_name(symbol: str, scale: str = "daily") -> str:
    """Name the bars of a symbol.

    Raises
    ------
    DataError
        If the symbol cannot be part of a name, or is one itself.
    """
    name = f"{symbol}.OHLCV.{scale}"
    parse_name(name)
    parts = symbol.rsplit(".", 2)
    if len(parts) == 3 and parts[1] in _KINDS:
        raise DataError(
            f"symbol {symbol!r}: is the name of a data set; give the symbol alone ({parts[0]})"
        )
    return name


def features_name(symbol: str, tier: str) -> str:
    """Name the features of a symbol.

    Raises
    ------
    DataError
        If the symbol or the tier cannot be part of a name.
    """
    name = f"{symbol}.features.{tier}"
    parse_name(name)
    return name


def parse_name(name: str) -> DataName:
    """Split a name into its parts, from the right: a symbol may hold dots.

    A name is also the name of a directory, so what could lead out of the catalogue, hide, or not
    be typed is refused.

    Raises
    ------
    DataError
        Saying what is wrong with the name, and what one looks like.
    """
    fault = _fault(name)
    parts = name.rsplit(".", 2)
    if fault is None and (len(parts) < 3 or parts[1] not in _KINDS):
        fault = "is neither SYMBOL.OHLCV.SCALE nor SYMBOL.features.TIER"
    elif fault is None and not _VARIANT.fullmatch(parts[2]):
        fault = f"ends in {parts[2]!r}"
    elif fault is None and parts[0] != parts[0].strip():
        fault = "its symbol starts or ends with a blank"
    if fault is not None:
        raise DataError(
            f"data set {name!r}: {fault}; names are like SPY.OHLCV.daily or SPY.features.a25"
        )
    return DataName(parts[0], _KINDS[parts[1]], parts[2])


def _fault(name: str) -> str | None:
    # Control characters, line breaks and lone surrogates are not printable; a blank is.
    odd = next((c for c in name if c in "/\\" or not c.isprintable()), None)
    if odd is not None:
        return f"holds {odd!r}"
    if ".." in name:
        return "holds '..'"
    if name.startswith("."):
        return "starts with a dot"
    if name != name.strip():
        return "starts or ends with a blank"
    if len(name.encode()) > _MAX_BYTES:
        return f"is longer than {_MAX_BYTES} bytes"
    return None
