"""Small networks and texts for the recipes' tests; Lightning's own advice is not an error here."""

from pathlib import Path

import pytest
import torch

from recipes.demo.grammar import write_corpus
from recipes.models.transformer import Transformer

ADVICE = (
    "ignore:.*does not have many workers.*",
    "ignore:Checkpoint directory .* exists and is not empty.*",
    "ignore:The number of training batches .* is smaller than the logging interval.*",
    "ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    "ignore:\\s*By default only one JsonargparseDeprecationWarning.*",
    "ignore:\\s*.*deprecated in v4.*",
)


def pytest_collection_modifyitems(items):
    folder = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(folder):
            for advice in ADVICE:
                item.add_marker(pytest.mark.filterwarnings(advice))


@pytest.fixture(autouse=True, scope="module")
def quickly_coded(quick_coding):
    pass


@pytest.fixture
def make_transformer():
    """Builds small Transformers in evaluation mode: 11 source words and 9 target words unless told otherwise."""

    def make(source_words=11, target_words=9, *, seed=0, **sizes):
        torch.manual_seed(seed)
        small = {"width": 16, "encoder_layers": 2, "decoder_layers": 2, "heads": 4, "feed_forward": 32}
        return Transformer(source_words, target_words, **{**small, **sizes}).eval()

    return make


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Folder of a generated corpus: 300 training, 20 validation and 20 test pairs, endings en and de."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, train=300, valid=20, test=20, seed=5)
    return folder
