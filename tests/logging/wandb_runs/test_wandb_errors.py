"""Uploads that fail, old versions, a missing wandb: each is reported, and training continues."""

from __future__ import annotations

import sys
from datetime import timedelta
from threading import Event
from types import SimpleNamespace

import pytest
import torch
from fake_loggers import ImageLogger, TableLogger
from fake_wandb import FakeRun
from pytorch_lightning.loggers import WandbLogger
from short_training import ADVICE, fit

from lightning_compress import Artifacts, CompressionError, compress, prune_artifacts
from lightning_compress.logging import Uploads, describe_runs, runs_of
from lightning_compress.logging.wandb_runs.artifacts import superseded

pytestmark = [pytest.mark.filterwarnings(advice) for advice in ADVICE]


class WandbLike(ImageLogger):
    """A logger whose run is given."""

    save_dir = name = version = None

    def __init__(self, run) -> None:
        super().__init__()
        self.experiment = run

    def __getattr__(self, name):
        if name.startswith("log_") or name in ("finalize", "save", "after_save_checkpoint"):
            return lambda *_, **__: None
        raise AttributeError(name)


class Version:
    """One version of an artifact as wandb's API gives it."""

    def __init__(self, number, *aliases, run="r1", done=None) -> None:
        self.version, self.aliases, self.metadata, self.ttl = f"v{number}", list(aliases), {"run": run}, None
        self._done = [] if done is None else done

    def delete(self, delete_aliases=False):
        assert delete_aliases
        self._done.append(("deleted", self.version))

    def save(self):
        self._done.append(("expires", self.version, self.ttl))


@pytest.fixture
def server(monkeypatch, wandb_folder):
    """The versions on the server, to be filled by the test, and what was done with them."""
    state = SimpleNamespace(versions=[], done=[], asked=[])

    def artifacts(type_name, path):
        state.asked.append((type_name, path))
        return state.versions

    monkeypatch.setattr("wandb.Api", lambda: SimpleNamespace(artifacts=artifacts))
    return state


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file.safetensors"
    compress({"weight": torch.linspace(-1, 1, 8)}, "half").save(path)
    return str(path)


def _upload(run, file, artifacts=None, times=1):
    uploads = Uploads(artifacts or Artifacts())
    for epoch in range(times):
        uploads.upload([run], file, ["latest", f"epoch-{epoch}"], {"bytes": 3})
    uploads.finish()


def test_an_upload_holds_a_copy_of_the_file(server, file, tmp_path):
    run = FakeRun()
    _upload(run, file, Artifacts(name="small"))
    ((artifact, aliases),) = run.artifacts
    assert (artifact.name, artifact.type, aliases) == ("small", "model", ["latest", "epoch-0"])
    assert artifact.metadata == {"bytes": 3, "run": "r1"}
    (entry,) = artifact.manifest.entries.values()
    assert entry.path == "model.compressed.safetensors"
    assert entry.local_path != file
    assert server.asked == [("model", "me/tests/small")]


def test_a_refused_upload_is_reported_with_the_file(server, file, caplog):
    _upload(FakeRun(refuse=PermissionError("no rights")), file)
    (record,) = caplog.records
    assert file in record.getMessage()
    assert "no rights" in record.getMessage()
    assert server.asked == []


def test_a_failure_of_a_started_upload_is_reported_too(server, file, caplog):
    _upload(FakeRun(fail=ValueError("storage quota exceeded")), file, times=2)
    assert [("storage quota exceeded" in record.getMessage()) for record in caplog.records] == [True, True]
    assert server.asked == []


def test_waiting_ends_before_an_upload_that_does_not_end(server, file):
    stuck, run = Event(), FakeRun()
    run.wait = stuck.wait
    uploads = Uploads(Artifacts())
    uploads.upload([run], file, ["latest"], {})
    uploads.finish(seconds=0.05)
    assert server.asked == []
    stuck.set()
    uploads.finish()
    assert len(server.asked) == 1


def test_an_offline_run_is_not_waited_for(server, file):
    run = FakeRun(fail=ValueError("there is nothing to wait for"))
    run.offline = True
    _upload(run, file)
    assert len(run.artifacts) == 1
    assert server.asked == []


