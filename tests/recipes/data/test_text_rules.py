"""Cases: line ends, byte order marks, wrong bytes, white space; files, streams, training and translation agree."""

import io
import sys
import unicodedata
from types import SimpleNamespace

import pytest
from each_case import naming

from recipes.data.assets import TextSettings, Vocabularies
from recipes.data.parallel_text import ParallelText
from recipes.data.text_files import read_lines, read_parallel, read_stream, split_lines
from recipes.data.vocabulary import EOS, Vocabulary
from recipes.errors import TextError
from recipes.search.lines import translate_lines

BOM = "\ufeff"
SPACES = [character for character in map(chr, range(0x10000)) if character.isspace()]  # there is none beyond
NOT_SPACES = ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufffd"]
LINES = {
    "a\nb\n": ["a", "b"],
    "a\nb": ["a", "b"],
    "a\r\nb\r\n": ["a", "b"],
    "a\r\nb\n\r\nc\r": ["a", "b", "", "c"],
    "a\r\r\nb": ["a\r", "b"],
    "a\rb\n": ["a\rb"],
    "\n\na": ["", "", "a"],
    "a\n\n": ["a", ""],
    BOM + "a\n": ["a"],
    BOM + BOM + "a\n" + BOM + "b\n": [BOM + "a", BOM + "b"],
    "a" + "".join(space for space in SPACES if space != "\n") + "b\n": [
        "a" + "".join(space for space in SPACES if space != "\n") + "b"
    ],
}


def stream(data):
    """Standard input as Python opens it on a machine with another encoding and universal newlines."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="ascii", newline=None)


def test_files_and_streams_have_the_same_lines(tmp_path):
    for text, lines in LINES.items():
        with naming(text):
            data = text.encode()
            (tmp_path / "text").write_bytes(data)
            assert read_lines(tmp_path / "text") == lines
            assert read_stream(stream(data), "standard input") == lines
            assert read_stream(io.StringIO(text, newline=""), "a notebook") == lines
    assert [read_stream(stream(data.encode()), "standard input") for data in ("", BOM, "\n")] == [[], [], [""]]


def test_text_without_a_word_is_an_empty_file(tmp_path):
    for text in ("", BOM, "\n", " \n\u00a0\u2028\n", "\r"):
        with naming(text):
            (tmp_path / "train.en").write_bytes(text.encode())
            with pytest.raises(TextError, match=r"train\.en is empty: expected text"):
                read_lines(tmp_path / "train.en")


def test_wrong_bytes_are_named_with_line_and_byte(tmp_path):
    cases = [
        (b"one\ntwo\nM\xfcller\n", r"line 3: not UTF-8 \(byte 2 of the line, 0xfc: .*; convert the text"),
        (b"\xff\xfea\x00\n\x00", r"line 1: not UTF-8 \(byte 1 of the line, 0xff"),
        (b"a\r\nb \xed\xa0\x80\n", r"line 2: not UTF-8 \(byte 3 of the line, 0xed"),
        (b"a\rb\xe2\x80\xa8c\n\xc0\xaf", r"line 2: not UTF-8 \(byte 1 of the line, 0xc0"),
        ("\ufeffa\nä".encode()[:-1], r"line 2: not UTF-8 \(byte 1 of the line, 0xc3: unexpected end"),
        (b"a\nb\x00c\n", r"line 2: a NUL byte \(byte 2 of the line\), so the text is UTF-16 or binary; convert it"),
        ("ab\n".encode("utf-16-le"), r"line 1: a NUL byte \(byte 2"),
    ]
    for data, message in cases:
        with naming(data):
            (tmp_path / "train.en").write_bytes(data)
            with pytest.raises(TextError, match=r"train\.en, " + message):
                read_lines(tmp_path / "train.en")
            with pytest.raises(TextError, match="^standard input, " + message):
                read_stream(stream(data), "standard input")
    with pytest.raises(TextError, match="line 2: not UTF-8"):
        read_stream(io.StringIO("a\n\ud800"), "a notebook")


def test_what_is_no_file_is_named(tmp_path):
    for path, reason in ((tmp_path / "nowhere", "No such file"), (tmp_path, "Is a directory")):
        with naming(path), pytest.raises(TextError, match=rf"{path.name} cannot be read \({reason}"):
            read_lines(path)


def test_files_of_unequal_length_are_named_with_their_counts(tmp_path):
    cases = [
        ("a\nb", "x\n", "2", "1", "source"),
        ("a\u2028b\n", "x\ny\n", "1", "2", "target"),
        ("a\r", "x\n\n", "1", "2", "target"),
    ]
    for source, target, left, right, longer in cases:
        with naming((source, target)):
            for name, text in (("source", source), ("target", target)):
                (tmp_path / name).write_bytes(text.encode())
            expected = rf"source has {left} lines but \S+target has {right}: line 2 of \S+{longer} has no translation"
            with pytest.raises(TextError, match=expected):
                read_parallel(tmp_path / "source", tmp_path / "target")


def test_unicode_white_space_separates_words_and_nothing_else_does():
    assert {"\t", "\r", "\x0b", "\x0c", "\x85", "\xa0", "\u2028", "\u3000"} <= set(SPACES)
    for segmentation in ("spaces", "characters"):
        settings = TextSettings(segmentation, segmentation)
        for space in SPACES:
            with naming((segmentation, unicodedata.name(space, repr(space)))):
                assert settings.cut_source([f"{space}aa{space}{space}bb{space}"]) == [["aa", "bb"]]
                assert settings.cut_target([f"aa{space}bb"]) == [["aa", "bb"]]
    for character in NOT_SPACES:
        with naming(unicodedata.name(character)):
            assert TextSettings().cut_source([f"aa{character}bb"]) == [[f"aa{character}bb"]]


def test_no_word_of_jieba_holds_white_space(monkeypatch):
    found = ["a\u2028b", "\xa0", "c ", "<s>", "", "\r"]
    jieba = SimpleNamespace(lcut=lambda line: found, setLogLevel=lambda level: None)
    monkeypatch.setitem(sys.modules, "jieba", jieba)
    assert TextSettings("jieba").cut_source(["any"]) == [["a", "b", "c", "<s>"]]


def test_training_and_translation_read_the_same_ids(tmp_path):
    text = BOM + "a\xa0man <s>\r\n  the\u2028old dog\r\n" + BOM + "cats\ta\rman\x85. \x0c\r\n\u3000a"
    for name, content in (("valid.en", text), ("valid.de", "x\ny\nz\nx\n")):
        (tmp_path / name).write_bytes(content.encode())
    vocabularies = Vocabularies(Vocabulary(["a", "man", "old", "dog", "."]), Vocabulary(["x"]), TextSettings())
    data = ParallelText(str(tmp_path), "en", "de")
    data.__dict__["vocabularies"] = vocabularies
    trained = [[*row, EOS] for row in data.read("valid").sources]
    assert len(trained) == 4
    read = []

    def search(source):
        read.extend(source.tolist())
        return [f"line {len(read)}"]

    found = translate_lines(split_lines(text.encode(), "text"), vocabularies, search, batch_size=1)
    order = [int(each.removeprefix("line ")) - 1 for each in found]
    assert [read[k] for k in order] == trained
    assert trained[0] == [4, 5, 3, EOS]
