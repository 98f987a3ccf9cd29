"""The training engine: one run of one architecture with one recipe."""
