"""A module and its compressed file, through a folder and through a stand-in for the Hugging Face hub."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn

from lightning_compress import CompressionError, Plan, Raw, Rule, compress, load, load_from_checkpoint
from lightning_compress.errors import ChecksumError, ForeignFileError, HubError, MismatchError

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from hub_server import Repositories, running_server  # noqa: E402 – after what it needs

from lightning_compress.hub import FILE_NAME, CompressedModelHubMixin  # noqa: E402 – likewise

EXACT = Plan(Rule("*", Raw()))


class Net(nn.Module, CompressedModelHubMixin, license="mit", tags=["small"]):
    def __init__(self, width: int = 8, *, sizes: list[int] | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.Dropout(), nn.Linear(width, 2))
        self.sizes = sizes


class LitNet(LightningModule, CompressedModelHubMixin):
    def __init__(self, width: int = 8, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer, self.shape = nn.Linear(4, width), shape


class Configured(LightningModule, CompressedModelHubMixin):
    def __init__(self, config: dict[str, object]) -> None:
        super().__init__()
        self.save_hyperparameters(config)
        self.layer, self.config = nn.Linear(4, config["width"]), config


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Repositories]:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_XET_CACHE"):
        monkeypatch.setattr(hub.constants, name, str(tmp_path / "cache"), raising=False)
    monkeypatch.setattr(hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setattr(hub.constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    hub.HfFileSystem.clear_instance_cache()  # each remembers the address of its server
    with running_server() as server:
        monkeypatch.setattr(hub.constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield server


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_folder_holds_the_file_the_card_and_the_arguments(tmp_path: Path) -> None:
    net = Net(width=6, sizes=[1, 2])
    assert net.save_pretrained(tmp_path / "new" / "net", plan=EXACT) is None
    folder = tmp_path / "new" / "net"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", FILE_NAME]
    assert json.loads((folder / "config.json").read_text()) == {"width": 6, "sizes": [1, 2]}
    found = Net.from_pretrained(folder)
    assert same(net, found)
    assert found.sizes == [1, 2]
    assert net.training
    assert not found.training
    again = Net.from_pretrained(folder, sizes=[7], map_location="cpu")
    assert again.sizes == [7]


def test_the_default_plan_is_safe(tmp_path: Path) -> None:
    net = Net()
    net.save_pretrained(tmp_path)
    expected = compress(net, "safe")
    assert load(tmp_path / FILE_NAME).keys() == net.state_dict().keys()
    assert (tmp_path / FILE_NAME).stat().st_size == expected.nbytes


def test_hyper_parameters_have_the_exact_types_of_the_file(tmp_path: Path) -> None:
    net = LitNet(width=5, shape=(2, 3))
    net.save_pretrained(tmp_path, plan=EXACT)
    assert json.loads((tmp_path / "config.json").read_text())["shape"] == [2, 3]
    found = LitNet.from_pretrained(tmp_path)
    assert same(net, found)
    assert found.shape == (2, 3)
    assert LitNet.from_pretrained(tmp_path, shape=(9,)).shape == (9,)
    with pytest.raises(MismatchError, match=r"layer\.weight"):
        LitNet.from_pretrained(tmp_path, width=7)
    (tmp_path / "config.json").write_text(json.dumps({"shape": [4]}))
    assert LitNet.from_pretrained(tmp_path).shape == [4]


def test_an_argument_that_is_called_config(tmp_path: Path) -> None:
    net = Configured({"width": 3, "pair": (1, 2)})
    net.save_pretrained(tmp_path, plan=EXACT)
    found = Configured.from_pretrained(tmp_path)
    assert same(net, found)
    assert found.config["pair"] == (1, 2)


def test_a_repository_of_the_hub(server: Repositories, tmp_path: Path) -> None:
    net = Net(width=6)
    assert net.push_to_hub("me/net", plan=EXACT, token="none").endswith("me/net/commit/" + "0123456789" * 4)
    assert server.commits == 1
    files = server.files["me/net"]
    assert {"README.md", "config.json", FILE_NAME} <= files.keys()
    assert 'Net.from_pretrained("me/net")' in files["README.md"].decode()
    found = Net.from_pretrained("me/net")
    assert same(net, found)
    assert found.layers[0].out_features == 6


def test_save_pretrained_pushes_the_same_file(server: Repositories, tmp_path: Path) -> None:
    net = Net()
    net.save_pretrained(tmp_path / "net", plan="exact", push_to_hub=True, repo_id="me/other", token="none")
    assert server.files["me/other"][FILE_NAME] == (tmp_path / "net" / FILE_NAME).read_bytes()
    assert len(compress(net, "safe").streams) == len(compress(net, "exact").streams)


def test_a_file_that_is_there_is_copied_byte_for_byte(server: Repositories, tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "best.compressed.safetensors"
    compress(net, "half").with_metrics({"search": {"score_before": 9.0, "score_after": 8.5, "drop": 0.5}}).save(path)
    net.push_to_hub("me/best", file=path, token="none")
    assert server.files["me/best"][FILE_NAME] == path.read_bytes()
    assert "| drop that was measured | 0.5 |" in server.files["me/best"]["README.md"].decode()
    net.save_pretrained(tmp_path / "folder", file=path)
    assert (tmp_path / "folder" / FILE_NAME).read_bytes() == path.read_bytes()


def test_nothing_is_saved_of_another_module_or_a_damaged_file(server: Repositories, tmp_path: Path) -> None:
    path = tmp_path / "x.compressed.safetensors"
    compress(Net(width=7), "half").save(path)
    with pytest.raises(MismatchError, match=r"x\.compressed\.safetensors.*\n.*shape"):
        Net(width=8).push_to_hub("me/net", file=path, token="none")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChecksumError):
        Net(width=7).push_to_hub("me/net", file=path, token="none")
    with pytest.raises(HubError, match=r"a plan and the file .* are given: give one of them"):
        Net().push_to_hub("me/net", plan="half", file=path, token="none")
    with pytest.raises(CompressionError, match="no plan"):
        Net().push_to_hub("me/net", plan="no plan", token="none")
    assert server.files == {}


def test_files_of_others_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "README.md").write_text("mine")
    with caplog.at_level(logging.WARNING):
        Net().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert "README.md is kept as it is" in caplog.text
    (tmp_path / FILE_NAME).write_text("mine too")
    with pytest.raises(ForeignFileError):
        Net().save_pretrained(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == "mine too"


def test_a_folder_without_the_file_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="write it with save_pretrained"):
        Net.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(HubError, match="which PyTorchModelHubMixin and transformers load"):
        Net.from_pretrained(tmp_path)
    net = Net()
    compress(net, EXACT).save(tmp_path / "best.compressed.safetensors")
    with pytest.raises(HubError, match=r"filename='best\.compressed\.safetensors'"):
        Net.from_pretrained(tmp_path)
    assert same(net, Net.from_pretrained(tmp_path, filename="best.compressed.safetensors"))


def test_a_repository_without_the_file_is_an_error_of_the_hub(server: Repositories) -> None:
    server.files["me/empty"] = {}
    with pytest.raises(hub.errors.EntryNotFoundError):
        Net.from_pretrained("me/empty")


def test_an_address_of_the_hub_is_read_in_parts(server: Repositories, tmp_path: Path) -> None:
    net = Net(width=5000)
    net.push_to_hub("me/net", plan=EXACT, token="none")
    address, name = f"hf://me/net/{FILE_NAME}", "layers.2.bias"
    assert torch.equal(load(address, names=[name])[name], net.state_dict()[name])
    assert 0 < sum(end - begin for begin, end in server.ranges) < 0.1 * len(server.files["me/net"][FILE_NAME])
    assert same(net, load_from_checkpoint(Net, address, width=5000))


def test_a_mixin_of_plain_files_does_not_make_random_weights(tmp_path: Path) -> None:
    class Plain(nn.Module, hub.PyTorchModelHubMixin):
        def __init__(self, width: int = 8) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, width), nn.Dropout(), nn.Linear(width, 2))

    Net().save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError):
        Plain.from_pretrained(tmp_path)


def test_a_class_that_is_no_module(tmp_path: Path) -> None:
    class Other(CompressedModelHubMixin):
        pass

    with pytest.raises(HubError, match=r"Other is no torch module: derive it from torch\.nn\.Module too"):
        Other().save_pretrained(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(HubError, match="Other is no torch module"):
        Other.from_pretrained(tmp_path)
