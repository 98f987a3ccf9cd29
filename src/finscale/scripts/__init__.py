"""Experiments as scripts of their own: short, self-contained, every parameter in sight."""
