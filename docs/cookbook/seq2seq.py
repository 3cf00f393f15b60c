"""A Transformer with encoder and decoder, as T5 is one, that learns to write digits in reverse order."""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from lightning_compress import CompressCheckpoint, load_from_checkpoint

LENGTH, START, TOKENS = 4, 10, 11  # ten digits, and a token that begins every output


class LitSeq2Seq(LightningModule):
    def __init__(self, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.shared = nn.Embedding(TOKENS, width)  # one table for input, output and predictions, as in T5
        self.positions = nn.Embedding(LENGTH, width)
        self.transformer = nn.Transformer(
            width, 4, layers, layers, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.head = nn.Linear(width, TOKENS, bias=False)
        self.head.weight = self.shared.weight

    def forward(self, source, previous):
        """Scores ``[batch, length, TOKENS]`` of the tokens that follow ``previous: [batch, length]``."""
        length = previous.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        read = self.shared(source) + self.positions.weight
        written = self.shared(previous) + self.positions.weight[:length]
        return self.head(self.transformer(read, written, tgt_mask=mask, tgt_is_causal=True))

    def training_step(self, source, index):
        target = source.flip(1)
        previous = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], dim=1)
        return cross_entropy(self(source, previous).flatten(0, 1), target.flatten())

    def generate(self, source):
        """The most probable output, one token after another."""
        output = torch.full((len(source), 1), START)
        for _ in range(LENGTH):
            following = self(source, output[:, :LENGTH])[:, -1].argmax(-1)
            output = torch.cat([output, following[:, None]], dim=1)
        return output[:, 1:]

    def validation_step(self, source, index):
        self.log("val_correct", (self.generate(source) == source.flip(1)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


if __name__ == "__main__":
    seed_everything(1)
    train = DataLoader(torch.randint(10, (2048, LENGTH)), 32, shuffle=True)
    valid = DataLoader(torch.randint(10, (128, LENGTH)), 128)
    trainer = Trainer(
        max_epochs=3,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="best", monitor="val_correct", mode="max"),
            CompressCheckpoint(),
        ],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitSeq2Seq(), train, valid)

    model = load_from_checkpoint(LitSeq2Seq, "checkpoints/best.compressed.safetensors").eval()
    print("3 1 4 1 in reverse order:", model.generate(torch.tensor([[3, 1, 4, 1]])).tolist())
