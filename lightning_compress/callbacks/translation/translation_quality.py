"""``TranslationQuality``: scores of exact and of compressed translations while a model trains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.callbacks.arguments import check_function, check_text, check_whole_number
from lightning_compress.callbacks.checkpoint import CompressCheckpoint
from lightning_compress.callbacks.hooks import checkpoint_hooks
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.checkpoint_hooks import SavedState, SaveListener
from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.lightning_types import Trainer, callbacks_of
from lightning_compress.callbacks.hooks.model_checkpoints import Mode, folder_of_checkpoints
from lightning_compress.callbacks.hooks.shared_validation import led_by_rank_zero
from lightning_compress.callbacks.moments import Moment
from lightning_compress.callbacks.objective import Metric, Objective
from lightning_compress.callbacks.translation.arguments import moments_of, objective_of
from lightning_compress.callbacks.translation.quality import Comparison, Judge, Text, Translations, checked_translations
from lightning_compress.callbacks.translation.quality_record import MeasuredAt, record_metric, record_translations
from lightning_compress.callbacks.translation.translator import Translator
from lightning_compress.compression import compress
from lightning_compress.errors import CallbackError
from lightning_compress.logging import logging_step
from lightning_compress.messages.progress import progress_bar
from lightning_compress.plan import Plan
from lightning_compress.runtime import limited_workers, preserved_random_state
from lightning_compress.search import Evaluate, Score, evaluating
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

_log = logging.getLogger(__name__)


class TranslationQuality(SaveListener, _Callback):
    """Translate a validation set with the exact and with the compressed weights, and log the scores of both.

    The callback logs BLEU and chrF, the drop in BLEU with its 95 % interval by paired bootstrap resampling, and a table
    of samples; the newest measurement is written to ``translations.json`` beside the checkpoints. The compressed
    weights are those of ``plan``, or else of the trainer's :class:`CompressCheckpoint`: the file it wrote last, or, if
    that holds other weights, the result of its plan. With a searched plan, only its files are measured. Without a plan
    and without a :class:`CompressCheckpoint`, the exact weights are measured alone.

    The training does not change: weights are loaded in place, and afterwards the module is restored bit for bit. A
    failure is logged, and the training continues.

    Args:
        sources: sentences to translate; by default those of the module's ``validation_text()``, which returns sources
            and references.
        references: one for each source.
        translate: module → one translation for each source; the module's ``translate(sources)`` by default.
        metric: another score in place of BLEU: module → number or :class:`~lightning_compress.Score`, or the name of
            what the trainer's validation logs.
        mode: of ``metric``: ``"max"`` if higher is better, ``"min"`` if lower is; that of the ``ModelCheckpoint`` that
            monitors it by default, else ``"max"``.
        plan: how to compress: a plan, the name of a preset or the path of a YAML file.
        when: ``"save"`` of a checkpoint, each ``"best"`` save, ``"end"`` of ``fit``, a whole number n for every n
            epochs, or several of these; ``("save", "end")`` by default. Weights measured last are not measured again.
        every_n_epochs: with ``at_save`` and ``at_fit_end`` the older spelling of ``when``: measure after every so many
            epochs; 0 for never.
        at_save: measure at each save of a checkpoint.
        at_fit_end: measure at the end of ``fit``.
        beam: the argument ``beam`` of the module's ``translate``; 1 is greedy. The module's default if None.
        tokenize: sacrebleu's tokenizer for BLEU; by default the module's attribute ``bleu_tokenize``, else ``13a``.
        sentences: the number of sentences, the first ones; all if None.
        samples: the number of rows of the table; sentences that compression changed come first.

    Raises:
        CallbackError: an argument is wrong, or arguments contradict each other.
        PlanError: the plan is invalid.
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
        when: Moment | Sequence[Moment] | None = None,
        every_n_epochs: int | None = None,
        at_save: bool | None = None,
        at_fit_end: bool | None = None,
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
        if metric is not None and any(value is not None for value in (beam, tokenize, sentences)):
            raise CallbackError("metric stands in place of BLEU: leave out beam, tokenize and sentences")
        check_function("translate", translate, "module → one translation for each source")
        check_whole_number("beam", beam, 1, optional=True)
        check_whole_number("sentences", sentences, 1, optional=True)
        check_whole_number("samples", samples, 0)
        check_text("tokenize", tokenize, "the name of a sacrebleu tokenizer such as '13a', or None")
        self.objective = objective_of(metric, mode)
        self.moments = moments_of(when, every_n_epochs, at_save, at_fit_end)
        self._text = None if sources is None or references is None else Text(sources, references).first(sentences)
        self._translate = translate
        self._plan = None if plan is None else Plan.resolve(plan)
        self.beam, self.tokenize, self.sentences, self.samples = beam, tokenize, sentences, samples
        self._usable = False
        self._measured = ""  # fingerprint of the weights measured last

    # Lightning's hooks

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Attach to the trainer's saves, after the callback that writes companion files; log what cannot work."""
        problem = self._problem(trainer, pl_module)
        self._usable = problem is None
        if problem is not None and trainer.is_global_zero:
            _log.error("quality is not measured, the training goes on: %s", problem)
        checkpoint_hooks.attach(trainer, self)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Measure after every n epochs."""
        if self.moments.is_after(trainer.current_epoch):
            self._try_to_measure(trainer, pl_module.state_dict(), folder_of_checkpoints(trainer))

    def on_fit_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Measure at the end."""
        if self.moments.end:
            self._try_to_measure(trainer, pl_module.state_dict(), folder_of_checkpoints(trainer))

    # Listener of the trainer's checkpoints

    def before_save(self, trainer: Trainer, checkpoint: Mapping[str, Any], path: str) -> SavedState | None:
        """The weights of a checkpoint that is about to be written, if they are to be measured."""
        return SavedState(dict(checkpoint["state_dict"]), path) if self.moments.includes(trainer, path) else None

    def after_save(self, trainer: Trainer, job: SavedState | None) -> None:
        """Measure the weights, now that the checkpoint and its companion file are written."""
        if job is not None:
            self._try_to_measure(trainer, job.state, job.path.rpartition("/")[0] or ".")

    # Measuring, led by rank 0

    def _try_to_measure(self, trainer: Trainer, state: Mapping[str, Any], folder: str) -> None:
        def measure() -> None:
            try:
                with preserved_random_state(), torch.no_grad():
                    self._measure(trainer, state, folder)
            except Exception as error:
                _log.error("quality was not measured at step %d, the training goes on: %s", trainer.global_step, error)

        if self._usable:
            led_by_rank_zero(trainer, measure)

    def _measure(self, trainer: Trainer, state: Mapping[str, Any], folder: str) -> None:
        module, exporting = trainer.lightning_module, _compress_checkpoint(trainer)
        weights = exporting.weights_of(module, state) if exporting else Weights.from_state_dict(state, module=module)
        if weights.fingerprint == self._measured:
            return
        self._measured = weights.fingerprint
        archive = self._compressed(exporting, weights)
        moment = MeasuredAt(int(trainer.global_step), logging_step(trainer), trainer.current_epoch)
        if self.objective is not None:
            metric = self._metric_of(trainer, self.objective)
            comparison = self._compare(trainer, metric.score, weights, archive)
            record_metric(trainer.loggers, metric.name, comparison, metric.sign, moment)
            return
        translator = cast(Translator, module)
        text = self._text or Text(*translator.validation_text()).first(self.sentences)
        judge = Judge(text.references, self.tokenize or str(getattr(module, "bleu_tokenize", "13a")))
        found: list[list[str]] = []

        def evaluate_bleu(module: nn.Module) -> Score:
            found.append(checked_translations(self._translated(module, text), len(text.sources)))
            return judge.bleu(found[-1])

        comparison = self._compare(trainer, evaluate_bleu, weights, archive)
        # Compressed weights that equal the exact ones are not evaluated again.
        translations = Translations(text, found[0], None if archive is None else found[-1])
        record_translations(trainer.loggers, folder, comparison, translations, judge, self.samples, moment)

    def _compare(self, trainer: Trainer, evaluate: Evaluate, weights: Weights, archive: Archive | None) -> Comparison:
        shows_progress = trainer.progress_bar_callback is not None
        with (
            progress_bar(shows_progress, 1 if archive is None else 2, "measuring") as advance,
            evaluating(trainer.lightning_module, evaluate, weights) as evaluator,
        ):
            advance(0, "exact weights")
            exact = evaluator.score(evaluator.weights.state_dict(), "the exact weights")
            if archive is None:
                return Comparison(exact, None)
            advance(1, "compressed weights")
            return Comparison(exact, evaluator.score(archive.restore(), "the compressed weights"))

    def _compressed(self, exporting: CompressCheckpoint | None, weights: Weights) -> Archive | None:
        if self._plan is not None:
            with limited_workers(1):
                return compress(weights, self._plan)
        return exporting.archive_of(weights) if exporting else None

    def _translated(self, module: Any, text: Text) -> Any:  # Any: the user's module, whose result is checked
        if self._translate is not None:
            return self._translate(module)
        return module.translate(list(text.sources), **({} if self.beam is None else {"beam": self.beam}))

    def _metric_of(self, trainer: Trainer, objective: Objective) -> Metric:
        """The user's function under its own name, or a metric of the validation."""
        metric = objective.resolve(trainer)
        if objective.evaluate is None:
            return metric
        name = getattr(objective.evaluate, "__name__", "score")
        return Metric(name if name.isidentifier() else "score", metric.mode, metric.evaluate)

    def _problem(self, trainer: Trainer, module: nn.Module) -> str | None:
        """Why nothing can be measured in this run; None if that is not known yet."""
        if is_sharded(trainer):
            return "the module is sharded, and weights cannot be loaded into it: measure a finished file instead"
        if self.objective is not None:
            try:
                self.objective.check_trainer(trainer)
            except CallbackError as error:
                return str(error)
        elif self._text is None and not hasattr(module, "validation_text"):
            return f"{type(module).__name__} has no validation_text(): give sources and references"
        elif self._translate is None and not hasattr(module, "translate"):
            return f"{type(module).__name__} has no translate(sources): give translate=…"
        return None


def _compress_checkpoint(trainer: Trainer) -> CompressCheckpoint | None:
    return next((c for c in callbacks_of(trainer) if isinstance(c, CompressCheckpoint)), None)
