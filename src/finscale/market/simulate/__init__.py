"""Markets made by a known law, so that the best possible loss is known."""
