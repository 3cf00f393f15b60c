"""Translate lines of text with a compressed file alone, or with a plain checkpoint."""

from __future__ import annotations

import argparse
import sys
from io import TextIOWrapper
from os import PathLike, fspath

from lightning_compress import load_from_checkpoint
from lightning_compress.archive import Archive, is_archive
from lightning_compress.loading import resolve_class
from recipes.data.assets import Vocabularies, assets_of, read_checkpoint, record_of
from recipes.data.text_files import read_stream
from recipes.errors import VocabularyError
from recipes.structures import take_sizes
from recipes.translation import Translation

# Code that a file may name: only the recipes' own.
ALLOWED = ("recipes.*",)
STANDARD_INPUT = "standard input"


def load_translator(path: str | PathLike[str]) -> Translation:
    """The module in a file, with its vocabularies, ready to translate.

    Args:
        path: a compressed file, or a checkpoint that a recipe saved.

    Raises:
        VocabularyError: if the file holds no vocabularies, or is no translation module at all.
        ClassNotAllowedError: if the file names a class outside the recipes.
        FormatError: if a compressed file is damaged.
    """
    if not is_archive(path):
        return _from_checkpoint(path)
    archive = Archive.open(path)
    vocabularies = Vocabularies.from_assets(archive.assets(), origin=fspath(path))
    module = load_from_checkpoint(_translation_class(archive.manifest.class_path, path), path)
    module.use(vocabularies)
    return module.eval()


def _from_checkpoint(path: str | PathLike[str]) -> Translation:
    checkpoint = read_checkpoint(path)
    vocabularies = Vocabularies.from_assets(assets_of(checkpoint), origin=fspath(path))
    translation = _translation_class(record_of(checkpoint).get("class_path"), path)
    try:
        module = translation(**checkpoint["hyper_parameters"])
        take_sizes(module, checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise VocabularyError(
            f"{fspath(path)} does not fit {translation.__name__} ({error!r}): give a checkpoint that this recipe saved"
        ) from error
    module.use(vocabularies)
    return module.eval()


def _translation_class(class_path: str | None, path: str | PathLike[str]) -> type[Translation]:
    found = resolve_class(class_path or "", ALLOWED)
    if not issubclass(found, Translation):
        raise VocabularyError(f"{fspath(path)} holds a {class_path}: expected a translation module of the recipes")
    return found


def main(arguments: list[str]) -> None:
    """``translate FILE``: lines from standard input, translations to standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes translate",
        description="Translate standard input line by line. Prepare the lines as the training text was: "
        "tokenized, if that was.",
    )
    parser.add_argument("file", help="compressed .safetensors file, or .ckpt, of a translation recipe")
    parser.add_argument("--beam", type=int, help="translations kept in the search (default: as trained; 1: greedy)")
    parser.add_argument("--batch-size", type=int, default=64, help="sentences translated together (default: 64)")
    options = parser.parse_args(arguments)
    for name in ("beam", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} is {value}: expected 1 or more")
    module = load_translator(options.file)
    lines = read_stream(sys.stdin, STANDARD_INPUT)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    for text in module.translate(lines, beam=options.beam, batch_size=options.batch_size, origin=STANDARD_INPUT):
        sys.stdout.write(f"{text}\n")
