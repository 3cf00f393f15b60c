"""Cases: agreement and word order by example, seeds, one translation a sentence, and the files."""

import itertools

import pytest

from recipes.data.text_files import read_parallel
from recipes.demo.grammar import Grammar, pairs, write_corpus

DRAWN = dict(pairs(4000, seed=1))


def test_equal_seeds_draw_equal_pairs():
    assert pairs(50, seed=3) == pairs(50, seed=3)
    assert pairs(50, seed=3) != pairs(50, seed=4)


def test_every_sentence_has_one_translation():
    grammar = Grammar(1)
    for name in ("nouns", "adjectives", "verbs", "modals", "reports", "places", "times"):
        setattr(grammar, name, getattr(grammar, name)[:2])
    drawn = [grammar.sentence() for _ in range(8000)]
    assert len(set(drawn)) == len({english for english, _ in drawn})
    repeated = len(drawn) - len(set(drawn))
    assert repeated > 300


@pytest.mark.parametrize("seed", range(3))
def test_the_verb_is_last_after_dass_and_second_after_a_time(seed):
    finite = {form for _, (singular, plural, *_) in Grammar(0).verbs for form in (singular, plural)}
    finite |= {form for _, forms in Grammar(0).modals for form in forms}
    times = {german[0] for _, german in Grammar(0).times}
    subordinate = inverted = 0
    for _, german in pairs(500, seed):
        words = german.split()
        if "dass" in words:
            subordinate += 1
            assert words[-2] in finite
        elif words[0] in times:
            inverted += 1
            assert words[1] in finite
    assert subordinate > 20
    assert inverted > 20


def test_articles_and_adjectives_agree_in_gender_and_case():
    text = " ".join(DRAWN.values())
    for right, wrong in (
        ("den alten hund ", "der alten hund "),
        ("ein kleines haus ", "ein kleiner haus "),
        ("eine rote tür ", "ein rote tür "),
        ("mit dem ", "mit der mann "),
    ):
        assert right in text
        assert wrong not in text


def test_an_stands_before_vowels():
    english = [sentence.split() for sentence in DRAWN]
    followed = {(a, b[0]) for words in english for a, b in itertools.pairwise(words) if a in ("a", "an")}
    assert {b for a, b in followed if a == "an"} <= set("aeiou")
    assert not {b for a, b in followed if a == "a"} & set("aeiou")


def test_files_are_parallel_and_apart(tmp_path):
    write_corpus(tmp_path / "new" / "folder", train=30, valid=5, test=6, seed=1)
    splits = [
        read_parallel(*(tmp_path / "new" / "folder" / f"{name}.{side}" for side in ("en", "de")))
        for name in ("train", "valid", "test")
    ]
    assert [len(english) for english, _ in splits] == [30, 5, 6]
    together = [english for part, _ in splits for english in part]
    assert len(set(together)) == 41
    assert all(" ".join([*german.split()]) == german for _, part in splits for german in part)
