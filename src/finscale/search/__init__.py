"""Search over architecture and recipe, with Optuna."""
