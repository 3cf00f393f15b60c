"""Models of images and vectors: ResNet, diffusion U-Net, ArcFace, GAN, LoRA adapters, an averaged model."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.models.base import Model


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalization, and a shortcut around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, image):
        return F.relu(image + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(image))))))


class ResNet(Model):
    """A residual network; the running statistics of its norms are buffers."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(ResidualBlock(channels))
        self.fc = nn.Linear(channels, 5)

    def example(self):
        return torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(5))

    def forward(self, image):
        return self.fc(self.blocks(self.stem(image)).mean((2, 3)))


class Diffusion(ResNet):
    """A U-Net that removes noise, whose schedule is in buffers, one of them in double precision."""

    def __init__(self, channels: int = 4, steps: int = 50) -> None:
        super().__init__(channels)
        self.save_hyperparameters()
        betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)
        kept = (1 - betas).cumprod(0)
        self.register_buffer("betas", betas)
        self.register_buffer("alphas_cumprod", kept.float())
        self.register_buffer("sqrt_alphas_cumprod", kept.sqrt().float())
        self.register_buffer("sqrt_one_minus_alphas_cumprod", (1 - kept).sqrt().float())
        self.time = nn.Embedding(steps, channels)
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, channels)
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.out = nn.Conv2d(2 * channels, 3, 1)
        del self.fc

    def forward(self, image):
        steps = torch.arange(len(image)) * 5
        shape = (-1, 1, 1, 1)
        noise = torch.linspace(-1, 1, image[0].numel()).view(image[0].shape)
        noisy = self.sqrt_alphas_cumprod[steps].view(shape) * image
        noisy = noisy + self.sqrt_one_minus_alphas_cumprod[steps].view(shape) * noise
        high = self.blocks(self.stem(noisy))
        low = F.silu(self.norm(self.down(high))) + self.time(steps)[..., None, None]
        return self.out(torch.cat([high, self.up(low)], 1)) * (1 - self.betas[steps].float()).view(shape)


class ArcFaceLoss(nn.CrossEntropyLoss):
    """The additive angular margin loss (Deng et al. 2019); the centre of each class is trained."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, width))

    def cosines(self, embedding):
        return F.linear(F.normalize(embedding), F.normalize(self.centres))

    def forward(self, embedding, labels):
        angles = self.cosines(embedding).clamp(-0.999, 0.999).acos()
        margin = 0.5 * F.one_hot(labels, len(self.centres))
        return super().forward(8 * (angles + margin).cos(), labels)


class ArcFace(Model):
    """An embedding of faces; the class of a face is that of the nearest centre, which only the loss holds."""

    def __init__(self, width: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, width))
        self.loss = ArcFaceLoss(width, classes)

    def loss_of(self, batch):
        return self.loss(self.body(batch), torch.arange(len(batch)) % self.hparams.classes)

    def forward(self, faces):
        return self.loss.cosines(self.body(faces))


class GAN(Model):
    """A generator and a discriminator, optimized by hand in turn."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 6))
        self.discriminator = nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(6, width)), nn.LeakyReLU(), nn.Linear(width, 1)
        )

    def training_step(self, batch, batch_idx):
        generating, judging = self.optimizers()
        false = self.generator(batch)
        judgements = self.discriminator(torch.cat([batch, false.detach()]))
        self.step(
            judging, F.binary_cross_entropy_with_logits(judgements, torch.arange(2.0).repeat_interleave(4)[:, None])
        )
        self.step(generating, -self.discriminator(false).mean())

    def step(self, optimizer, loss):
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self):
        parts = (self.generator, self.discriminator)
        return [torch.optim.Adam(part.parameters(), lr=0.01) for part in parts]

    def forward(self, noise):
        image = self.generator(noise)
        return torch.cat([image, self.discriminator(image)], 1)


class LoRALinear(nn.Linear):
    """A frozen matrix, and the product of two trained ones beside it (Hu et al. 2021)."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__(inputs, outputs)
        self.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, inputs) / inputs)
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, inputs):
        return super().forward(inputs) + inputs @ self.lora_a.mT @ self.lora_b.mT


class LoRA(Model):
    """A frozen network with adapters; the norm between its layers is frozen too."""

    def __init__(self, width: int = 12, rank: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.first, self.second = LoRALinear(6, width, rank), LoRALinear(width, 4, rank)
        self.norm = nn.LayerNorm(width).requires_grad_(False)

    def forward(self, inputs):
        return self.second(self.norm(self.first(inputs).tanh()))


class Averaged(Model):
    """A network and its exponential moving average, which makes the predictions; ``n_averaged`` is a buffer."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, 3))
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
        self.average.requires_grad_(False)

    def loss_of(self, batch):
        return self.net(batch).square().mean()

    def on_train_batch_end(self, *_):
        self.average.update_parameters(self.net)

    def forward(self, inputs):
        return self.average(inputs)
