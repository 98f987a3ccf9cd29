"""The order of the experiments: a file with a name to a line, read again before every trial."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from finscale.errors import StudyError
from finscale.files import write_text_atomic

_HEADER = """\
# The order in which experiments are run, one to a line. Edit it while the study runs: it is read
# again before every trial. What is not listed comes last, in the order of the matrix.
"""


def write_queue(path: Path, names: Sequence[str]) -> None:
    """Write the order."""
    write_text_atomic(path, _HEADER + "".join(f"{name}\n" for name in names))


def read_queue(path: Path, names: Sequence[str]) -> list[str]:
    """Return ``names`` in the file's order; those it does not list follow in their own.

    Lines that name no experiment are left out of account: the file is edited by hand, while a week
    of work depends on it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return list(names)
    wanted = [line.strip() for line in lines]
    return list(dict.fromkeys([*(name for name in wanted if name in set(names)), *names]))


def prioritise(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return ``names`` with those that match the first pattern first, then the second's.

    Raises
    ------
    StudyError
        If a pattern matches no experiment.
    """
    first: list[str] = []
    for pattern in patterns:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise StudyError(
                f"--order {pattern}: matches no experiment; there are {', '.join(names)}"
            )
        first += found
    return list(dict.fromkeys([*first, *names]))
