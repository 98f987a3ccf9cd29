"""Laws of loss against model size: fits, intervals and the verdict."""
