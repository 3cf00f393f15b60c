"""Cases: NaN and infinite scores in both searches, in translation, in the validation of a training, in each command."""

import io
import logging
import pickle
import re
import sys
from dataclasses import dataclass

import pytest
import torch
from each_case import naming
from pytorch_lightning import Trainer

from lightning_compress import TranslationQuality, compress
from recipes.command import main
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import BOS, EOS, PAD, UNK
from recipes.errors import ScoreError
from recipes.models.network import Network
from recipes.search.beam import beam_search
from recipes.search.greedy import greedy_search
from recipes.training.bleu import Bleu
from recipes.transformer import TransformerTranslation

NAN, INFINITE = float("nan"), float("inf")
WORDS = 8
SIZES = {"width": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward": 32, "norm": "pre"}


@dataclass(frozen=True)
class Sentences:
    """State: which sentence each row translates, and how many words it has."""

    rows: torch.Tensor
    length: int = 0

    def select(self, rows):
        return Sentences(self.rows[rows], self.length)


class Broken(Network):
    """Scores 6 best, then 7; at one word of one sentence a case's scores."""

    def __init__(self, scores, *, sentence, word):
        super().__init__()
        self.scores, self.sentence, self.word = torch.tensor(scores), sentence, word

    def encode(self, source):
        return Sentences(torch.arange(len(source)))

    def step(self, words, state):
        logits = torch.zeros(len(words), 1, WORDS)
        logits[..., EOS], logits[..., 6], logits[..., 7] = -2.0, 2.0, 1.0
        if state.length + 1 == self.word:
            logits[state.rows == self.sentence] = self.scores
        return logits, Sentences(state.rows, state.length + 1)


def scores(**changed):
    values = [0.5] * WORDS
    for name, value in changed.items():
        values[{"pad": PAD, "bos": BOS, "eos": EOS, "unk": UNK}.get(name, WORDS - 1)] = value
    return values


WRONG = {
    "NaN": [NAN] * WORDS,
    "one NaN": scores(last=NAN),
    "NaN for a word that is never chosen": scores(pad=NAN),
    "+inf": scores(eos=INFINITE),
    "all +inf": [INFINITE] * WORDS,
    "all -inf": [-INFINITE] * WORDS,
    "only words that are never chosen": [0.0, 1.0, *[-INFINITE] * (WORDS - 2)],
}


def searches(network, source, **settings):
    yield lambda: greedy_search(network, source, **settings)
    for beam in (1, 3, 20):
        yield lambda: beam_search(network, source, beam=beam, **settings)  # noqa: B023


def test_each_search_names_the_sentence_and_the_word():
    source = torch.tensor([[4, EOS, PAD], [4, 5, EOS], [5, EOS, PAD]])
    for case, values in WRONG.items():
        for word in (1, 3):
            for search in searches(Broken(values, sentence=1, word=word), source):
                with naming((case, word)), pytest.raises(ScoreError, match=r"^sentence 2 of the batch") as found:
                    search()
                assert (found.value.sentence, found.value.word) == (1, word)
                assert f"word {word} are NaN or infinite" in str(found.value)
                assert "lower learning_rate" in str(found.value)
                assert vars(pickle.loads(pickle.dumps(found.value))) == vars(found.value)


def test_words_of_no_probability_are_allowed():
    possible = [-INFINITE] * WORDS
    possible[5] = 0.0
    limits = torch.tensor([2, 2])
    for search in searches(Broken(possible, sentence=1, word=1), torch.tensor([[4, EOS], [4, EOS]]), limits=limits):
        assert search()[1, 0] == 5
    only_unknown = [-INFINITE if k != UNK else 0.0 for k in range(WORDS)]
    for search in searches(Broken(only_unknown, sentence=0, word=2), torch.tensor([[4, EOS]]), allow_unknown=False):
        with pytest.raises(ScoreError, match="sentence 1 of the batch: the scores of word 2"):
            search()


def test_bleu_of_a_failed_batch_is_nan_until_it_is_reset():
    bleu = Bleu(tokenize="none")
    bleu.add(["a b c d"], ["a b c d"])
    bleu.add_failed(["e f"])
    assert torch.isnan(bleu.compute())
    bleu.reset()
    bleu.add(["a b c d"], ["a b c d"])
    assert float(bleu.compute()) == pytest.approx(100)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for name in ("train", "valid", "test"):
        for side in ("en", "de"):
            (folder / f"{name}.{side}").write_text("a b c\n\na\nb c\n" if side == "en" else "x y\ny\nz\nx\n")
    return ParallelText(str(folder), "en", "de", test="test", eval_tokens=4)


def make_module(data, value=None):
    torch.manual_seed(0)
    module = TransformerTranslation(data.source_words, data.target_words, **SIZES)
    module.use(data.vocabularies)
    if value is not None:
        torch.nn.init.constant_(module.network.softmax.weight, value)
    return module


def make_trainer(folder, **settings):
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **settings,
    )


def test_translate_names_the_line_in_its_own_order(data, monkeypatch):
    module = make_module(data)
    monkeypatch.setattr(module, "network", Broken([NAN] * WORDS, sentence=1, word=1))
    for origin, place in ((None, "the text, line 1"), ("input.txt", "input.txt, line 1")):
        with pytest.raises(ScoreError, match=f"^{place}: the scores of word 1") as found:
            module.translate(["a b c", "", "a"], beam=1, origin=origin)
        assert found.value.sentence == 0


def test_a_source_without_words_has_a_translation_without_words(data):
    module = make_module(data)
    source = torch.tensor([[4, EOS], [EOS, PAD]])
    found = module.best(source, beam=1)
    assert bool(found[0])
    assert found[1] == "" == module.translate([" \u00a0"], beam=1)[0]


def test_a_training_goes_on_and_measuring_ends(data, tmp_path, caplog):
    module = make_module(data, NAN)
    quality = TranslationQuality(when=1, beam=1)
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[quality], num_sanity_val_steps=2)
    with caplog.at_level(logging.ERROR):
        trainer.fit(module, datamodule=data)
    assert trainer.current_epoch == 2
    assert torch.isnan(trainer.callback_metrics["val_bleu"])
    said = [record.getMessage() for record in caplog.records if record.name == "recipes.training.bleu"]
    assert len(said) == 3  # before the first epoch, and after each
    assert all(re.match(r"batch 1, sentence 1 \(its reference: '[xyz]'\): the scores of word 1", text) for text in said)
    measured = [r.getMessage() for r in caplog.records if "quality was not measured" in r.getMessage()]
    assert measured
    assert all("the training goes on" in text for text in measured)
    for measure in (trainer.validate, trainer.test):
        with pytest.raises(ScoreError, match=r"batch 1, sentence 1 \(its reference: '[xyz]'\): the scores"):
            measure(module, datamodule=data, verbose=False)


def test_the_command_ends_with_one_line_and_no_translation(data, tmp_path, monkeypatch, capsys):
    path = tmp_path / "model.safetensors"
    compress(make_module(data, NAN), "half").save(path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\na b\na\n"))
    with pytest.raises(SystemExit, match=r"^error: standard input, line 3: the scores of word 1 are NaN or infinite"):
        main(["translate", str(path)])
    assert capsys.readouterr().out == ""
