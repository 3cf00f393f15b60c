"""The demo: a generated language pair, a small Transformer, and its compressed files (``python -m recipes.demo``)."""
