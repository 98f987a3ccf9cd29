"""Scores of forecasts with intervals, comparisons, calibration, positions; the form they have."""
