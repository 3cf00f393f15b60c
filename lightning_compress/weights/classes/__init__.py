"""The class of each weight: the part of the model it belongs to.

Translation models are divided as in the reference paper (section 2): source embedding, target embedding, encoder,
decoder and softmax, encoder and decoder further by layer. What these rules do not name is divided by the numbered
layers of the module: ``h.3`` of a GPT-2, ``layer2.0`` of a ResNet.
"""

from lightning_compress.weights.classes.assignment import classify

__all__ = ["classify"]
