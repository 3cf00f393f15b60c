"""Parallel text: vocabulary, segmentation, batches, and the Lightning data module."""
