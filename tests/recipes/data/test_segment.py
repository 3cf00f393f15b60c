"""Cases: each segmentation on mixed text, an unknown name, and jieba not installed."""

import sys

import pytest

from recipes.data.assets import TextSettings
from recipes.data.segment import by_characters, by_spaces, segmenter
from recipes.errors import SegmentationError


def test_by_spaces_keeps_tokens():
    assert by_spaces("  ein mann ,  der\tlacht . ") == ["ein", "mann", ",", "der", "lacht", "."]


def test_by_characters_keeps_runs_of_letters_and_digits_whole():
    assert by_characters("我有3只cats， Müller 说。") == ["我", "有", "3", "只", "cats", "，", "Müller", "说", "。"]


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore:pkg_resources is deprecated.*")
def test_jieba_finds_words_and_loses_no_character():
    pytest.importorskip("jieba")
    words = segmenter("jieba")("我们 正在学习机器翻译。")
    assert "".join(words) == "我们正在学习机器翻译。"
    assert "翻译" in words or "机器翻译" in words


def test_jieba_missing_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(SegmentationError, match=r"pip install 'lightning-compress\[recipes\]'"):
        segmenter("jieba")("我们")


def test_unknown_segmentation_is_refused_with_the_names_there_are():
    with pytest.raises(SegmentationError, match="'letters' is unknown: expected one of spaces, characters, jieba"):
        TextSettings(source_segmentation="letters")


def test_settings_cut_each_side_its_own_way():
    settings = TextSettings(source_segmentation="characters", lowercase=True)
    assert settings.cut_source(["你好 World"]) == [["你", "好", "world"]]
    assert settings.cut_target(["Hello World"]) == [["hello", "world"]]
