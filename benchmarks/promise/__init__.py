"""Replays of searches: is the drop that a search allows the drop on text that the search never read?

    python -m benchmarks.promise measure --models DIR --text DIR --out DIR [--split test2016]
    python -m benchmarks.promise replay --out DIR [DIR …]
    python -m benchmarks.promise search --models DIR --text DIR --out DIR
    python -m benchmarks.promise accuracy
    python -m benchmarks.promise simulate

``measure`` scores each candidate file once, item by item, on the validation text or another, which takes a folder of
its own; a run that was interrupted continues. ``replay`` searches among these files on a random half of the items of
all folders, judges the chosen file on the other half, and decodes nothing.
``search`` searches once for each case and reads the file once on test text.
``accuracy`` does so with a classifier that it trains, whose searches read few items; it needs scikit-learn.
``simulate`` needs no models: the true drops of its files are known.
"""
