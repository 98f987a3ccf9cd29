"""The order of the experiments: a file with a name to a line, read again before every trial."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
from collections.abc import Callable, Collection, Sequence
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


def forget_names(path: Path, gone: Collection[str]) -> None:
    """Take the names of experiments that are no more out of the file, and leave it else as it is.

    A file that cannot be read is left to :class:`Queue`, which says so.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.strip() not in gone]
        if kept != lines:
            write_text_atomic(path, "".join(kept))


def parse_queue(path: Path, names: Sequence[str]) -> list[str]:
    """Return ``names`` in the file's order; those it does not list follow in their own.

    Raises
    ------
    StudyError
        If the file cannot be read, or a line of it names no experiment.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return list(names)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); one experiment to a line") from error
    wanted: list[str] = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            fix = f"is it {near[0]}?" if near else f"there are {', '.join(names)}"
            raise StudyError(f"{path}: line {number}: no experiment is named {name!r}; {fix}")
        wanted.append(name)
    return list(dict.fromkeys([*wanted, *names]))


def read_queue(path: Path, names: Sequence[str]) -> list[str]:
    """Return the order for whoever only looks: lines that are wrong are left out of account."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return list(names)
    wanted = [line.strip() for line in lines]
    return list(dict.fromkeys([*(name for name in wanted if name in names), *names]))


class Queue:
    """The order as it stands; a file that is wrong is said once, and the order stays as it was.

    The file is edited by hand, while a week of work depends on it.

    Parameters
    ----------
    names
        Every experiment of the study, in the order of the matrix.
    say
        Takes the line about a file that is wrong.
    """

    def __init__(self, path: Path, names: Sequence[str], say: Callable[[str], None]) -> None:
        self._path, self._names, self._say = path, names, say
        self._order = list(names)
        self._said = ""

    def order(self) -> list[str]:
        """Read the file again, and return every name in its order."""
        fault = ""
        try:
            self._order = parse_queue(self._path, self._names)
        except StudyError as error:
            fault = str(error)
        if fault and fault != self._said:
            self._say(f"{fault} (the order stays as it was)")
        self._said = fault
        return list(self._order)


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
                f"order {pattern}: matches no experiment; there are {', '.join(names)}"
            )
        first += found
    return list(dict.fromkeys([*first, *names]))
