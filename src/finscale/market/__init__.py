"""Bars: one schema for daily OHLCV data, and the sources that return it."""
