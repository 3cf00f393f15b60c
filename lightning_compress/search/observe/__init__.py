"""Statistics of the inputs that each weight matrix receives while the module is evaluated with its exact weights.

:class:`ActivationObserver` is a dispatch mode: inside its block it sees every operator call. Handlers recognise the
operators that use a weight matrix (``operator_handlers``) and the fused kernels that hide such operators inside
(``fused_operators``). What they record is summed in one :class:`InputStatistics` per stored matrix: the Gram matrix of
its inputs, embedding lookups per row, and the softmax curvature per output row. The search derives error feedback and
row steps from them, without calibration data.
"""

from lightning_compress.search.observe.activation_observer import ActivationObserver
from lightning_compress.search.observe.input_statistics import InputStatistics

__all__ = [
    "ActivationObserver",
    "InputStatistics",
]
