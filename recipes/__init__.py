"""Training recipes that stand outside the package: they show it at work on machine translation."""
