"""Trials: the files that a search has evaluated, their coordinates in the search space, and the best of them."""
