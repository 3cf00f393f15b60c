"""Models of the distribution of symbols, from which the range coders make codes."""
