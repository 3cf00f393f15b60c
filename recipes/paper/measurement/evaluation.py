"""BLEU evaluation of a translation module on a text that is batched once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sacrebleu.metrics.bleu import BLEU

from lightning_compress import Score, bleu_score
from recipes.data.batching import Batch, PairDataset, TokenBatches
from recipes.data.parallel_text import ParallelText
from recipes.paper.measurement.measurement import fingerprint
from recipes.paper.settings import Settings
from recipes.translation import Translation


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Callable that translates every batch and computes BLEU.

    Attributes:
        batches: sentences of similar length, from short to long, on the module's device.
        beam: translations kept in the search; 1 is greedy.
        tokenize: sacrebleu's tokenizer.
    """

    batches: Sequence[Batch]
    beam: int
    tokenize: Any

    def __call__(self, module: Translation) -> Score:
        """BLEU of the module, with the statistics of each sentence."""
        translations = [text for batch in self.batches for text in module.best(batch.source, beam=self.beam)]
        return bleu_score(translations, self.references, tokenize=self.tokenize)

    @property
    def references(self) -> list[str]:
        """References, in the order of the batches."""
        return [text for batch in self.batches for text in batch.references]

    @property
    def text(self) -> str:
        """Fingerprint of sources and references."""
        return fingerprint([[batch.source.tolist(), batch.references] for batch in self.batches])

    @property
    def signature(self) -> str:
        """Sacrebleu's signature: version and settings of BLEU."""
        metric = BLEU(tokenize=self.tokenize, force=True)
        metric.corpus_score(["a"], [["a"]])  # the signature needs the number of references
        return str(metric.get_signature())

    @property
    def combine(self) -> Callable[[Any], float]:
        """Function that computes BLEU from summed sentence statistics, with this tokenizer."""
        combine = bleu_score(["a"], ["a"], tokenize=self.tokenize).combine
        assert combine is not None
        return combine


def evaluation(module: Translation, settings: Settings, device: torch.device) -> Evaluation:
    """The evaluation of a module on the text of the settings, with the module's own vocabularies.

    Raises:
        TextError: the text is missing, empty, or has a sentence without a reference.
    """
    data = ParallelText(
        str(settings.data),
        settings.source,
        settings.target,
        valid=settings.split,
        vocabularies=str(settings.checkpoint),
    )
    pairs = first(settings.limit, data.read("valid"))
    lengths = [(source, target) for target, source in pairs.lengths()]  # decoding pads sources, not targets
    batches = [pairs[rows] for rows in TokenBatches(lengths, data.eval_tokens).batches()]
    on_device = [batch._replace(source=batch.source.to(device)) for batch in batches]
    return Evaluation(on_device, settings.beam or module.test_beam, module.bleu_tokenize)


def first(count: int | None, pairs: PairDataset) -> PairDataset:
    """The first so many pairs, all for None."""
    return PairDataset(pairs.sources[:count], pairs.targets[:count], pairs.references[:count])
