"""Errors of the recipes, under the package's one base class."""

from typing_extensions import Self

from lightning_compress.errors import CompressionError


class RecipeError(CompressionError):
    """Base of all errors that a recipe raises."""


class SettingsError(RecipeError, ValueError):
    """A setting is out of range, or is no name that is known."""


class TextError(RecipeError):
    """A text is missing, empty, not UTF-8, or does not match its translation."""


class VocabularyError(RecipeError):
    """A vocabulary is malformed, does not fit the network, or is missing, as is the file that should hold it."""


class ScoreError(RecipeError):
    """No next word can be chosen: the network's scores are NaN or infinite.

    Attributes:
        sentence: row of the sentence in its batch.
        word: number of the target word, from 1.
    """

    sentence: int = 0
    word: int = 1

    @classmethod
    def at(cls, place: str, *, sentence: int, word: int) -> Self:
        """The error for a sentence that ``place`` names."""
        error = cls(
            f"{place}: the scores of word {word} are NaN or infinite, so no word can be chosen. The training diverged "
            "or the weights are damaged: use an earlier checkpoint, or train with a lower learning_rate or with "
            "trainer.gradient_clip_val"
        )
        error.sentence, error.word = sentence, word
        return error


class SegmentationError(RecipeError):
    """A segmentation is unknown, or the library it needs is not installed."""


class ExperimentError(RecipeError):
    """An experiment is unknown, or cannot be run with these options, this model or this folder."""


class ResultsError(RecipeError):
    """The results of an experiment are missing, malformed, or cannot be shown."""
