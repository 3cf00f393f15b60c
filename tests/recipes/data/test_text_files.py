"""Cases: line ends, byte order mark, and each kind of wrong file, with file and line named."""

import pytest

from recipes.data.text_files import read_lines, read_parallel
from recipes.errors import TextError


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        ("\ufeffa\n".encode(), ["a"]),
        ("a\u2028b\x85c\x0bd\n".encode(), ["a\u2028b\x85c\x0bd"]),
    ],
)
def test_only_a_line_feed_ends_a_line(tmp_path, data, lines):
    assert read_lines(write(tmp_path / "text", data)) == lines


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TextError, match=r"nowhere\.en cannot be read \(No such file"):
        read_lines(tmp_path / "nowhere.en")


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_file_is_named(tmp_path, data):
    with pytest.raises(TextError, match=r"train\.en is empty"):
        read_lines(write(tmp_path / "train.en", data))


def test_other_encodings_are_named_with_the_line(tmp_path):
    with pytest.raises(TextError, match=r"train\.en, line 3: not UTF-8"):
        read_lines(write(tmp_path / "train.en", b"one\ntwo\nM\xfcller\n"))


def test_unequal_line_counts_name_both_files_and_the_first_line_alone(tmp_path):
    source, target = write(tmp_path / "train.en", b"a\nb\nc\n"), write(tmp_path / "train.de", b"a\n")
    with pytest.raises(TextError, match=r"train\.en has 3 lines but .*train\.de has 1: line 2 of .*train\.en"):
        read_parallel(source, target)
    with pytest.raises(TextError, match=r"line 2 of .*train\.en"):
        read_parallel(target, source)


def test_equal_line_counts_are_read_together(tmp_path):
    source, target = write(tmp_path / "train.en", b"a\nb\n"), write(tmp_path / "train.de", b"x\ny\n")
    assert read_parallel(source, target) == (["a", "b"], ["x", "y"])
