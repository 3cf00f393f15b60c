"""Lightning's own advice, which the small runs here do not heed on purpose, is not an error."""

from pathlib import Path

import pytest

ADVICE = (
    "ignore:.*does not have many workers.*",
    "ignore:Checkpoint directory .* exists and is not empty.*",
    "ignore:Using ModelCheckpoint with manual optimization.*",
    "ignore:You're resuming from a checkpoint that ended before the epoch ended.*",
    "ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint.*",
    "ignore:.*was called without a model.*",
    "ignore:.*there is no last checkpoint available.*",
    "ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


def pytest_collection_modifyitems(items):
    folder = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(folder):
            for advice in ADVICE:
                item.add_marker(pytest.mark.filterwarnings(advice))
