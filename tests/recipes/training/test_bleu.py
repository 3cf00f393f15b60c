"""Cases: BLEU against multi-bleu written anew, and against sacrebleu, on tokenized text."""

import math
import random
from collections import Counter

import pytest
import sacrebleu

from recipes.training.bleu import Bleu


def multi_bleu(translations, references):
    """What ``multi-bleu.pl`` computes: clipped n-grams up to 4 over the corpus, brevity penalty."""
    right, total = [0] * 4, [0] * 4
    said = wanted = 0
    for translation, reference in zip(translations, references, strict=True):
        words, truth = translation.split(), reference.split()
        said, wanted = said + len(words), wanted + len(truth)
        for n in range(1, 5):
            ours = Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
            theirs = Counter(tuple(truth[k : k + n]) for k in range(len(truth) - n + 1))
            right[n - 1] += sum((ours & theirs).values())
            total[n - 1] += sum(ours.values())
    if not all(right):
        return 0.0
    precision = sum(math.log(r / t) for r, t in zip(right, total, strict=True)) / 4
    return 100 * math.exp(precision + min(0.0, 1 - wanted / said))


@pytest.fixture(params=range(5))
def texts(request):
    """Tokenized sentences with punctuation that other tokenizers would cut, and noisy copies of them."""
    draw = random.Random(request.param)
    words = ["ein", "mann", ",", "der", "don't", "3.5", "u.s.", "-", "&apos;s", "hund", "(", ")", "läuft", "."]
    references = [" ".join(draw.choices(words, k=draw.randint(3, 20))) for _ in range(40)]
    noisy = [
        " ".join(w for w in (draw.choice([w, w, w, draw.choice(words), ""]) for w in r.split()) if w)
        for r in references
    ]
    return noisy, references


def test_without_tokenizer_it_is_multi_bleu(texts):
    translations, references = texts
    bleu = Bleu(tokenize="none")
    for start in range(0, 40, 7):
        bleu.add(translations[start : start + 7], references[start : start + 7])
    expected = multi_bleu(translations, references)
    assert 5 < expected < 95
    assert float(bleu.compute()) == pytest.approx(expected, abs=1e-3)
    assert sacrebleu.corpus_bleu(translations, [references], tokenize="none", force=True).score == pytest.approx(
        expected, abs=1e-6
    )


def test_another_tokenizer_gives_another_number(texts):
    translations, references = texts
    bleu = Bleu(tokenize="13a")
    bleu.add(translations, references)
    expected = sacrebleu.corpus_bleu(translations, [references], tokenize="13a", force=True).score
    assert float(bleu.compute()) == pytest.approx(expected, abs=1e-3)
    assert abs(expected - multi_bleu(translations, references)) > 0.1


def test_equal_text_is_100_and_reset_forgets():
    bleu = Bleu(tokenize="none")
    bleu.add(["a b c d e"], ["a b c d e"])
    assert float(bleu.compute()) == pytest.approx(100)
    bleu.reset()
    bleu.add(["x y z w v"], ["a b c d e"])
    assert float(bleu.compute()) == 0.0


def test_no_state_reaches_a_checkpoint():
    assert Bleu(tokenize="none").state_dict() == {}
