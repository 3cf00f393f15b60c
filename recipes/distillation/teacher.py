"""A trained network as the teacher of another, of any size and kind."""

from __future__ import annotations

from torch import nn

from recipes.translate import load_translator


def trained_network(path: str) -> nn.Module:
    """The network in a checkpoint or compressed file of a recipe, as a configuration names a teacher.

    The student needs the same vocabularies: train it with ``data.vocabularies`` naming the same file.

    Raises:
        VocabularyError: if the file holds no translation module of the recipes.
    """
    return load_translator(path).network
