"""Budgets, the architectures that meet them, and the batches they are trained with."""
