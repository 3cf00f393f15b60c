"""The compiled loops where there is no folder to keep them in."""

from __future__ import annotations

import numba

from lightning_compress.quantize.grid.trellis import compiled_loops as loops


def test_where_nothing_can_be_kept_loops_are_compiled_each_time(monkeypatch):
    njit = numba.njit

    def nowhere(*functions, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available for file")
        return njit(*functions, **options)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert loops._compiled(lambda x: x + 1)(2) == 3
