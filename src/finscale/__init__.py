"""A laboratory for one question: do scaling laws hold for transformers on financial time series."""

__version__ = "0.1.0"
