"""Cases: reserved words in training text, references and input, as pieces and in capitals, and in vocabularies."""

import re

import pytest
from each_case import naming
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.data.assets import SOURCE_ASSET, TARGET_ASSET, TextSettings, Vocabularies
from recipes.data.parallel_text import ParallelText
from recipes.data.reserved_words import ReservedWords, find_reserved_words
from recipes.data.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary
from recipes.errors import VocabularyError
from recipes.search.lines import translate_lines

CONTROL = {PAD, BOS, EOS}
PIECES = ["<@@", "s>", "</@@", "<s", "s", "<S>", "<pad>.", "<s></s>", "\u2581<s>", "<\u200bs>", "＜s＞"]
LOGGER = "recipes.data.reserved_words"


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from([*SPECIALS, *PIECES, "a", "b"])), min_size=1))
def test_text_has_no_control_ids_and_no_reserved_word_is_counted(sentences):
    vocabulary = Vocabulary.from_sentences([*sentences, ["a"]])
    assert vocabulary.words[:4] == SPECIALS
    assert set(vocabulary.words[4:]) == {word for words in [*sentences, ["a"]] for word in words} - set(SPECIALS)
    for words in sentences:
        ids = vocabulary.encode(words)
        assert CONTROL.isdisjoint(ids)
        assert vocabulary.decode(ids) == [SPECIALS[UNK] if word in SPECIALS else word for word in words]
    again = Vocabulary.from_bytes(vocabulary.to_bytes())
    assert [again.encode(words) for words in sentences] == [vocabulary.encode(words) for words in sentences]


def test_pieces_of_a_reserved_word_are_words():
    vocabulary = Vocabulary(PIECES)
    assert vocabulary.encode(PIECES) == list(range(4, 4 + len(PIECES)))
    assert find_reserved_words([PIECES]) is None


def test_reserved_words_are_counted_from_the_first():
    sentences = [["a"], [], ["b", "</s>", "<s>"], ["<unk>"], ["a"]]
    assert find_reserved_words(sentences) == ReservedWords("</s>", line=3, count=3)
    assert find_reserved_words([]) is None


@pytest.fixture
def folder(tmp_path):
    texts = {
        "train.en": "a man\n<s> a man </s>\n<s> cats </s>\n<pad> b <s> c d e f g\n",
        "train.de": "ein mann\nein mann\nkatzen <unk>\nx\n",
        "valid.en": "a <S>\n",
        "valid.de": "<s>  ein </s>\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("lowercase", [False, True])
def test_each_file_is_reported_once_and_batches_have_control_ids_at_their_ends_alone(folder, caplog, lowercase):
    data = ParallelText(str(folder), "en", "de", max_length=5, lowercase=lowercase)
    data.setup("fit")
    data.text("valid")
    said = [re.sub(r".*/", "", record.getMessage()) for record in caplog.records if record.name == LOGGER]
    places = ["train.en, line 2: <s>", "train.de, line 3: <unk>", "valid.de, line 1: <s>"]
    assert [text.split(" is a reserved")[0] for text in said] == places[:2] + [
        "valid.en, line 1: <s>"
    ] * lowercase + places[2:]
    assert "all reserved words of this text (6) as the unknown word" in said[0]
    for batch in (*data.train_dataloader(), *data.val_dataloader()):
        for rows, ends in ((batch.source, {EOS, PAD}), (batch.previous[:, 1:], {PAD}), (batch.target, {EOS, PAD})):
            assert CONTROL & set(rows.flatten().tolist()) <= ends
        assert (batch.source == EOS).sum(dim=1).eq(1).all()
    assert data.sets["valid"].references == ["<s> ein </s>"] == data.text("valid")[1]


def test_input_to_translate_is_reported_with_its_name(caplog):
    vocabularies = Vocabularies(Vocabulary(["a"]), Vocabulary(["x"]), TextSettings())
    read = []
    for origin in (None, "standard input"):
        translate_lines(
            ["a </s> <s> a", "<pad>"],
            vocabularies,
            lambda source: read.append(source) or ["x", "x"],
            batch_size=2,
            origin=origin,
        )
    assert [batch.tolist() for batch in read] == [[[3, 2, 0, 0, 0], [4, 3, 3, 4, 2]]] * 2
    (record,) = caplog.records
    assert record.getMessage().startswith("standard input, line 1: </s> is a reserved word")


def test_a_line_of_a_vocabulary_that_is_no_word_is_named():
    cases = {
        b"a\nb\n<s>\n": r"line 3: '<s>' is a reserved word: expected words of text only",
        b"<unk>\n": r"line 1: '<unk>' is a reserved word",
        b"a\nb\nc\nb\n": r"line 4: 'b' stands twice, first as word 2",
        b"a\nb c\n": r"line 2: 'b c' is no word",
        "a\nb\u2028\n".encode(): r"line 2: 'b\\u2028' is no word",
        b"a\n\nb\n": r"line 2: '' is no word",
        b"\n": r"line 1: '' is no word",
        b"a\n\xfc\n": r"line 2: not UTF-8 \(byte 1",
    }
    whole = Vocabularies(Vocabulary(["a"]), Vocabulary(["x"]), TextSettings()).to_assets()
    for data, message in cases.items():
        for name in (SOURCE_ASSET, TARGET_ASSET):
            with naming((name, data)), pytest.raises(VocabularyError, match=rf"^model, {name}, {message}"):
                Vocabularies.from_assets({**whole, name: data}, origin="model")
    for data in (b"", b"a\nb"):
        with naming(data), pytest.raises(VocabularyError, match=rf"^model, {SOURCE_ASSET} ends without a line feed"):
            Vocabularies.from_assets({**whole, SOURCE_ASSET: data}, origin="model")
    for words in ([], ["a", "</s>"], ["a", "a"]):
        with naming(words), pytest.raises(VocabularyError, match=rf"^word {max(1, len(words))} of the vocabulary"):
            Vocabulary(words)


def test_words_are_read_back_exactly():
    words = ["\ufeffa", "a", "\u200b", "\x00b", "é", "e\u0301"]
    assert Vocabulary.from_bytes(Vocabulary(words).to_bytes()).words[4:] == tuple(words)
