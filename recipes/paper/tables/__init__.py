"""The results as Markdown tables."""
