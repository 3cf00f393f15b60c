"""Rounding errors of earlier matrices, made up for by later ones.

A matrix that is rounded by itself answers the inputs of the exact model well. In the file it gets other inputs: those
that the rounded matrices before it give. So matrices are rounded in the order in which the module uses them, and each
is first changed so that its outputs for the inputs that it really gets are as close as possible to those of the exact
model (:mod:`.correction`). All calibration batches go through the module together, one matrix after the other
(:mod:`.lockstep`), so this takes one pass over them for each file.

Sources: Nagel et al. 2020, "Up or down? Adaptive rounding for post-training quantization", section 3.3 (outputs of the
exact model for the inputs of the rounded one); Arai and Ichikawa 2025, "Quantization error propagation" (the
correction in closed form); Li et al. 2025, "GPTAQ: efficient finetuning-free quantization for asymmetric calibration".
"""

from lightning_compress.search.propagation.error_propagation import ErrorPropagation

__all__ = ["ErrorPropagation"]
