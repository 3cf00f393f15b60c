"""Training recipes for machine translation that use the package; they are not part of it."""
