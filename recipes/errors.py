"""Errors of the recipes, under the package's one base class."""

from lightning_compress.errors import CompressionError


class RecipeError(CompressionError):
    """Base of all errors that a recipe raises."""


class TextError(RecipeError):
    """A text file is missing, empty, not UTF-8, or does not match its translation."""


class VocabularyError(RecipeError):
    """A vocabulary is malformed, missing, or does not fit the network."""


class SegmentationError(RecipeError):
    """A segmentation is unknown, or the library it needs is not installed."""


class ExperimentError(RecipeError):
    """An experiment is unknown, or cannot be run with these options, this model or this folder."""


class ResultsError(RecipeError):
    """The results of an experiment are missing, malformed, or cannot be shown."""
