"""The weights of a model: read from a source, assigned to classes, and matched to module parameters."""

from lightning_compress.weights.bindings import Binding, Owner, bindings_of, parameters_of, summed_gradient
from lightning_compress.weights.classes import classify
from lightning_compress.weights.constants import BUFFER, exact_reason, is_guess
from lightning_compress.weights.deferred import DeferredTensor, contiguous_strides
from lightning_compress.weights.magnitude import SIGNED_WORDS, Cut, PrunedTensor, smallest_magnitudes
from lightning_compress.weights.matching import counterparts, load_into, match_state
from lightning_compress.weights.metadata.checkpoint_record import (
    ASSETS_KEY,
    LIGHTNINGS_OWN,
    VERSION_KEY,
    CheckpointRecord,
    lightning_package,
)
from lightning_compress.weights.metadata.exact_json import NotHeldError, dump, is_held, parse
from lightning_compress.weights.metadata.module_metadata import is_metric
from lightning_compress.weights.names import matches, matches_any, matches_as_written, strip_wrappers
from lightning_compress.weights.reading.safetensors_file import SAFETENSORS_DTYPES
from lightning_compress.weights.storable.state_dict import MAX_DIMENSIONS
from lightning_compress.weights.ties import Tie
from lightning_compress.weights.values.fingerprint import content_digest
from lightning_compress.weights.values.flat_values import (
    as_bytes,
    byte_array,
    chunks,
    flattened,
    on_cpu,
    pieces,
    true_positions,
)
from lightning_compress.weights.values.moments import all_finite, power_of_two_near, standard_deviation
from lightning_compress.weights.weights import Weight, Weights
from lightning_compress.weights.workers import in_groups, in_tensor_order, tensor_workers

__all__ = [
    "ASSETS_KEY",
    "BUFFER",
    "LIGHTNINGS_OWN",
    "MAX_DIMENSIONS",
    "SAFETENSORS_DTYPES",
    "SIGNED_WORDS",
    "VERSION_KEY",
    "Binding",
    "CheckpointRecord",
    "Cut",
    "DeferredTensor",
    "NotHeldError",
    "Owner",
    "PrunedTensor",
    "Tie",
    "Weight",
    "Weights",
    "all_finite",
    "as_bytes",
    "bindings_of",
    "byte_array",
    "chunks",
    "classify",
    "content_digest",
    "contiguous_strides",
    "counterparts",
    "dump",
    "exact_reason",
    "flattened",
    "in_groups",
    "in_tensor_order",
    "is_guess",
    "is_held",
    "is_metric",
    "lightning_package",
    "load_into",
    "match_state",
    "matches",
    "matches_any",
    "matches_as_written",
    "on_cpu",
    "parameters_of",
    "parse",
    "pieces",
    "power_of_two_near",
    "smallest_magnitudes",
    "standard_deviation",
    "strip_wrappers",
    "summed_gradient",
    "tensor_workers",
    "true_positions",
]
