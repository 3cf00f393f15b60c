"""Connections between processes that cannot be made; those that can are tested by two processes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lightning_compress.callbacks.hooks import exchange


@pytest.mark.parametrize("own", [True, False])
def test_where_one_process_cannot_be_connected_none_waits_for_another(own, monkeypatch, caplog):
    tried = []

    def new_group(**options):
        tried.append(options["backend"])
        if not own:
            raise RuntimeError("no such interface")

    def gather(have, mine):
        have[:] = [mine, False]

    world = SimpleNamespace(WORLD=object())
    fake = SimpleNamespace(group=world, new_group=new_group, all_gather_object=gather, get_rank=lambda: 0)
    monkeypatch.setattr(exchange, "dist", fake)
    monkeypatch.setattr(exchange, "_known", [])
    assert exchange.exchange_of(2) is None
    assert exchange.exchange_of(2) is None
    assert tried == ["gloo"]
    assert caplog.text.count("the processes cannot be connected by gloo") == 1
