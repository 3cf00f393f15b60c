"""Cases: what each stage reads, vocabularies, long pairs, missing references, wrong files, batches and workers."""

import pytest

from recipes.data.assets import TextSettings, Vocabularies
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import Vocabulary
from recipes.errors import TextError, VocabularyError


@pytest.fixture
def make_files(tmp_path):
    """Writes parallel files: name → (source lines, target lines)."""

    def make(**splits):
        for name, sides in splits.items():
            for language, lines in zip(("en", "de"), sides, strict=True):
                (tmp_path / f"{name}.{language}").write_text("".join(f"{x}\n" for x in lines), encoding="utf-8")
        return str(tmp_path)

    return make


PAIRS = (["a man", "a dog a", "cats"], ["ein mann", "ein hund", "katzen"])
LONG = ([*PAIRS[0], "a b c d e f"], [*PAIRS[1], "g"])


def test_fit_reads_training_and_validation_and_builds_vocabularies(make_files):
    data = ParallelText(make_files(train=PAIRS, valid=PAIRS), "en", "de")
    data.setup("fit")
    assert sorted(data.sets) == ["train", "valid"]
    assert data.vocabularies.source.words[4:] == ("a", "cats", "dog", "man")
    assert (data.source_words, data.target_words) == (8, 8)
    (batch,) = data.val_dataloader()
    assert sorted(batch.references) == ["ein hund", "ein mann", "katzen"]
    (batch,) = data.train_dataloader()
    assert batch.references == ()
    assert batch.source.shape == (3, 4)


def test_sizes_are_known_before_setup(make_files):
    data = ParallelText(make_files(train=PAIRS), "en", "de", max_words=2, min_count=2)
    assert (data.source_words, data.target_words) == (5, 5)


def test_long_training_pairs_are_left_out_and_counted(make_files, caplog):
    data = ParallelText(make_files(train=LONG, valid=LONG), "en", "de", max_length=5)
    with caplog.at_level("INFO"):
        data.setup("fit")
    assert len(data.sets["train"]) == 3
    assert len(data.sets["valid"]) == 4
    assert "b" not in data.vocabularies.source.words
    assert "left out 1 of 4 training pairs" in caplog.text


def test_only_long_pairs_is_an_error(make_files):
    with pytest.raises(TextError, match="raise max_length"):
        ParallelText(make_files(train=(["a b c"], ["x"])), "en", "de", max_length=2).setup("fit")


def test_a_test_set_without_references_is_found_before_training(make_files):
    folder = make_files(train=PAIRS, valid=PAIRS, test=(["a", "b"], ["ein", " "]))
    with pytest.raises(TextError, match=r"test\.de, line 2: no reference"):
        ParallelText(folder, "en", "de", test="test").setup("fit")


def test_a_test_set_without_a_reference_file_is_found_before_training(make_files, tmp_path):
    folder = make_files(train=PAIRS, valid=PAIRS, test=PAIRS)
    (tmp_path / "test.de").unlink()
    with pytest.raises(TextError, match=r"test\.de cannot be read"):
        ParallelText(folder, "en", "de", test="test").setup("fit")


def test_testing_without_a_test_set_is_refused(make_files):
    with pytest.raises(TextError, match="no test set is named"):
        ParallelText(make_files(train=PAIRS, valid=PAIRS), "en", "de").setup("test")


def test_unequal_files_are_refused(make_files):
    folder = make_files(train=(["a", "b"], ["x"]), valid=PAIRS)
    with pytest.raises(TextError, match=r"train\.en has 2 lines but .*train\.de has 1"):
        ParallelText(folder, "en", "de").setup("fit")


def test_case_and_segmentation_hold_for_words_and_references(make_files):
    folder = make_files(train=(["你好"], ["Hallo Welt"]), valid=(["你好"], ["Hallo  Welt"]))
    data = ParallelText(folder, "en", "de", source_segmentation="characters", lowercase=True)
    data.setup("fit")
    assert set(data.vocabularies.source.words[4:]) == {"你", "好"}
    (batch,) = data.val_dataloader()
    assert batch.references == ("hallo welt",)
    assert data.vocabularies.settings == TextSettings("characters", "spaces", True)


def test_vocabularies_of_a_file_come_with_its_settings(make_files, tmp_path, monkeypatch):
    given = Vocabularies(Vocabulary(["a"]), Vocabulary(["ein"]), TextSettings(lowercase=True))
    monkeypatch.setattr("recipes.data.parallel_text.read_vocabularies", lambda path: given)
    data = ParallelText(make_files(valid=(["A man"], ["Ein Mann"])), "en", "de", vocabularies="any")
    data.setup("validate")
    assert data.source_words == 5
    (batch,) = data.val_dataloader()
    assert batch.source.tolist() == [[4, 3, 2]]
    assert batch.references == ("ein mann",)


def test_workers_give_the_same_batches_in_every_epoch(make_files):
    lines = [" ".join("abc"[: 1 + k % 3]) for k in range(60)]
    folder = make_files(train=(lines, lines), valid=PAIRS)
    here = ParallelText(folder, "en", "de", tokens=16, seed=4)
    apart = ParallelText(folder, "en", "de", tokens=16, seed=4, workers=1)
    loaders = []
    for data in (here, apart):
        data.setup("fit")
        loaders.append(data.train_dataloader())
    for epoch in range(2):
        batches = []
        for loader in loaders:
            loader.sampler.set_epoch(epoch)
            batches.append([batch.source.tolist() for batch in loader])
        assert batches[0] == batches[1]
        assert len(batches[0]) == len(loaders[0])


ASSETS = Vocabularies(Vocabulary(["a", "b"]), Vocabulary(["x"]), TextSettings("jieba", "spaces", True)).to_assets()


def test_assets_round_trip():
    again = Vocabularies.from_assets(ASSETS, origin="here")
    assert again.to_assets() == ASSETS
    assert again.settings == TextSettings("jieba", "spaces", True)


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_a_missing_asset_is_named(name):
    with pytest.raises(VocabularyError, match=f"here holds no {name}, so it cannot translate"):
        Vocabularies.from_assets({k: v for k, v in ASSETS.items() if k != name}, origin="here")


@pytest.mark.parametrize("text", [b"{", b"[1]", b'{"lowercase": true, "other": 1}', b"\xff"])
def test_malformed_settings_are_refused(text):
    with pytest.raises(VocabularyError, match=r"here: text\.json is malformed"):
        Vocabularies.from_assets({**ASSETS, "text.json": text}, origin="here")
