"""A plain PyTorch loop without Lightning: compress the module, or the file that torch.save wrote."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_compress import compress, load


def points(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points ``[count, 8]``, and whether their first half is longer than their second."""
    inputs = torch.randn(count, 8)
    return inputs, (inputs[:, :4].norm(dim=1) > inputs[:, 4:].norm(dim=1)).long()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def accuracy(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    return (model(inputs).argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(1)
    model, (inputs, labels), valid = network(), points(2048), points(512)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        batch = torch.randint(len(inputs), (64,))
        optimizer.zero_grad()
        cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    torch.save(model.state_dict(), "model.pt")
    compress(model, "small").save("model.compressed.safetensors")

    fresh = network()
    fresh.load_state_dict(load("model.compressed.safetensors"))
    print(f"accuracy trained {accuracy(model, *valid):.3f}, loaded back {accuracy(fresh, *valid):.3f}")
