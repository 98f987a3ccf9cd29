"""Features of the user's own, from a Python file named in a study.

The file is a module of its own: it registers features with the decorator
:func:`finscale.features.registry.feature` and imports what is installed. Files that lie beside it
cannot be imported. It is executed, so it is trusted as much as any program one starts.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from finscale.errors import FeatureError
from finscale.features import tiers  # noqa: F401 - the built-in features take their names first
from finscale.features.registry import REGISTRY, Feature
from finscale.files import hash_bytes

# What each content registered, what it was, and which content a file had when last executed.
_REGISTERED: dict[str, tuple[Feature, ...]] = {}
_SOURCES: dict[str, tuple[Path, bytes]] = {}
_CONTENT: dict[Path, str] = {}


def load_feature_modules(paths: Sequence[Path]) -> dict[Path, tuple[str, ...]]:
    """Execute Python files that register features; each content once per process.

    A file whose content was executed before, here or under another path, is left alone. One that
    has changed is executed again, and what it registered before is forgotten.

    Parameters
    ----------
    paths
        ``.py`` files.

    Returns
    -------
    dict
        Each path to the names that its content registered, in order.

    Raises
    ------
    FeatureError
        If a file is missing, is not Python, fails while it runs, registers nothing, or takes the
        name of another feature. Then nothing of that file is registered. The message names the
        file, the line and the reason.
    """
    return {path: _load(path) for path in paths}


def features_of_modules() -> frozenset[str]:
    """Return the names of all features that files registered in this process."""
    return frozenset(
        one.name
        for registered in _REGISTERED.values()
        for one in registered
        if REGISTRY.get(one.name) is one
    )


def execute_anew(feature: Feature) -> Feature | None:
    """Execute the file of a feature once more, apart from what is registered.

    Returns
    -------
    Feature or None
        The same feature, whose module has not seen any bars; None if no file registered it.

    Raises
    ------
    FeatureError
        If the file, executed once more, fails or does not register the feature.
    """
    digest = next((key for key, known in _REGISTERED.items() if feature in known), None)
    if digest is None:
        return None
    path, content = _SOURCES[digest]
    before, module = dict(REGISTRY), sys.modules.get(_module_name(digest))
    try:
        _forget(_REGISTERED[digest])
        again = {one.name: one for one in _register(path, content, digest)}
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)
        sys.modules.pop(_module_name(digest), None)
        if module is not None:
            sys.modules[module.__name__] = module
    if feature.name not in again:
        raise FeatureError(
            f"{path}: registers {feature.name} at times only; register it whenever it is executed"
        )
    return again[feature.name]


def _load(path: Path) -> tuple[str, ...]:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise FeatureError(
            f"{path}: {reason}; give the path of a Python file that registers features"
        ) from error
    digest = hash_bytes(content)
    known = _REGISTERED.get(digest, ())
    if not known or any(REGISTRY.get(one.name) is not one for one in known):
        before = dict(REGISTRY)
        try:
            _forget(_REGISTERED.get(_CONTENT.get(path.resolve(), ""), ()))
            known = _register(path, content, digest)
        except BaseException:
            REGISTRY.clear()
            REGISTRY.update(before)
            sys.modules.pop(_module_name(digest), None)
            raise
        _REGISTERED[digest] = known
        _SOURCES[digest] = path, content
    _CONTENT[path.resolve()] = digest
    return tuple(one.name for one in known)


def _forget(features: Sequence[Feature]) -> None:
    for one in features:
        if REGISTRY.get(one.name) is one:
            del REGISTRY[one.name]


def _register(path: Path, content: bytes, digest: str) -> tuple[Feature, ...]:
    """Execute a file and return what it registered."""
    others = set(REGISTRY)
    # Others may look the module up by name, as dataclasses and pickle do.
    module = ModuleType(_module_name(digest))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - its purpose
    except (Exception, SystemExit) as error:
        raise FeatureError(f"{path}{_line_of(error, path)}: {_reason_of(error)}") from error
    registered = tuple(one for name, one in REGISTRY.items() if name not in others)
    if not registered:
        raise FeatureError(
            f"{path}: registers no feature; decorate a function with "
            "finscale.features.registry.feature"
        )
    return registered


def _module_name(digest: str) -> str:
    return f"finscale_user_features_{digest[:16]}"


def _line_of(error: BaseException, path: Path) -> str:
    """Return the last line of the file itself on the way to an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return f", line {lines[-1]}" if lines else ""


def _reason_of(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return f"not Python ({error.msg}); correct the file"
    if isinstance(error, FeatureError):
        return text
    if isinstance(error, ModuleNotFoundError):
        return f"{text}; install it, or move what is needed from a file beside this one into it"
    return f"{type(error).__name__}{': ' if text else ''}{text}; correct the file"
