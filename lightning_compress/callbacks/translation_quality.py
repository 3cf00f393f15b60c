"""``TranslationQuality``: what a model's translations are worth while it trains, exact and compressed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch

from lightning_compress.archive import Archive
from lightning_compress.callbacks import seam
from lightning_compress.callbacks.base import callback_class
from lightning_compress.callbacks.checkpoint import CompressCheckpoint
from lightning_compress.callbacks.collective import is_sharded
from lightning_compress.callbacks.companion_files import folder_of_checkpoints
from lightning_compress.callbacks.monitored import Mode, monitored
from lightning_compress.callbacks.naming import is_temporary
from lightning_compress.callbacks.quality import Comparison, Judge, Text, Translations, checked_translations
from lightning_compress.callbacks.quality_record import record_metric, record_translations
from lightning_compress.callbacks.validation import validated
from lightning_compress.errors import CallbackError
from lightning_compress.logging import logging_step
from lightning_compress.pipeline.compression import compress
from lightning_compress.plan import Plan
from lightning_compress.runtime import preserved_random_state
from lightning_compress.runtime.progress import progress_bar
from lightning_compress.search import Evaluate, Score, evaluating
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

_log = logging.getLogger(__name__)


class TranslationQuality(seam.SaveListener, _Callback):
    """Translate a validation set with the exact and with the compressed weights, and log what each is worth.

    Logged are BLEU and chrF, what compression loses of BLEU with a 95 % interval by paired bootstrap resampling, and a
    table of samples; the newest measurement is written to ``translations.json`` beside the checkpoints. The compressed
    weights are those of ``plan``, or else of the trainer's :class:`CompressCheckpoint`: the file it just wrote, and
    where it wrote none for these weights, what its plan makes of them; a searched plan counts by its files alone.
    Without either the exact weights are measured alone.

    The training is not changed: the weights are loaded in place, and afterwards everything is bit for bit as it was.
    What fails is logged, and the training goes on.

    Args:
        sources: sentences to translate; the module's ``validation_text()``, which gives sources and references, where
            it is None.
        references: one for each source.
        translate: module → one translation for each source; the module's ``translate(sources)`` where it is None.
        metric: another score in place of BLEU: module → number or :class:`~lightning_compress.Score`, or the name of
            what the trainer's validation logs.
        mode: of ``metric``: ``"max"`` where more of it is better, ``"min"`` where less is; as the ``ModelCheckpoint``
            that monitors it says by default, else ``"max"``.
        plan: how to compress: a plan, the name of a preset or the path of a YAML file.
        every_n_epochs: measure at the end of every so many epochs; 0: never.
        at_save: measure whenever a checkpoint is saved.
        at_fit_end: measure when the training is over. Weights that were measured last are not measured again.
        beam: handed to the module's ``translate`` as ``beam``; 1 is greedy. Its own default where it is None.
        tokenize: sacrebleu's tokenizer for BLEU; the module's attribute ``bleu_tokenize``, else ``13a``, where it is
            None.
        sentences: take only the first so many; all where it is None.
        samples: rows of the table, those that compression changed first.

    Raises:
        CallbackError: arguments that do not go together, or a number out of range.
        PlanError: the plan is wrong in itself.
    """

    def __init__(
        self,
        sources: Sequence[str] | None = None,
        references: Sequence[str] | None = None,
        *,
        translate: Callable[[Any], Sequence[str]] | None = None,
        metric: Callable[[Any], Any] | str | None = None,
        mode: Mode | None = None,
        plan: Plan | str | PathLike[str] | None = None,
        every_n_epochs: int = 0,
        at_save: bool = True,
        at_fit_end: bool = True,
        beam: int | None = None,
        tokenize: str | None = None,
        sentences: int | None = None,
        samples: int = 20,
    ) -> None:
        super().__init__()
        if (sources is None) != (references is None):
            raise CallbackError("sources and references belong together: give both, or neither")
        if metric is not None and (sources is not None or translate is not None):
            raise CallbackError("metric stands in place of BLEU: leave out sources, references and translate")
        if translate is not None and (sources is None or beam is not None):
            raise CallbackError("translate=… needs sources and references, and does its own search: leave out beam")
        for name, value, least in (
            ("every_n_epochs", every_n_epochs, 0),
            ("beam", beam, 1),
            ("sentences", sentences, 1),
            ("samples", samples, 0),
        ):
            if value is not None and value < least:
                raise CallbackError(f"{name} is {value}, expected a whole number from {least}")
        self._text = None if sources is None or references is None else Text(sources, references).first(sentences)
        self._translate, self._metric, self._mode = translate, metric, mode
        self._plan = None if plan is None else Plan.resolve(plan)
        self.every_n_epochs, self.at_save, self.at_fit_end = every_n_epochs, at_save, at_fit_end
        self.beam, self.tokenize, self.sentences, self.samples = beam, tokenize, sentences, samples
        self._usable = False
        self._measured = ""  # fingerprint of the weights measured last

    # Lightning's hooks

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to hear of checkpoints, after the callback that writes a file for each; tell what cannot work."""
        problem = self._problem(trainer, pl_module)
        self._usable = problem is None
        if problem is not None and trainer.is_global_zero:
            _log.error("quality is not measured, the training goes on: %s", problem)
        seam.attach(trainer, self)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure after every n-th epoch."""
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._try_to_measure(trainer, pl_module.state_dict(), folder_of_checkpoints(trainer))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure at the end."""
        if self.at_fit_end:
            self._try_to_measure(trainer, pl_module.state_dict(), folder_of_checkpoints(trainer))

    def saving(self, strategy: Any, checkpoint: Mapping[str, Any], path: str) -> Callable[[], None]:
        """Measure the weights of a checkpoint once it and its compressed file are written."""
        if not self.at_save or is_temporary(path) or "state_dict" not in checkpoint:
            return lambda: None
        trainer, state = seam.trainer_of(strategy), dict(checkpoint["state_dict"])
        folder = path.rpartition("/")[0] or "."
        return lambda: self._try_to_measure(trainer, state, folder)

    # The work, on rank 0

    def _try_to_measure(self, trainer: Any, state: Mapping[str, Any], folder: str) -> None:
        if not (self._usable and trainer.is_global_zero):
            return
        try:
            with preserved_random_state(), torch.no_grad():
                self._measure(trainer, state, folder)
        except Exception as error:
            _log.error("quality was not measured at step %d, the training goes on: %s", trainer.global_step, error)

    def _measure(self, trainer: Any, state: Mapping[str, Any], folder: str) -> None:
        module, partner = trainer.lightning_module, _compress_checkpoint(trainer)
        weights = partner.weights_of(module, state) if partner else Weights.from_state_dict(state, module=module)
        if weights.fingerprint == self._measured:
            return
        self._measured = weights.fingerprint
        archive = self._compressed(partner, weights)
        step = logging_step(trainer)
        if self._metric is not None:
            name, evaluate, sign = self._by_metric(trainer, self._metric)
            comparison = self._compare(trainer, evaluate, weights, archive)
            record_metric(trainer.loggers, name, comparison, sign, step)
        else:
            text = self._text or Text(*module.validation_text()).first(self.sentences)
            judge = Judge(text.references, self.tokenize or str(getattr(module, "bleu_tokenize", "13a")))
            found: list[list[str]] = []

            def evaluate_bleu(module: Any) -> Any:
                found.append(checked_translations(self._translated(module, text), len(text.sources)))
                return judge.bleu(found[-1])

            comparison = self._compare(trainer, evaluate_bleu, weights, archive)
            # Compressed weights that are equal to the exact ones are not evaluated again.
            translations = Translations(text, found[0], None if archive is None else found[-1])
            record_translations(trainer.loggers, folder, comparison, translations, judge, self.samples, step)

    def _compare(self, trainer: Any, evaluate: Evaluate, weights: Weights, archive: Archive | None) -> Comparison:
        wanted = trainer.progress_bar_callback is not None
        with (
            progress_bar(wanted, 1 if archive is None else 2, "measuring") as tell,
            evaluating(trainer.lightning_module, evaluate, weights) as evaluator,
        ):
            tell(0, "exact weights")
            exact = evaluator.score(evaluator.weights.state_dict(), "the exact weights")
            if archive is None:
                return Comparison(exact, None)
            tell(1, "compressed weights")
            return Comparison(exact, evaluator.score(archive.restore(), "the compressed weights"))

    def _compressed(self, partner: CompressCheckpoint | None, weights: Weights) -> Archive | None:
        if self._plan is not None:
            return compress(weights, self._plan)
        return partner.archive_of(weights) if partner else None

    def _translated(self, module: Any, text: Text) -> Any:
        if self._translate is not None:
            return self._translate(module)
        return module.translate(list(text.sources), **({} if self.beam is None else {"beam": self.beam}))

    def _by_metric(self, trainer: Any, metric: Callable[[Any], Any] | str) -> tuple[str, Evaluate, float]:
        """Its name, a function whose score is better when higher, and the sign of that score."""
        if not isinstance(metric, str):
            name = getattr(metric, "__name__", "score")
            name = name if name.isidentifier() else "score"
            if self._mode != "min":
                return name, metric, 1.0
            return name, lambda module: -Score.from_value(metric(module)).value, -1.0
        known = monitored(trainer)
        sign = -1.0 if (self._mode or known.get(metric)) == "min" else 1.0
        return metric, lambda module: sign * validated(trainer, module, metric), sign

    def _problem(self, trainer: Any, module: Any) -> str | None:
        """Why nothing can be measured in this run; None where that is not known yet."""
        if is_sharded(trainer):
            return "the module is sharded, and weights cannot be loaded into it: measure a finished file instead"
        if isinstance(self._metric, str):
            if not trainer.enable_validation:
                return f"there is no validation to measure {self._metric!r} on: give the trainer validation data"
            if trainer.world_size > 1:
                return (
                    f"the trainer's validation cannot run on one of {trainer.world_size} processes alone: give a "
                    "function as metric=…, which is called on rank 0"
                )
        elif self._metric is None:
            if self._text is None and not hasattr(module, "validation_text"):
                return f"{type(module).__name__} has no validation_text(): give sources and references"
            if self._translate is None and not hasattr(module, "translate"):
                return f"{type(module).__name__} has no translate(sources): give translate=…"
        return None


def _compress_checkpoint(trainer: Any) -> CompressCheckpoint | None:
    return next((c for c in trainer.callbacks if isinstance(c, CompressCheckpoint)), None)
