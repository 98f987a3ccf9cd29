"""Causal features of bars, in tiers."""
