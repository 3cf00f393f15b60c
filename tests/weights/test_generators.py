"""A module called generator is a projection onto words, or a network of its own: its layers tell."""

from __future__ import annotations

from each_case import naming
from torch import nn

from lightning_compress.weights.classes import classify


def test_the_layers_of_a_generator_tell_what_it_is() -> None:
    cases = {
        "a linear layer": (["generator.weight", "generator.bias"], "softmax"),
        "a wrapped linear layer": (["model.generator.proj.weight", "model.generator.proj.bias"], "softmax"),
        "a sequence with one layer": (["generator.0.weight", "generator.0.bias"], "softmax"),
        "a GAN's": (["generator.0.weight", "generator.0.bias", "generator.2.weight"], "generator.0 generator.2"),
        "a GAN's in a wrapper": (["_orig_mod.generator.fc.weight", "_orig_mod.generator.conv.weight"], "fc conv"),
        "a GAN's beside its critic": (
            ["net.generator.a.weight", "net.generator.b.0.weight", "net.critic.weight"],
            "generator.a generator.b.0 critic",
        ),
    }
    for case, (names, expected) in cases.items():
        with naming(case):
            assert list(dict.fromkeys(classify(names).values())) == expected.split()


def test_a_projection_within_a_network_is_one() -> None:
    module = nn.ModuleDict({"embedding": nn.Embedding(50, 8), "generator": nn.Sequential(nn.Linear(8, 8))})
    module["generator"].append(nn.Linear(8, 50))
    found = classify(dict(module.named_parameters()), module=module)
    assert found["generator.0.weight"] == "generator.0"
    assert found["generator.1.weight"] == "softmax"
