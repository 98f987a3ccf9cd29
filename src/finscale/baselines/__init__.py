"""Simple models on the same rows and labels: the bar every transformer has to clear."""
