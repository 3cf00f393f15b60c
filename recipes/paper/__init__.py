"""The reference paper's experiments on a trained translation recipe: ``python -m recipes.paper``."""
