"""LoRA: adapters of low rank are trained on a frozen network, and the file that is shipped holds the adapters alone."""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint, load

WIDTH = 64


class LoRALinear(nn.Module):
    """A frozen linear layer, plus the product of two trained matrices of low rank (Hu et al. 2021)."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)

    def forward(self, inputs):
        return self.base(inputs) + self.lora_up(self.lora_down(inputs))


def pretrained() -> nn.Sequential:
    """The network that is adapted; it stands for one that everybody has already."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH))


class LitLoRA(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(LoRALinear(m) if isinstance(m, nn.Linear) else m for m in pretrained()))

    def training_step(self, batch, index):
        inputs, wanted = batch
        return mse_loss(self.layers(inputs), wanted)

    def validation_step(self, batch, index):
        inputs, wanted = batch
        self.log("val_loss", mse_loss(self.layers(inputs), wanted))

    def configure_optimizers(self):
        return torch.optim.Adam([weight for weight in self.parameters() if weight.requires_grad], lr=3e-3)


def shifted(count: int) -> TensorDataset:
    """Inputs ``[count, WIDTH]``, and the outputs of the network for inputs in another order: the new task."""
    inputs = torch.randn(count, WIDTH)
    with torch.no_grad():
        return TensorDataset(inputs, pretrained()(inputs.roll(1, dims=1)))


if __name__ == "__main__":
    seed_everything(1)
    train, valid = DataLoader(shifted(1024), 64, shuffle=True), DataLoader(shifted(256), 64)
    trainer = Trainer(
        max_epochs=3,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="adapters", monitor="val_loss"),
            CompressCheckpoint(exclude=["*.base.*"]),
        ],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = LitLoRA()
    trainer.fit(model, train, valid)

    fresh = LitLoRA()
    missing = fresh.load_state_dict(load("checkpoints/adapters.compressed.safetensors"), strict=False).missing_keys
    loss = trainer.validate(fresh, valid, verbose=False)[0]["val_loss"]
    print(f"validation loss with the adapters loaded back: {loss:.4f}; from the base model: {', '.join(missing)}")
