"""Lines that Lightning shows the user on rank 0, as those about devices and limits."""

from __future__ import annotations

from importlib import import_module

from lightning_compress.callbacks.hooks.base import lightning_name


def announce(text: str) -> None:
    """Show one line."""
    import_module(f"{lightning_name()}.utilities").rank_zero_info(text)
