"""Pages of compute, by noun."""
