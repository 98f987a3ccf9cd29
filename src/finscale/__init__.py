"""A laboratory for one question: do scaling laws hold for transformers on financial time series.

What the command line does is here as functions; it only parses and prints.

- :func:`load_study` reads a study file, :func:`run` runs it or goes on with it
- :func:`preview` tells what it will cost
- :func:`build_features` makes the feature matrix of bars
- :func:`fit_law` fits a scaling law to points of one's own: a file, a frame or arrays
- :func:`fit_line` fits a measure of either sign, such as a Sharpe ratio, against a size
- :func:`compare_laws` and :func:`judge` say which law of size fits a few budgets, if any does;
  `judge` takes a :class:`Point` for each
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# Before torch is loaded, which reads it once. OpenMP threads that wait for work spin by default,
# and hold the cores that other processes need: a small model then trains up to 60 times slower
# beside another program (benchmarks/threads.py). Whoever sets the variable is not overruled.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Loaded on first use, so that reading a ledger or fitting a law does not load torch.
_FACADE = {
    "load_study": ("finscale.study_file", "load_study"),
    "run": ("finscale.pipeline.run", "run_study"),
    "preview": ("finscale.preview", "preview_study"),
    "load_bars": ("finscale.dataset.sources", "load_bars"),
    "OHLCV": ("finscale.market.bars", "OHLCV"),
    "feature": ("finscale.features.registry", "feature"),
    "build_features": ("finscale.features.build", "build_features"),
    "tier_features": ("finscale.features.tiers", "tier_features"),
    "fit_law": ("finscale.scaling.fit_points", "fit_law"),
    "fit_line": ("finscale.scaling.line", "fit_line"),
    "compare_laws": ("finscale.scaling.fit", "compare_laws"),
    "judge": ("finscale.scaling.verdict", "judge"),
    "Point": ("finscale.scaling.points", "Point"),
}

__all__ = ["__version__", *_FACADE]  # noqa: PLE0604 - the keys are names


def __getattr__(name: str) -> Any:
    if name not in _FACADE:
        raise AttributeError(f"module 'finscale' has no attribute {name!r}")
    module, attribute = _FACADE[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
