"""The results as figures."""
