"""BLEU against bytes on disk, for this package and others, on trained translation models.

    python -m benchmarks.rate_distortion --models DIR --out DIR

DIR of ``--models`` holds ``yardstick.py``, as for ``benchmarks/yardstick.py``. Every point is a file that was written,
read back and measured; ``points.csv`` in ``--out`` keeps it, and a run that was interrupted goes on from there.
"""
