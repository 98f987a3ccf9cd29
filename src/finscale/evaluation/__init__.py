"""Scores of probability forecasts, and the form in which predictions are kept."""
