"""Translation: when the training ends, the smallest file that loses at most 1 BLEU is searched, with calibration data.

BLEU compares translations with reference translations, 0 to 100. The languages are made up: words are numbers, and a
translation has every word replaced and neighbours exchanged.
"""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from sacrebleu import corpus_bleu
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from lightning_compress import CompressCheckpoint

WORDS, LENGTH = 60, 6
START = WORDS


def sentences(count: int) -> torch.Tensor:
    """Sentences ``[count, LENGTH]`` of word ids."""
    return torch.randint(WORDS, (count, LENGTH))


def translation(source: torch.Tensor) -> torch.Tensor:
    """Every word has its translation, and the words of each pair change places."""
    return ((source * 7 + 3) % WORDS).unflatten(1, (-1, 2)).flip(2).flatten(1)


class LitTranslation(LightningModule):
    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.source, self.target = nn.Embedding(WORDS, width), nn.Embedding(WORDS + 1, width)
        self.positions = nn.Embedding(LENGTH, width)
        encoder = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        decoder = nn.TransformerDecoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, 1)
        self.decoder = nn.TransformerDecoder(decoder, 1)
        self.head = nn.Linear(width, WORDS)

    def forward(self, source, previous):
        """Scores ``[batch, length, WORDS]`` of the words that follow ``previous: [batch, length]``."""
        length = previous.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        memory = self.encoder(self.source(source) + self.positions.weight)
        return self.head(self.decoder(self.target(previous) + self.positions.weight[:length], memory, tgt_mask=mask))

    def teacher_forcing(self, source):
        """Scores for each word of the right translation, given the words before it; and these words."""
        target = translation(source)
        previous = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], dim=1)
        return self(source, previous).flatten(0, 1), target.flatten()

    def training_step(self, source, index):
        return cross_entropy(*self.teacher_forcing(source))

    def translate(self, source):
        output = torch.full((len(source), 1), START)
        for _ in range(LENGTH):
            output = torch.cat([output, self(source, output)[:, -1:].argmax(-1)], dim=1)
        return output[:, 1:]

    def validation_step(self, source, index):
        found, right = (
            [" ".join(map(str, row)) for row in each.tolist()] for each in (self.translate(source), translation(source))
        )
        self.log("val_bleu", corpus_bleu(found, [right], tokenize="none").score, batch_size=len(source))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


class Calibration:
    """Some batches like those of the training; the loss of a batch, and what the module answers for it."""

    def __init__(self, batches):
        self.batches = list(batches)

    def __iter__(self):
        return iter(self.batches)

    def loss(self, module, batch):
        return cross_entropy(*module.teacher_forcing(batch))

    def outputs(self, module, batch):
        return module.teacher_forcing(batch)[0]


if __name__ == "__main__":
    seed_everything(1)
    train, valid = DataLoader(sentences(2048), 32, shuffle=True), DataLoader(sentences(64), 64)
    trainer = Trainer(
        max_epochs=4,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="best", monitor="val_bleu", mode="max"),
            CompressCheckpoint("auto", max_drop=1.0, calibration=Calibration(sentences(512).split(32)), effort="quick"),
        ],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = LitTranslation()
    trainer.fit(model, train, valid)
    scores = trainer.validate(model, valid, "checkpoints/best.compressed.safetensors", verbose=False)
    print(f"BLEU of the file that was loaded back: {scores[0]['val_bleu']:.1f}")
