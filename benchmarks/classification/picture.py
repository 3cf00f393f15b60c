"""``python -m benchmarks.classification.picture``: draws ``docs/unseen.png`` from the measurements in ``docs``.

The classifiers are in ``docs/unseen.csv``, with the search of the translation model, whose other files are the rows of
the test text in ``docs/rate-distortion.csv``. Run it again after a new measurement of either.
"""

from __future__ import annotations

import csv
from pathlib import Path

from lightning_compress.charts import lines, to_png

DOCS = Path(__file__).parents[2] / "docs"
TRANSLATION = "Translation"
TITLES = {"cnn": "CNN", "bert": "BERT-like", "translation": TRANSLATION}
SHOWN = {("presets", "half")}


def series() -> dict[str, list[tuple[float, float]]]:
    """Model → ``(ratio, percent of the score kept on unseen data)``, from the exact weights on."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader((DOCS / "unseen.csv").open(encoding="utf-8")):
        if row["file"] != ".ckpt":
            kept = 100 * float(row["accuracy"]) / float(row["exact"])
            found.setdefault(TITLES[row["model"]], []).append((float(row["ratio"]), kept))
    for row in csv.DictReader((DOCS / "rate-distortion.csv").open(encoding="utf-8")):
        is_shown = row["method"] == "fp32" or (row["method"], row["setting"]) in SHOWN
        if (row["model"], row["split"]) == ("transformer", "test") and is_shown:
            kept = 100 * float(row["bleu"]) / (float(row["bleu"]) - float(row["change"]))
            found.setdefault(TRANSLATION, []).append((float(row["ratio"]), kept))
    return {title: sorted(points) for title, points in found.items()}


def main() -> None:
    """Draw the picture."""
    title = "Score kept on unseen data"
    figure = lines(series(), "times smaller than the weights in fp32", "% of the score", title, include=(90.0, 101.0))
    (DOCS / "unseen.png").write_bytes(to_png(figure))


if __name__ == "__main__":
    main()
