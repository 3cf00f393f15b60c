"""A GAN with two optimizers and manual optimization; the file that is shipped holds the generator alone."""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as logistic_loss
from torch.utils.data import DataLoader

from lightning_compress import CompressCheckpoint, load

NOISE = 8


def circle(count: int) -> torch.Tensor:
    """Points ``[count, 2]`` near the unit circle."""
    angles = 2 * torch.pi * torch.rand(count)
    return torch.stack([angles.cos(), angles.sin()], dim=1) + 0.02 * torch.randn(count, 2)


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, outputs)
    )


class LitGAN(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = network(NOISE, 2), network(2, 1)

    def training_step(self, real, index):
        for_generator, for_discriminator = self.optimizers()
        made = self.generator(torch.randn(len(real), NOISE))

        judged, right = self.discriminator(torch.cat([real, made.detach()])), torch.zeros(2 * len(real), 1)
        right[: len(real)] = 1
        for_discriminator.zero_grad()
        self.manual_backward(logistic_loss(judged, right))
        for_discriminator.step()

        for_generator.zero_grad()
        self.manual_backward(logistic_loss(self.discriminator(made), torch.ones(len(real), 1)))
        for_generator.step()

    def configure_optimizers(self):
        settings = {"lr": 2e-3, "betas": (0.5, 0.9)}
        generator = torch.optim.Adam(self.generator.parameters(), **settings)
        return generator, torch.optim.Adam(self.discriminator.parameters(), **settings)


if __name__ == "__main__":
    seed_everything(1)
    trainer = Trainer(
        max_epochs=4,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="gan"),
            CompressCheckpoint(exclude=["discriminator.*"]),
        ],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitGAN(), DataLoader(circle(4096), 64, shuffle=True))

    state = load("checkpoints/gan.compressed.safetensors")
    generator = network(NOISE, 2)
    generator.load_state_dict({name.removeprefix("generator."): tensor for name, tensor in state.items()})
    radii = generator(torch.randn(1000, NOISE)).norm(dim=1)
    print(f"generated points lie {radii.mean():.2f} ± {radii.std():.2f} from the centre of the circle of radius 1")
