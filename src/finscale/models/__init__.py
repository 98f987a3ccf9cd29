"""The patch transformer and what it costs. Imports nothing, so that cost stays free of torch."""
