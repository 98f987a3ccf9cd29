"""The stages of a study: prepare → search → train → evaluate → fit → report."""
