"""Measures what the package promises about files: under fuzzing, crashes, power loss, bad disks and long runs."""
