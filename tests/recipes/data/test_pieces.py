"""Raw text in pieces of words: cut and joined, stored with the vocabularies, and measured as raw text."""

from __future__ import annotations

import pytest

from recipes.data.assets import TextSettings, Vocabularies
from recipes.data.parallel_text import ParallelText
from recipes.data.pieces import Pieces, join_pieces
from recipes.errors import SegmentationError

pytest.importorskip("sentencepiece")
LINES = [
    f"The {noun} sees {count} old dogs, and (perhaps) a cat."
    for noun in ("man", "woman", "child")
    for count in range(9)
]


@pytest.fixture(scope="module")
def pieces():
    return Pieces.train(LINES, 60, "a text")


def test_pieces_are_joined_to_the_line(pieces):
    for line in (*LINES, "an unseen word, cats!"):
        cut = pieces.cut(line)
        assert not any(piece.split() != [piece] for piece in cut)
        assert join_pieces(cut) == line
    assert len(pieces.cut("sees sees")) < len("sees sees")
    assert pieces == Pieces.train(LINES, 60, "a text")


def test_a_short_text_has_fewer_pieces_and_none_is_an_error():
    assert Pieces.train(LINES[:1], 8000, "a text").cut("The man")
    with pytest.raises(SegmentationError, match="no 10 pieces could be made of empty"):
        Pieces.train([], 10, "empty")
    with pytest.raises(SegmentationError, match="cannot be read"):
        Pieces(b"no model").cut("a")
    with pytest.raises(SegmentationError, match="needs a model"):
        TextSettings("sentencepiece").cut_source(["a"])


def test_the_data_module_trains_them_and_the_assets_hold_them(tmp_path):
    for split in ("train", "valid"):
        for side in ("en", "de"):
            (tmp_path / f"{split}.{side}").write_text("\n".join(LINES) + "\n")
    data = ParallelText(str(tmp_path), "en", "de", target_segmentation="sentencepiece", pieces=60, lowercase=True)
    data.setup("fit")
    references = [line.lower() for line in LINES]
    assert data.text("valid") == (LINES, references)
    assert list(data.sets["valid"].references) == references
    known = data.vocabularies
    again = Vocabularies.from_assets(known.to_assets(), origin="a file")
    assert again == known
    assert again.settings.source_pieces is None
    (cut,) = again.settings.cut_target(["The man"])
    assert again.settings.join_target(known.target.decode(known.target.encode(cut))) == "the man"
    assert again.settings.join_target(["▁raw", "▁te", "xt", "."]) == "raw text."
