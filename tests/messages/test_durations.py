from __future__ import annotations

import pytest

from lightning_compress.messages.durations import in_minutes


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "a minute"), (89, "a minute"), (91, "2 minutes"), (7200, "120 minutes")]
)
def test_a_duration_is_said_in_minutes(seconds, said):
    assert in_minutes(seconds) == said
