"""The errors a user can meet. Each message names the place and the fix, on one line."""

from __future__ import annotations


class FinscaleError(Exception):
    """Base of every error finscale raises on purpose.

    The command line prints the message (a line; a list of bad settings takes one each) and exits
    with ``exit_code``; a traceback is
    printed only for what is *not* a ``FinscaleError``, because that is a bug.
    """

    exit_code = 2


class StudyError(FinscaleError):
    """A study file that cannot be read, or holds one or more bad settings."""


class DataError(FinscaleError):
    """Bars that are missing, damaged or impossible."""


class FeatureError(FinscaleError):
    """An unknown tier or feature, or a feature that cannot be computed on these bars."""


class SplitError(FinscaleError):
    """Train, validation and test parts that cannot be cut from the rows at hand."""


class LadderError(FinscaleError):
    """A budget that cannot be read, or that no architecture of the grid meets."""


class ModelError(FinscaleError):
    """An architecture or input shape from which no model can be built."""


class RunDirectoryError(FinscaleError):
    """A run directory that is missing, unwritable, damaged or in use by another process."""


class FitError(FinscaleError):
    """Points from which no scaling law can be fitted."""


class LaunchError(FinscaleError):
    """Workers that cannot be started where they were asked for."""


class StopRequestedError(FinscaleError):
    """The user asked to stop (Ctrl-C, SIGTERM or a stop file); everything finished is kept."""

    exit_code = 130


class OverheatedError(StopRequestedError):
    """The machine got too hot to go on; everything finished is kept."""

    exit_code = 4


class ExperimentsFailedError(FinscaleError):
    """Some experiments failed; the others are complete."""

    exit_code = 3
