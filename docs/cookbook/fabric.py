"""A loop of one's own with Fabric, without a Trainer: compress what was trained, beside what Fabric saves."""

import torch
from lightning_fabric import Fabric  # or: from lightning.fabric import Fabric
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import load, save_compressed


def points(count: int) -> TensorDataset:
    """Points ``[count, 8]``, and whether their first half is longer than their second."""
    inputs = torch.randn(count, 8)
    return TensorDataset(inputs, (inputs[:, :4].norm(dim=1) > inputs[:, 4:].norm(dim=1)).long())


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    inputs, labels = data.tensors
    return (model(inputs).argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    fabric.seed_everything(1)
    module = network()
    model, optimizer = fabric.setup(module, torch.optim.Adam(module.parameters(), lr=3e-3))
    valid = points(512)
    for _ in range(3):
        for inputs, labels in fabric.setup_dataloaders(DataLoader(points(1024), 32, shuffle=True)):
            optimizer.zero_grad()
            fabric.backward(cross_entropy(model(inputs), labels))
            optimizer.step()
    fabric.save("model.ckpt", {"model": model, "optimizer": optimizer})
    save_compressed(fabric, module, "model.compressed.safetensors")

    fresh = network()
    fresh.load_state_dict(load("model.compressed.safetensors"))
    print(f"accuracy trained {accuracy(module, valid):.3f}, loaded back {accuracy(fresh, valid):.3f}")
