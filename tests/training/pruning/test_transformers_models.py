"""The callbacks on a BERT and a T5 of ``transformers``, from a config: pruned, quantized, exported, read back."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import trainer
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import (
    CompressCheckpoint,
    Distill,
    Grid,
    GroupWise,
    Half,
    Plan,
    PruneDuringTraining,
    QuantizeDuringTraining,
    Rule,
    Weights,
    compress,
    load_from_checkpoint,
)
from lightning_compress.errors import TrainingError
from lightning_compress.training import (
    Grouping,
    LayerSkips,
    Masks,
    Schedule,
    drop_layers,
    shrink,
    shrink_to,
    structures_of,
)

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
LIKE_BERT = ("Bert", "Electra", "Roberta", "XLMRoberta")
WORDS = torch.randint(3, 30, (16, 6), generator=torch.Generator().manual_seed(0))
PADDED = (torch.arange(6)[None] < torch.arange(2, 18)[:, None]).long()
FOUR_BITS = Plan(Rule("*weight*", GroupWise(4, 16)), Rule("*", Half()))
ON_A_GRID = Plan(Rule("*weight*", Grid(0.02, trellis=0, rate_weight=0)), Rule("*", Half()))


def like_bert(name):
    config = getattr(transformers, f"{name}Config")(**SIZES, pad_token_id=1)
    return getattr(transformers, f"{name}Model")(config)


def like_bart(name):
    sizes = {"d_model": 16, "max_position_embeddings": 20, "vocab_size": 30, "pad_token_id": 1}
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_layers": 3, f"{part}_attention_heads": 4, f"{part}_ffn_dim": 24}
    config = getattr(transformers, f"{name}Config")(**sizes, decoder_start_token_id=1, eos_token_id=2)
    return getattr(transformers, f"{name}ForConditionalGeneration" if name != "Marian" else "MarianMTModel")(config)


def distilbert():
    sizes = {"vocab_size": 30, "dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 24, "max_position_embeddings": 20}
    return transformers.DistilBertModel(transformers.DistilBertConfig(**sizes))


def t5(**options):
    sizes = {"vocab_size": 30, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 3, "num_heads": 4}
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, decoder_start_token_id=0, **options))


class Classifier(pl.LightningModule):
    """A BERT that says whether the first word is among the first half of the vocabulary."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        config = transformers.BertConfig(**{**SIZES, "num_attention_heads": heads}, num_labels=2)
        self.bert = transformers.BertForSequenceClassification(config)

    def forward(self, words):
        return self.bert(input_ids=words).logits

    def training_step(self, batch, batch_idx):
        (words,) = batch
        return torch.nn.functional.cross_entropy(self(words), (words[:, 0] < 15).long())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def train_dataloader(self):
        return DataLoader(TensorDataset(WORDS), batch_size=4)

    def on_load_checkpoint(self, checkpoint):
        shrink_to(self, checkpoint["state_dict"])


