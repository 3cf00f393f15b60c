"""Cache of measured points on disk, one file each, shared by all experiments."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_compress import CompressionError, Score
from recipes.paper.measurement.measurement import Measurement, Point, fingerprint

_LOG = logging.getLogger(__name__)
Combine = Callable[[Any], float]


@dataclass(frozen=True)
class MeasurementCache:
    """A folder of measured points, ``KEY.json`` each; several processes may use it at the same time.

    Attributes:
        folder: folder of the files; created with the first file.
        combine: computes BLEU from the summed statistics of the sentences.
    """

    folder: Path
    combine: Combine

    def path(self, point: Point) -> Path:
        """File of a point."""
        return self.folder / f"{point.key}.json"

    def get(self, point: Point) -> Measurement | None:
        """The measurement of a point; None if there is none, or if its file is damaged (which is logged)."""
        path = self.path(point)
        try:
            return self._read(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, CompressionError) as error:
            _LOG.warning("%s is damaged (%s: %s): the point is measured again", path, type(error).__name__, error)
            return None

    def put(self, point: Point, measured: Measurement) -> None:
        """Write a point atomically.

        Raises:
            OSError: it cannot be written.
        """
        statistics = measured.score.statistics
        assert statistics is not None
        content = {
            "plan": None if point.plan is None else point.plan.to_config(),
            "conditions": vars(point.conditions),
            "bleu": measured.score.value,
            "statistics": statistics.astype(int).tolist(),
            "raw_bytes": measured.raw_bytes,
            "bytes": measured.bytes,
            "zeros": measured.zeros,
            "seconds": round(measured.seconds, 3),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(self.path(point), json.dumps({"sha256": fingerprint(content), "point": content}))

    def _read(self, path: Path) -> Measurement:
        envelope = json.loads(path.read_text("utf-8"))
        content = envelope["point"]
        if fingerprint(content) != envelope["sha256"]:
            raise ValueError("its content does not have its checksum")
        score = Score(content["bleu"], content["statistics"], self.combine)
        return Measurement(score, content["raw_bytes"], content["bytes"], content["zeros"], content["seconds"])


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file atomically: a reader never sees a partial file.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, "utf-8", newline="")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
