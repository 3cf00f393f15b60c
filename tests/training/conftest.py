"""Lightning's own advice is no error here either."""

from pathlib import Path

import pytest

from tests.callbacks.conftest import ADVICE


def pytest_collection_modifyitems(items):
    folder = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(folder):
            for advice in ADVICE:
                item.add_marker(pytest.mark.filterwarnings(advice))
