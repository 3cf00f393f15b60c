"""wandb kept inside the folder of a test."""

from __future__ import annotations

import pytest


@pytest.fixture
def wandb_folder(tmp_path, monkeypatch):
    """Where wandb writes; its service ends with the test."""
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    import wandb

    wandb.finish()  # a run that a test of the recipes left open would be used again
    wandb.teardown()  # it read the environment when it was first used
    yield tmp_path
    wandb.finish()
    wandb.teardown()
