"""A BERT-like classifier: a Transformer encoder that reads word ids and says what a sentence is about."""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint, load_from_checkpoint

WORDS, TOPICS, LENGTH = 500, 5, 16


def sentences(count: int) -> TensorDataset:
    """Sentences ``[count, LENGTH]`` of word ids, and their topics: half of the words are of the topic."""
    topics = torch.randint(TOPICS, (count,))
    about = torch.randint(WORDS // TOPICS, (count, LENGTH)) + topics[:, None] * (WORDS // TOPICS)
    others = torch.randint(WORDS, (count, LENGTH))
    return TensorDataset(torch.where(torch.rand(count, LENGTH) < 0.5, about, others), topics)


class LitClassifier(LightningModule):
    def __init__(self, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.words = nn.Embedding(WORDS, width)
        self.positions = nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.classifier = nn.Linear(width, TOPICS)

    def forward(self, ids):
        states = self.words(ids) + self.positions.weight
        return self.classifier(self.encoder(states).mean(1))

    def training_step(self, batch, index):
        ids, topics = batch
        return cross_entropy(self(ids), topics)

    def validation_step(self, batch, index):
        ids, topics = batch
        self.log("val_accuracy", (self(ids).argmax(1) == topics).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


if __name__ == "__main__":
    seed_everything(1)
    train, valid = DataLoader(sentences(1024), 32, shuffle=True), DataLoader(sentences(256), 128)
    trainer = Trainer(
        max_epochs=2,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="best", monitor="val_accuracy", mode="max"),
            CompressCheckpoint("small"),
        ],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitClassifier(), train, valid)

    model = load_from_checkpoint(LitClassifier, "checkpoints/best.compressed.safetensors")
    accuracy = trainer.validate(model, valid, verbose=False)[0]["val_accuracy"]
    print(f"accuracy of the file that was loaded back: {accuracy:.3f}")