def test_old_versions_are_deleted_when_a_new_one_is_uploaded(server, file):
    names = (["epoch-0", "best"], ["epoch-1"], ["epoch-2", "production"], ["epoch-3"], ["epoch-4"], ["latest"])
    server.versions = [Version(k, *aliases, done=server.done) for k, aliases in enumerate(names)]
    server.versions += [Version(9, run="other", done=server.done)]
    _upload(FakeRun(), file, Artifacts(keep=2))
    assert server.done == [("deleted", "v3"), ("deleted", "v1")]


def test_old_versions_can_expire_instead(server, file):
    server.versions = [Version(k, done=server.done) for k in range(3)]
    _upload(FakeRun(), file, Artifacts(keep=2, old="expire", expire_days=7))
    assert server.done == [("expires", "v0", timedelta(days=7))]


def test_all_versions_are_kept_on_request(server, file):
    _upload(FakeRun(), file, Artifacts(keep=None))
    assert server.asked == []
    assert superseded([Version(0), Version(1)], None) == []


def test_a_server_that_does_not_answer_is_only_reported(server, file, monkeypatch, caplog):
    def unreachable():
        raise ConnectionError("no route")

    monkeypatch.setattr("wandb.Api", unreachable)
    run = FakeRun()
    _upload(run, file)
    assert len(run.artifacts) == 1
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "compressed-r1" in record.getMessage()
    assert "no route" in record.getMessage()


def test_versions_of_a_synced_run_are_pruned_by_hand(server):
    server.versions = [Version(k, run=f"r{k % 2}", done=server.done) for k in range(12)]
    assert prune_artifacts("me/tests/small", Artifacts(keep=4), run="r1") == ["v3", "v1"]
    assert prune_artifacts("me/tests/small", Artifacts(keep=11)) == ["v0"]
    assert server.done == [("deleted", "v3"), ("deleted", "v1"), ("deleted", "v0")]


@pytest.mark.parametrize("wrong", [{"keep": 0}, {"keep": 1.5}, {"old": "burn"}, {"expire_days": 0}])
def test_arguments_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(CompressionError, match=rf"Artifacts\({name}="):
        Artifacts(**wrong)


def test_a_run_that_cannot_be_described_is_reported(caplog):
    class Closed(FakeRun):
        def define_metric(self, name, step_metric):
            raise RuntimeError("the run is finished")

    describe_runs([WandbLogger(experiment=Closed())], {"rules": []})
    (record,) = caplog.records
    assert "the run is finished" in record.getMessage()


def test_a_logger_that_cannot_start_its_run_has_none(caplog):
    class NotLoggedIn(TableLogger):
        @property
        def experiment(self):
            raise RuntimeError("api_key not configured")

    assert runs_of([NotLoggedIn(), TableLogger()]) == []
    (record,) = caplog.records
    assert "NotLoggedIn" in record.getMessage()
    assert "api_key not configured" in record.getMessage()


def test_artifacts_without_a_run_are_reported_and_training_continues(tmp_path, caplog):
    fit(tmp_path, artifacts=True, epochs=1)
    (record,) = [record for record in caplog.records if record.name.startswith("lightning_compress")]
    assert "no WandbLogger" in record.getMessage()
    assert "pip install wandb" in record.getMessage()


def test_a_training_survives_wandb_that_is_not_installed(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    fit(tmp_path, WandbLike(FakeRun()), artifacts=True, epochs=2)
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("lightning_compress")]
    assert len(messages) == 2
    assert all("was not uploaded to wandb" in message and "import of wandb" in message for message in messages)


def test_a_training_survives_an_exhausted_quota(tmp_path, server, caplog):
    fit(tmp_path, WandbLike(FakeRun(fail=ValueError("storage quota exceeded"))), artifacts=True, epochs=2)
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("lightning_compress")]
    assert sum("storage quota exceeded" in message for message in messages) == 2


def test_a_training_survives_a_missing_matplotlib(tmp_path, monkeypatch, caplog):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    fit(tmp_path, WandbLike(FakeRun()), epochs=1)
    (record,) = [record for record in caplog.records if record.name.startswith("lightning_compress")]
    assert "pip install lightning-compress[charts]" in record.getMessage()


def test_no_pictures_on_request(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    fit(tmp_path, WandbLike(FakeRun()), epochs=1, pictures=False)
    assert not [record for record in caplog.records if record.name.startswith("lightning_compress")]
