"""The one training module of all translation recipes; what differs between them is the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from lightning_compress.weights import ASSETS_KEY
from recipes.checks import check_finite, check_least, check_name, check_shares, check_sizes
from recipes.data.assets import RECORD, Vocabularies, assets_of
from recipes.data.batching import Batch
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import PAD
from recipes.errors import TextError, VocabularyError
from recipes.models.network import Network
from recipes.search.beam import beam_search
from recipes.search.greedy import greedy_search
from recipes.search.lines import text_of, translate_lines
from recipes.structures import take_sizes
from recipes.training.bleu import Bleu
from recipes.training.optimizer import make_optimizer
from recipes.training.schedule import make_schedule


class Translation(LightningModule):
    """Trains a :class:`~recipes.models.network.Network` to translate, and measures it by BLEU.

    Logs ``train_loss``, ``val_loss`` (nats per target word, without label smoothing) and ``val_bleu``; ``test``
    logs ``test_loss`` and ``test_bleu``. The vocabularies come from the data module and travel with each file.

    Args:
        network: source and target word ids in, scores out.
        learning_rate: highest learning rate of the schedule.
        optimizer: ``adam``, or ``sgd`` without momentum.
        schedule: ``inverse-square-root``, or ``halving`` as GNMT does.
        warmup_steps: ``inverse-square-root``: updates until ``learning_rate`` is reached.
        decay_start: ``halving``: updates at ``learning_rate`` before the decay begins.
        decay_every: ``halving``: updates of the decay until each halving.
        betas: decay rates of Adam's two averages.
        weight_decay: decoupled weight decay; 0 is plain Adam.
        loss_per: ``word``: training minimizes the mean loss of a target word. ``sentence``: the mean of the
            sentences' summed losses, whose gradient is longer by the mean sentence length.
        label_smoothing: share of the target's probability spread over all words.
        beam: translations kept in the search for ``val_bleu``; 1 is greedy and fastest.
        test_beam: the same for ``test_bleu`` and for translating text.
        length_penalty: strength of the beam search's length penalty.
        allow_unknown: whether a translation may hold ``<unk>``.
        bleu_tokenize: sacrebleu tokenizer; ``none`` for text that is tokenized already.

    Raises:
        SettingsError: if a number is out of range, or a name is none of those above.
    """

    def __init__(
        self,
        network: Network,
        *,
        learning_rate: float = 1e-3,
        optimizer: Literal["adam", "sgd"] = "adam",
        schedule: Literal["inverse-square-root", "halving"] = "inverse-square-root",
        warmup_steps: int = 4000,
        decay_start: int = 75_000,
        decay_every: int = 7_500,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.0,
        loss_per: Literal["word", "sentence"] = "word",
        label_smoothing: float = 0.1,
        beam: int = 1,
        test_beam: int = 4,
        length_penalty: float = 0.6,
        allow_unknown: bool = True,
        bleu_tokenize: Literal["none", "13a", "zh", "char", "intl"] = "none",
    ) -> None:
        super().__init__()
        self.network = network
        check_sizes(beam=beam, test_beam=test_beam)
        check_least(0, learning_rate=learning_rate, weight_decay=weight_decay)
        check_finite(length_penalty=length_penalty)
        check_shares(label_smoothing=label_smoothing, first_beta=betas[0], second_beta=betas[1])
        check_name("optimizer", optimizer, ("adam", "sgd"))
        check_name("loss_per", loss_per, ("word", "sentence"))
        self.rate_factor = make_schedule(schedule, warmup_steps, decay_start, decay_every)
        self.optimizer, self.loss_per, self.learning_rate = optimizer, loss_per, learning_rate
        self.betas, self.weight_decay, self.label_smoothing = betas, weight_decay, label_smoothing
        self.beam, self.test_beam = beam, test_beam
        self.length_penalty, self.allow_unknown, self.bleu_tokenize = length_penalty, allow_unknown, bleu_tokenize
        self.val_bleu, self.test_bleu = Bleu(tokenize=bleu_tokenize), Bleu(tokenize=bleu_tokenize)
        self.vocabularies: Vocabularies | None = None

    # Training

    def setup(self, stage: str) -> None:
        """Take the vocabularies of the data module, if it is one of ours."""
        if (data := self._text()) is not None:
            self.use(data.vocabularies)

    def use(self, vocabularies: Vocabularies) -> None:
        """Translate with these vocabularies.

        Raises:
            VocabularyError: if their sizes are not the network's.
        """
        vocabularies.check_sizes(self.hparams.get("source_words"), self.hparams.get("target_words"))
        vocabularies.settings.check_tokenizer(self.bleu_tokenize)
        self.vocabularies = vocabularies

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy per target word, nats, ``[]``."""
        scores = self.network(batch.source, batch.previous)
        return F.cross_entropy(
            scores.flatten(0, 1), batch.target.flatten(), ignore_index=PAD, label_smoothing=label_smoothing
        )

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss with label smoothing, per word or per sentence; per word in the log."""
        loss = self.loss(batch, label_smoothing=self.label_smoothing)
        self.log("train_loss", loss, batch_size=batch.source.size(0), prog_bar=True)
        return loss if self.loss_per == "word" else loss * (batch.target != PAD).sum() / batch.target.size(0)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Loss, and BLEU by a search with ``beam``; NaN scores make BLEU NaN while training, else they are an error.

        Raises:
            ScoreError: outside of training, if scores are NaN or infinite.
        """
        self.log("val_loss", self.loss(batch), batch_size=batch.tokens, prog_bar=True, sync_dist=True)
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        self.val_bleu.count(batch, batch_index, lambda source: self.best(source, beam=self.beam), may_fail=fitting)
        self.log("val_bleu", self.val_bleu, prog_bar=True)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Loss, and BLEU by a search with ``test_beam``.

        Raises:
            ScoreError: if scores are NaN or infinite.
        """
        self.log("test_loss", self.loss(batch), batch_size=batch.tokens, sync_dist=True)
        self.test_bleu.count(batch, batch_index, lambda source: self.best(source, beam=self.test_beam))
        self.log("test_bleu", self.test_bleu)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer and the schedule of the settings."""
        optimizer = make_optimizer(
            self.optimizer,
            self.parameters(),
            learning_rate=self.learning_rate,
            betas=self.betas,
            weight_decay=self.weight_decay,
            clips=bool(self.trainer.gradient_clip_val),
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # Translating

    def known_vocabularies(self) -> Vocabularies:
        """The vocabularies.

        Raises:
            VocabularyError: if there are none yet.
        """
        if self.vocabularies is None:
            raise VocabularyError(
                "the module has no vocabularies: train or test it with a ParallelText data module, or load a "
                "file that has them"
            )
        return self.vocabularies

    def search(self, source: Tensor, *, beam: int) -> Tensor:
        """Best translation of each row: ``[batch, source_length]`` ids → ``[batch, length]`` ids."""
        if beam == 1:
            return greedy_search(self.network, source, allow_unknown=self.allow_unknown)
        return beam_search(self.network, source, beam=beam, alpha=self.length_penalty, allow_unknown=self.allow_unknown)

    def best(self, source: Tensor, *, beam: int) -> list[str]:
        """Best translation of each row of ``source: [batch, source_length]``: words apart by one space.

        A source without words has a translation without words.

        Raises:
            ScoreError: if scores are NaN or infinite; a row of the batch is named.
        """
        return text_of(source, self.search(source, beam=beam), self.known_vocabularies())

    @torch.no_grad()
    def translate(
        self, lines: Sequence[str], *, beam: int | None = None, batch_size: int = 64, origin: str | None = None
    ) -> list[str]:
        """Translate lines of text; an empty line stays empty, and no translation has a line break.

        Args:
            lines: one sentence each, prepared as the training text was (tokenized, if that was).
            beam: translations kept in the search; by default ``test_beam``.
            batch_size: sentences translated together.
            origin: name of the text, for errors and for a warning about reserved words such as ``<s>``.

        Raises:
            TextError: if ``lines`` is one text instead of several lines.
            SettingsError: if ``beam`` or ``batch_size`` is below 1.
            ScoreError: if scores are NaN or infinite; the line is named.
        """
        beam = self.test_beam if beam is None else beam
        check_sizes(beam=beam)
        self.eval()
        return translate_lines(
            lines,
            self.known_vocabularies(),
            lambda source: self.best(source.to(self.device), beam=beam),
            batch_size=batch_size,
            origin=origin,
        )

    def validation_text(self) -> tuple[list[str], list[str]]:
        """Source lines and references of the validation set.

        Raises:
            TextError: if the trainer has no ParallelText data module.
        """
        if (data := self._text()) is None:
            raise TextError("there is no validation text: train with a ParallelText data module, or give the text")
        return data.text("valid")

    def _text(self) -> ParallelText | None:
        """The data module of the trainer, if it is one of ours."""
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, ParallelText) else None

    # What travels with the weights

    def compression_assets(self) -> dict[str, bytes]:
        """The vocabularies and how text is cut into words, for the compressed file."""
        return {} if self.vocabularies is None else self.vocabularies.to_assets()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the same, and the class, into the checkpoint, under keys whose values a compressed file holds exactly."""
        checkpoint[RECORD] = {"class_path": f"{type(self).__module__}.{type(self).__qualname__}"}
        checkpoint[ASSETS_KEY] = self.compression_assets()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the sizes of a network that was shrunk, and the vocabularies of a checkpoint that has them."""
        take_sizes(self, checkpoint)
        if assets := assets_of(checkpoint):
            self.use(Vocabularies.from_assets(assets, origin="the checkpoint"))
