"""Small runs on disk, and the page about them as a test reads it."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import torch
from torch import nn

from lightning_compress import compress
from lightning_compress.weights import Weights

EVIL = "<script>alert('&\"')</script>"
SEARCH = {
    "score_before": 35.25,
    "score_after": 35.0,
    "drop": 0.25,
    "interval": [-0.125, 0.625],
    "evaluations": 17,
    "frontier": [[2.0, 3000, 30.0], [1.0, 5000, 34.5]],
}
SENSITIVITY = {
    "measure": "val_bleu",
    "higher_is_better": True,
    "baseline": 35.0,
    "step": 100,
    "strengths": [{"label": "prune 20 %"}, {"label": "4 bits"}],
    "classes": ["encoder.0", "softmax"],
    "scores": [[34.5, None], [34.0, 30.0]],
    "bytes": [[1000, None], [2000, 2500]],
    "estimates": {"normalized error": [[0.125, None], [0.5, 0.25]]},
    "rank_correlation": {"normalized error": 0.8},
    "largest_ratio": {"encoder.0": 0.4, "softmax": 0.25},
}
TRANSLATIONS = {
    "step": 100,
    "signature": "nrefs:1|tok:none",
    "bleu_exact": 35.0,
    "bleu_compressed": 34.75,
    "drop": [0.25, -0.05, 0.5],
    "chrf_exact": 60.5,
    "chrf_compressed": 60.25,
    "samples": [{"source": "a dog", "reference": "ein Hund", "exact": "ein kleiner Hund", "compressed": "ein Hund da"}],
}
METRICS = """epoch,step,train_loss,val_loss,val_bleu,compression/bytes,compression/encoder.0/bytes
0,49,5.5,,,,
0,99,,4.5,20.0,9000,4000
1,199,,3.5,25.0,9500,4100
"""


def checkpoint(path, seed=0, prefix="encoder"):
    """Write a checkpoint of a small model."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(24, 32), nn.LayerNorm(32))
    state = {f"{prefix}.{name}": tensor for name, tensor in net.state_dict().items()}
    state |= {"softmax.weight": torch.randn(40, 32), "count": torch.tensor(3), "loss.weight": torch.ones(2)}
    state["tied"] = state["softmax.weight"]
    torch.save({"state_dict": state, "hyper_parameters": {"size": 24}, "pytorch-lightning_version": "2.6.0"}, path)
    return path


def run_folder(folder):
    """A run with everything in it: two different files, a copy of one, metrics and measurements."""
    checkpoints, logs = folder / "checkpoints", folder / "logs" / "version_0"
    checkpoints.mkdir(parents=True)
    logs.mkdir(parents=True)
    exact = checkpoint(checkpoints / "best.ckpt")
    weights = Weights.from_checkpoint(exact)
    archive = compress(weights, "paper-transformer").with_metrics({"search": SEARCH, "corpus": {"name": EVIL}})
    archive.save(checkpoints / "best.safetensors")
    archive.save(checkpoints / "last.safetensors")
    compress(weights, "half").save(checkpoints / "half.safetensors")
    (logs / "metrics.csv").write_text(METRICS)
    (checkpoints / "sensitivity.json").write_text(json.dumps(SENSITIVITY))
    (checkpoints / "translations.json").write_text(json.dumps(TRANSLATIONS))
    return folder


class Page(HTMLParser):
    """A parsed page: its tags with attributes, its text by section, its tables; unbalanced tags are an error."""

    VOID = frozenset({"meta", "br", "wbr"})

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.texts, self.tables = [], [], [], []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data.strip())
        if self.open and ("td" in self.open or "th" in self.open):
            self.tables[-1][-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def sections(self):
        return [attributes["class"] for tag, attributes in self.tags if tag == "section"]

    def values(self, name):
        """All values of an attribute."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]