class Copies(Classifier):
    """A T5 that copies."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        del self.bert
        self.t5 = t5()

    def forward(self, words):
        return self.t5(input_ids=words, labels=words).logits

    def training_step(self, batch, batch_idx):
        return self.t5(input_ids=batch[0], labels=batch[0]).loss


def prune(module, kind, share=0.5):
    module.eval()
    masks = Masks(module, Weights.from_module(module), None, grouping=Grouping(kind))
    masks.update(Schedule(share, shape="one-shot"), 0)


def size(module):
    return sum(each.numel() for each in module.parameters())


@torch.no_grad()
def computed(module):
    if hasattr(module, "generate"):
        return module(input_ids=WORDS, attention_mask=PADDED, decoder_input_ids=WORDS[:, :4]).logits
    return module(input_ids=WORDS, attention_mask=PADDED).last_hidden_state


def test_models_of_transformers_are_shrunk():
    makes = {name: lambda name=name: like_bert(name) for name in LIKE_BERT}
    makes |= {name: lambda name=name: like_bart(name) for name in ("Bart", "Marian", "MBart")}
    makes |= {"DistilBERT": distilbert, "T5": t5, "T5 with gates": lambda: t5(feed_forward_proj="gated-gelu")}
    for name, make in makes.items():
        for kind in ("head", "neuron", "layer"):
            with naming((name, kind)):
                torch.manual_seed(0)
                module = make()
                prune(module, kind, 0.34 if kind == "layer" else 0.5)
                before, pruned = size(module), computed(module)
                shrink(module)
                torch.testing.assert_close(computed(module), pruned, rtol=1e-4, atol=1e-5)
                assert (size(module) == before) == (kind == "head" and name.startswith("T5"))
                fresh = shrink_to(make(), module.state_dict()).eval()
                fresh.load_state_dict(module.state_dict())
                torch.testing.assert_close(computed(fresh), pruned, rtol=1e-4, atol=1e-5)


def test_shrunk_models_generate_with_their_cache():
    for name, make, layers in (
        ("T5", t5, ("encoder.block", "decoder.block")),
        ("Marian", lambda: like_bart("Marian"), ("model.encoder.layers", "model.decoder.layers")),
    ):
        with naming(name):
            torch.manual_seed(0)
            module = make()
            drop_layers(module, layers=[f"{layer}.1" for layer in layers])
            for kind in ("head", "neuron"):
                prune(module, kind)
            shrink(module)
            options = {"input_ids": WORDS[:2], "max_new_tokens": 5, "do_sample": False}
            assert torch.equal(module.generate(**options, use_cache=True), module.generate(**options, use_cache=False))
    module = t5()
    with pytest.raises(TrainingError, match=r"encoder\.block\.0 computes what the layers after it read"):
        drop_layers(module, layers=["encoder.block.0"])


def test_layers_of_both_kinds_are_skipped_but_the_one_that_others_need():
    for name, make, count in (("bert", lambda: like_bert("Bert"), 3), ("t5", t5, 4)):
        with naming(name):
            module = make().train()
            skips = LayerSkips(module, 0.9)
            assert len(skips.layers) == count
            assert not {"encoder.block.0", "decoder.block.0"} & set(skips.layers)
            if name == "t5":
                module(input_ids=WORDS, labels=WORDS).loss.backward()
            else:
                module(input_ids=WORDS).last_hidden_state.sum().backward()
            untouched = [key for key, layer in skips.layers.items() if next(layer.parameters()).grad is None]
            assert 0 < len(untouched) <= count


def test_training_pruning_and_quantization_go_together_and_the_file_is_read_back(tmp_path):
    for name, make, kind, plan in (
        ("bert", Classifier, "head", FOUR_BITS),
        ("bert", Classifier, "neuron", ON_A_GRID),
        ("t5", Copies, "neuron", FOUR_BITS),
    ):
        with naming((name, kind)):
            folder, module = tmp_path / name / kind, make()
            pruning = PruneDuringTraining(0.5, end=6, every=2, granularity=kind, criterion="taylor")
            save = ModelCheckpoint(folder, filename="last")
            callbacks = (pruning, QuantizeDuringTraining(plan), Distill(name, share=0.3), save)
            trainer(folder, *callbacks, CompressCheckpoint(plan, on_error="raise"), max_epochs=2).fit(module)
            zero = [int(each.zero_units().sum()) for each in structures_of(module, kind)]
            loaded = load_from_checkpoint(make, folder / "last.compressed.safetensors")
            assert [int(each.zero_units().sum()) for each in structures_of(loaded, kind)] == zero
            assert sum(zero) == sum(each.units for each in structures_of(module, kind)) // 2
            before, expected = size(loaded), loaded.eval()(WORDS)
            shrink(loaded)
            assert size(loaded) < before
            torch.testing.assert_close(loaded(WORDS), expected, rtol=1e-4, atol=1e-5)
            path = folder / "shrunk.safetensors"
            compress(loaded, plan).save(path)
            assert size(load_from_checkpoint(make, path)) == size(loaded)
