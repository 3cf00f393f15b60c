"""LoRA with PEFT: adapters are trained on a frozen network, and the file that is shipped holds the adapters alone."""

import torch
from peft import LoraConfig, get_peft_model
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint, load_from_checkpoint

WIDTH = 64


def pretrained() -> nn.Sequential:
    """The network that is adapted; it stands for one that everybody has already."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH))


class LitLoRA(LightningModule):
    def __init__(self, rank: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = get_peft_model(pretrained(), LoraConfig(r=rank, target_modules=["0", "2"]))

    def compression_exclude(self) -> list[str]:
        """What the compressed files leave out: everything that is frozen."""
        return [name for name, weight in self.named_parameters() if not weight.requires_grad]

    def training_step(self, batch, index):
        inputs, wanted = batch
        return mse_loss(self.network(inputs), wanted)

    def validation_step(self, batch, index):
        inputs, wanted = batch
        self.log("val_loss", mse_loss(self.network(inputs), wanted))

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
        callbacks=[ModelCheckpoint("checkpoints", filename="adapters", monitor="val_loss"), CompressCheckpoint()],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitLoRA(), train, valid)

    fresh = load_from_checkpoint(LitLoRA, "checkpoints/adapters.compressed.safetensors")
    loss = trainer.validate(fresh, valid, verbose=False)[0]["val_loss"]
    base = fresh.network.unload()
    untouched = all(torch.equal(a, b) for a, b in zip(base.parameters(), pretrained().parameters(), strict=True))
    print(f"validation loss with the adapters loaded back: {loss:.4f}; base model untouched: {untouched}")
