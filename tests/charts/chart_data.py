"""What the charts of these tests are made of."""

from __future__ import annotations

import numpy as np

from lightning_compress.archive import ClassReport
from lightning_compress.charts import Histogram


def rows(*sizes):
    """Class reports of ``(name, raw bytes, bytes)``."""
    return [ClassReport(1, raw // 4, raw, nbytes, 0.0, class_name=name) for name, raw, nbytes in sizes]


def histogram(*counts):
    return Histogram(np.linspace(-1, 1, len(counts) + 1), np.array(counts, np.int64))
