"""Runs experiments: processes, progress, CSV files, charts and Weights & Biases."""
