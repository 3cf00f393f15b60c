"""Cases: order and ties, limits, round trips, and what is no vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress import CompressionError
from recipes.data.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary
from recipes.errors import VocabularyError

WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1).filter(
    lambda word: word.split() == [word] and word not in SPECIALS
)
SENTENCES = [["b", "b", "b", "a", "a", "c"], ["c", "d"]]


def test_frequent_words_come_first_and_ties_go_by_text():
    assert Vocabulary.from_sentences(SENTENCES).words == (*SPECIALS, "b", "a", "c", "d")


def test_order_of_sentences_does_not_matter():
    assert Vocabulary.from_sentences(SENTENCES[::-1]) == Vocabulary.from_sentences(SENTENCES)


def test_rare_words_are_left_out_by_number_and_by_count():
    assert Vocabulary.from_sentences(SENTENCES, max_words=2).words[4:] == ("b", "a")
    assert Vocabulary.from_sentences(SENTENCES, min_count=2).words[4:] == ("b", "a", "c")


def test_a_special_in_the_text_is_not_a_word():
    assert Vocabulary.from_sentences([["<unk>", "a", "<unk>"]]).words == (*SPECIALS, "a")


def test_encoding_knows_no_other_words_and_adds_nothing():
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.encode(["b", "x", "a"]) == [5, UNK, 4]
    assert vocabulary.decode([BOS, 5, UNK, 4, EOS, 4, PAD]) == ["b", "<unk>", "a"]


@given(st.lists(WORDS, min_size=1, unique=True))
def test_bytes_round_trip(words):
    vocabulary = Vocabulary(words)
    again = Vocabulary.from_bytes(vocabulary.to_bytes())
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)
    assert again.encode(words) == list(range(4, 4 + len(words)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut off"),
        (b"a\nb", "cut off"),
        (b"a\n\xff\n", "not UTF-8"),
        (b"a\na\n", "'a' stands twice"),
        (b"a\n<unk>\n", "'<unk>' is a reserved word"),
        (b"a b\n", "'a b' is no word"),
        (b"a\n\n", "'' is no word"),
        (b"a\r\n", "is no word"),
    ],
)
def test_malformed_bytes_are_refused(data, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.from_bytes(data)


def test_limits_are_checked_and_an_empty_vocabulary_is_refused():
    with pytest.raises(VocabularyError, match="max_words is 0"):
        Vocabulary.from_sentences(SENTENCES, max_words=0)
    with pytest.raises(VocabularyError, match="no word occurs 9 times"):
        Vocabulary.from_sentences(SENTENCES, min_count=9)
    assert issubclass(VocabularyError, CompressionError)
