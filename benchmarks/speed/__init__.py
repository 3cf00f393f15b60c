"""Seconds and bytes of compressing and loading, beside what others take in the same run."""
