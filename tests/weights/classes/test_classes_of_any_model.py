"""Layers of models of any kind, with the names of well-known packages: by numbers, kinds and shapes."""

from __future__ import annotations

from collections import OrderedDict

from each_case import naming
from torch import nn

from lightning_compress.search.model_parts import model_patterns, parts_of
from lightning_compress.weights import Weights
from lightning_compress.weights.names import matches


def tree(**modules: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(modules))


def conv() -> nn.Module:
    return nn.Conv2d(2, 2, 3)


def norm() -> nn.Module:
    return nn.BatchNorm2d(2)


def basic() -> nn.Module:
    return tree(conv1=conv(), bn1=norm(), conv2=conv(), bn2=norm())


def residual() -> nn.Module:
    layers = {f"layer{k}": nn.Sequential(basic(), basic()) for k in (1, 2)}
    return tree(conv1=conv(), bn1=norm(), **layers, fc=nn.Linear(2, 2))


def block(**more: nn.Module) -> nn.Module:
    return tree(ln_1=nn.LayerNorm(2), attn=nn.Linear(2, 6), ln_2=nn.LayerNorm(2), mlp=nn.Linear(2, 2), **more)


def gpt(layers: int = 2) -> nn.Module:
    inner = tree(wte=nn.Embedding(9, 2), h=nn.Sequential(*(block() for _ in range(layers))), ln_f=nn.LayerNorm(2))
    return tree(transformer=inner, lm_head=nn.Linear(2, 9, bias=False))


def plain() -> nn.Sequential:
    return nn.Sequential(conv(), norm(), nn.ReLU(), conv(), nn.Flatten(), nn.Linear(2, 2))


def dense() -> nn.Module:
    step = tree(norm=norm(), conv=conv())
    features = tree(
        conv0=conv(),
        norm0=norm(),
        denseblock1=tree(denselayer1=basic(), denselayer2=basic()),
        transition1=step,
        denseblock2=tree(denselayer1=basic()),
        norm5=norm(),
    )
    return tree(features=features, classifier=nn.Linear(2, 2))


def gan() -> nn.Module:
    generator = tree(fc=nn.Linear(2, 2), main=nn.Sequential(conv(), norm(), nn.ReLU(), conv()))
    return tree(generator=generator, discriminator=nn.Sequential(conv(), nn.ReLU(), conv()))


CASES = {
    "GPT-2": (gpt(), "embedding h.0 h.1 softmax"),
    "GPT-2 of one layer": (gpt(1), "embedding h.0 softmax"),
    "GPT-2 of twelve layers": (gpt(12), f"embedding {' '.join(f'h.{k}' for k in range(12))} softmax"),
    "a mixture of experts": (
        tree(model=tree(layers=nn.Sequential(block(experts=nn.Sequential(block(), block())), block()))),
        "layers.0 layers.1",
    ),
    "BERT": (
        tree(bert=tree(encoder=tree(layer=nn.Sequential(block(), block())), pooler=tree(dense=nn.Linear(2, 2)))),
        "encoder.0 encoder.1 pooler",
    ),
    "ResNet": (residual(), "conv1 layer1.0 layer1.1 layer2.0 layer2.1 fc"),
    "ResNet in a LightningModule": (tree(net=residual()), "conv1 layer1.0 layer1.1 layer2.0 layer2.1 fc"),
    "ResNet in a sequence": (
        nn.Sequential(residual(), nn.Linear(2, 2)),
        "conv1 layer1.0 layer1.1 layer2.0 layer2.1 fc layers.1",
    ),
    "ResNet beside a projection": (
        tree(resnet18=residual(), proj=nn.Linear(2, 2)),
        "conv1 layer1.0 layer1.1 layer2.0 layer2.1 fc proj",
    ),
    "DenseNet": (dense(), "conv0 denseblock.1 transition1 denseblock.2 softmax"),
    "VGG": (
        tree(features=nn.Sequential(conv(), norm(), nn.ReLU(), conv()), classifier=nn.Sequential(nn.Linear(2, 2))),
        "features.0 features.3 softmax",
    ),
    "numbered names": (
        tree(conv1=conv(), bn1=norm(), conv2=conv(), bn2=norm(), fc1=nn.Linear(2, 2), fc2=nn.Linear(2, 2)),
        "conv.1 conv.2 fc.1 fc.2",
    ),
    "a sequence": (plain(), "conv.0 conv.3 linear.5"),
    "a sequence in a LightningModule": (tree(net=plain()), "conv.0 conv.3 linear.5"),
    "a perceptron": (tree(net=nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))), "net.0 net.2"),
    "GAN": (gan(), "generator.fc generator.main.0 generator.main.3 discriminator.0 discriminator.2"),
    "LSTM": (
        tree(embedding=nn.Embedding(9, 2), lstm=nn.LSTM(2, 2, 2, bidirectional=True), fc=nn.Linear(4, 2)),
        "embedding lstm.0 lstm.1 fc",
    ),
    "a first norm": (tree(blocks=nn.Sequential(norm(), conv(), norm())), "blocks.1"),
    "one layer": (nn.Linear(2, 2), "other"),
    "norms alone": (tree(a=norm(), b=norm()), "a b"),
    "an autoencoder": (
        tree(encoder=nn.Sequential(conv(), conv()), fc_mu=nn.Linear(2, 2), decoder=nn.Sequential(conv())),
        "encoder.0 encoder.1 other decoder.0",
    ),
}


def test_the_layers_of_models_of_any_kind() -> None:
    for case, (module, expected) in CASES.items():
        with naming(case):
            found = [weight.class_name for weight in Weights.from_module(module)]
            assert list(dict.fromkeys(found)) == expected.split()


def test_a_last_norm_belongs_to_the_last_layer_and_the_state_dict_says_the_same_as_the_module() -> None:
    module = gpt(12)
    classes = {weight.name: weight.class_name for weight in Weights.from_module(module)}
    assert classes["transformer.ln_f.weight"] == "h.11"
    state = dict(sorted(module.state_dict().items()))  # as a safetensors file orders them
    assert {w.name: w.class_name for w in Weights.from_state_dict(state)} == classes


def test_every_part_of_a_search_is_selected_by_its_pattern() -> None:
    for case, (module, _) in CASES.items():
        with naming(case):
            matrices = [weight for weight in Weights.from_module(module) if weight.tensor.squeeze().ndim > 1]
            patterns = model_patterns(Weights.from_module(module)).parts
            for part, names in parts_of(matrices).items():
                assert [w.name for w in matrices if matches(patterns[part], w.class_name)] == list(names)


def test_a_search_tells_eight_parts_apart_the_largest_first() -> None:
    module = tree(**{chr(ord("a") + size): nn.Linear(size, 4) for size in range(2, 14)})
    assert list(parts_of(w for w in Weights.from_module(module) if w.tensor.ndim > 1)) == list("nmlkjihg")
