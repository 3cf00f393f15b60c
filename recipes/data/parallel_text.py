"""Lightning data module for parallel text in plain files."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_info
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from recipes.checks import check_least, check_sizes
from recipes.data.assets import TextSettings, Vocabularies, read_vocabularies
from recipes.data.batching import Batch, PairDataset, TokenBatches
from recipes.data.exchanged_languages import warn_if_exchanged
from recipes.data.pieces import Pieces
from recipes.data.reserved_words import warn_of_reserved_words
from recipes.data.segment import PIECES, Segmentation
from recipes.data.text_files import read_lines, read_parallel
from recipes.data.vocabulary import Vocabulary
from recipes.errors import TextError


def as_is(batch: Any) -> Any:
    """A :class:`Batch` leaves the dataset ready made."""
    return batch


class ParallelText(LightningDataModule):
    """Training, validation and test sets from files ``folder/NAME.LANGUAGE``, one sentence a line.

    Words of the text that read like reserved words of the vocabulary (``<s>``) become ``UNK``; one warning for each
    file names the first. References keep them as they are written.

    Args:
        folder: where the files are.
        source: ending of the source files, such as ``en`` for ``train.en``.
        target: ending of the target files.
        train: name of the training files before the ending.
        valid: name of the validation files.
        test: name of the test files, which need references like all others; ``None``: no test set.
        max_words: vocabulary size of each side; all rarer words become ``UNK``.
        min_count: words that occur less often in the training text become ``UNK`` too.
        max_length: training pairs with more words than this on either side are left out; a message says how
            many.
        tokens: size of a training batch: pairs × longest sentence, at most.
        pairs: most pairs in a training batch; by default only ``tokens`` counts.
        eval_tokens: the size of a batch in validation and test, as ``tokens``.
        source_segmentation: how a source line is cut into words: ``spaces``, ``characters`` or ``jieba``; or into
            pieces of words: ``sentencepiece``, for raw text, whose model is trained on the training text.
        target_segmentation: the same for the target; translations in pieces are joined to raw text.
        pieces: number of pieces of each side that is cut into pieces, at most.
        lowercase: whether to lower-case both sides.
        workers: processes that prepare batches; 0: the training process itself.
        vocabularies: a checkpoint or compressed file whose vocabularies, segmentation and letter case are used;
            by default vocabularies are built from the training text.
        seed: decides the order of the training batches.

    Raises:
        SettingsError: if a number is out of range.
        VocabularyError: if ``vocabularies`` names a file that has none.
        TextError: from :meth:`setup`, if a file is missing, empty, not UTF-8, or its line count differs from that
            of the file in the other language.
    """

    def __init__(
        self,
        folder: str,
        source: str,
        target: str,
        *,
        train: str = "train",
        valid: str = "valid",
        test: str | None = None,
        max_words: int = 30_000,
        min_count: int = 1,
        max_length: int = 50,
        tokens: int = 4096,
        pairs: int | None = None,
        eval_tokens: int = 4096,
        source_segmentation: Segmentation = "spaces",
        target_segmentation: Segmentation = "spaces",
        pieces: int = 8_000,
        lowercase: bool = False,
        workers: int = 0,
        vocabularies: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(max_words=max_words, min_count=min_count, max_length=max_length, pieces=pieces)
        check_sizes(tokens=tokens, eval_tokens=eval_tokens, **({} if pairs is None else {"pairs": pairs}))
        check_least(0, workers=workers, seed=seed)
        self.folder, self.source, self.target = Path(folder), source, target
        self.names = {"train": train, "valid": valid, "test": test}
        self.max_words, self.min_count, self.max_length = max_words, min_count, max_length
        self.tokens, self.pairs, self.eval_tokens = tokens, pairs, eval_tokens
        self.workers, self.seed = workers, seed
        self.stored = None if vocabularies is None else read_vocabularies(vocabularies)
        self.pieces = pieces
        self._given = TextSettings(source_segmentation, target_segmentation, lowercase)
        self.sets: dict[str, PairDataset] = {}
        self._checked: set[Path] = set()  # files whose reserved words were reported

    @cached_property
    def settings(self) -> TextSettings:
        """How text is cut into words; SentencePiece models are trained on the training text."""
        if self.stored is not None:
            return self.stored.settings
        given, (source, target) = self._given, self.paths("train")
        return replace(
            given,
            source_pieces=self._trained_pieces(source) if given.source_segmentation == PIECES else None,
            target_pieces=self._trained_pieces(target) if given.target_segmentation == PIECES else None,
        )

    def _trained_pieces(self, path: Path) -> Pieces:
        return Pieces.train(self._given.cased(read_lines(path)), self.pieces, str(path))

    @cached_property
    def vocabularies(self) -> Vocabularies:
        """Both vocabularies, and how text is cut into words."""
        if self.stored is not None:
            return self.stored
        source, target = self.sentences("train")
        build = partial(Vocabulary.from_sentences, max_words=self.max_words, min_count=self.min_count)
        return Vocabularies(build(source), build(target), self.settings)

    @property
    def source_words(self) -> int:
        """Size of the source vocabulary, specials included."""
        return len(self.vocabularies.source)

    @property
    def target_words(self) -> int:
        """Size of the target vocabulary, specials included."""
        return len(self.vocabularies.target)

    def paths(self, split: str) -> tuple[Path, Path]:
        """Source and target file of ``train``, ``valid`` or ``test``."""
        name = self.names[split]
        return self.folder / f"{name}.{self.source}", self.folder / f"{name}.{self.target}"

    def text(self, split: str) -> tuple[list[str], list[str]]:
        """Source lines of a split as they are in its file, and references as BLEU takes them."""
        lines, targets = read_parallel(*self.paths(split))
        return lines, self.settings.references(targets)

    def sentences(self, split: str) -> tuple[list[list[str]], list[list[str]]]:
        """Words of each source and of each target sentence of a split, without over-long training pairs."""
        source_path, target_path = self.paths(split)
        source_lines, target_lines = read_parallel(source_path, target_path)
        sources, targets = self.settings.cut_source(source_lines), self.settings.cut_target(target_lines)
        self._report_reserved_words(source_path, sources)
        self._report_reserved_words(target_path, targets)
        if split != "train":
            return sources, targets
        kept = [
            (s, t)
            for s, t in zip(sources, targets, strict=True)
            if 0 < len(s) <= self.max_length and 0 < len(t) <= self.max_length
        ]
        dropped = len(sources) - len(kept)
        if not kept:
            raise TextError(
                f"no pair of {source_path} and {target_path} has 1 to {self.max_length} words on both sides: "
                "raise max_length"
            )
        if dropped:
            rank_zero_info(
                f"{source_path.name}, {target_path.name}: left out {dropped:,} of {len(sources):,} training "
                f"pairs, empty or longer than {self.max_length} words"
            )
        return [s for s, _ in kept], [t for _, t in kept]

    def setup(self, stage: str) -> None:
        """Read what ``stage`` needs; for ``fit`` the test files too, so that a wrong one is found in time."""
        wanted = {"fit": ("train", "valid", "test"), "validate": ("valid",), "test": ("test",)}.get(stage, ())
        if stage == "test" and self.names["test"] is None:
            raise TextError("no test set is named: give test, the name of the files before their language ending")
        for split in wanted:
            if self.names[split] is not None and split not in self.sets:
                self.sets[split] = self.read(split)

    def read(self, split: str) -> PairDataset:
        """The pairs of a split as word ids."""
        sources, targets = self.sentences(split)
        if split != "train":
            self.check_references(split, targets)
        if split != "train" or self.stored is not None:
            known, paths = self.vocabularies, self.paths(split)
            warn_if_exchanged(sources, known.source, known.target, str(paths[0]), "source")
            warn_if_exchanged(targets, known.target, known.source, str(paths[1]), "target")
        references = [] if split == "train" else [" ".join(words) for words in targets]
        if references and self.settings.target_segmentation == PIECES:
            references = self.text(split)[1]
        return PairDataset(
            [array("i", self.vocabularies.source.encode(words)) for words in sources],
            [array("i", self.vocabularies.target.encode(words)) for words in targets],
            references,
        )

    def _report_reserved_words(self, path: Path, sentences: Sequence[Sequence[str]]) -> None:
        if path not in self._checked:
            self._checked.add(path)
            warn_of_reserved_words(sentences, str(path))

    def check_references(self, split: str, targets: Sequence[Sequence[str]]) -> None:
        """Raise :class:`TextError` for the first sentence without a translation."""
        empty = next((k for k, words in enumerate(targets) if not words), None)
        if empty is not None:
            raise TextError(
                f"{self.paths(split)[1]}, line {empty + 1}: no reference; every line of a {split} set needs "
                "its translation"
            )

    def loader(self, split: str, tokens: int, pairs: int | None = None) -> DataLoader[Batch]:
        """Batches of a split; training batches are shuffled."""
        dataset = self.sets[split]
        batches = TokenBatches(dataset.lengths(), tokens, pairs=pairs, shuffle=split == "train", seed=self.seed)
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=batches,
            collate_fn=as_is,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of ``tokens``, and at most ``pairs``, for training."""
        return self.loader("train", self.tokens, self.pairs)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of ``eval_tokens`` for validation."""
        return self.loader("valid", self.eval_tokens)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of ``eval_tokens`` for the test."""
        return self.loader("test", self.eval_tokens)
