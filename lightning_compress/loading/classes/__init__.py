"""Classes that a file names: which of them are allowed, and their import."""
