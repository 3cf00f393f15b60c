"""wandb's own client in online mode, connected to a server of the tests."""

from __future__ import annotations

import json

import pytest
from pytorch_lightning.loggers import WandbLogger
from short_training import ADVICE, fit
from wandb_server import ENTITY, PROJECT, Server

from lightning_compress import Archive, Artifacts, prune_artifacts

pytestmark = [pytest.mark.filterwarnings(advice) for advice in ADVICE]


@pytest.fixture
def server(wandb_folder, monkeypatch):
    """A server that wandb's client is connected to and logged in at."""
    made = Server()
    monkeypatch.setenv("WANDB_BASE_URL", made.url)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    yield made
    import wandb

    wandb.teardown()
    made.close()


def _train(folder, artifacts):
    logger = WandbLogger(project=PROJECT, entity=ENTITY, save_dir=str(folder))
    fit(folder, logger, artifacts=artifacts, pictures=False)
    logger.experiment.finish()
    return logger.experiment.id


def test_versions_are_uploaded_and_old_ones_deleted(server, wandb_folder, caplog):
    run = _train(wandb_folder, Artifacts(keep=1))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("lightning_compress")] == []
    assert server.unknown == []
    files = [wandb_folder / f"run/epoch={epoch}.compressed.safetensors" for epoch in range(3)]
    # The second checkpoint is the best, the third the newest; the first is gone.
    assert server.aliases() == {"v1": ["best", "epoch-1"], "v2": ["epoch-2", "latest"]}
    models = {key: version for key, version in server.versions.items() if version["type"] == "model"}
    for (key, version), file in zip(models.items(), files[1:], strict=True):
        assert version["name"] == f"compressed-{run}"
        assert server.files[f"{key}/model.compressed.safetensors"] == file.read_bytes()
        metadata = json.loads(version["metadata"])
        assert metadata["bytes"] == file.stat().st_size
        assert metadata["plan"] == Archive.open(file).manifest.plan
    assert server.runs == {run}
    configuration = server.configs[-1]["compression"]["value"]
    assert configuration["plan"] == Archive.open(files[0]).manifest.plan
    assert configuration["environment"]["python"]
    sizes = [step["compression/bytes"] for step in server.history if "compression/bytes" in step]
    assert sizes == [file.stat().st_size for file in files]

    path = f"{ENTITY}/{PROJECT}/compressed-{run}"
    assert prune_artifacts(path, Artifacts(keep=1)) == []
    (best,) = (version for version in models.values() if version["index"] == 1)
    best["aliases"] = ["epoch-1"]
    assert prune_artifacts(path, Artifacts(keep=1, old="expire", expire_days=7)) == ["v1"]
    assert best["ttl"] == 7 * 24 * 3600


def test_an_exhausted_quota_is_reported_and_training_continues(server, wandb_folder, caplog):
    server.refuse = "storage quota exceeded"
    _train(wandb_folder, artifacts=True)
    assert server.aliases() == {}
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("lightning_compress")]
    assert sum("storage quota exceeded" in message and ".safetensors" in message for message in messages) == 3
    assert len([step for step in server.history if "compression/bytes" in step]) == 3
