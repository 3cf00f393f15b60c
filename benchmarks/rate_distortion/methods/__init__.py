"""Compression methods, of this package and of others: each offers candidates, and each candidate is one file."""
