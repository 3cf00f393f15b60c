"""Results of the experiments, read from their CSV files, and the paper's reported values."""
