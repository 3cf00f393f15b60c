"""Codes the tensors of a plan so that each matrix makes up for the rounding errors before it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.compression.coded_tensors import CodedTensors
from lightning_compress.compression.payloads import CodedTensor, TensorWork
from lightning_compress.search.observe.stored_matrices import MatrixRows, StoredMatrices
from lightning_compress.search.propagation.exact_inputs import ExactInputs
from lightning_compress.search.propagation.lockstep import Wait, run_in_lockstep
from lightning_compress.search.propagation.matrix_inputs import MatrixInputs, small_operators
from lightning_compress.search.propagation.rounding_pass import RoundingPass
from lightning_compress.search.sensitivity.calibration import CalibrationData, Distillation, batches_of
from lightning_compress.weights import Weight, Weights
from lightning_compress.weights.bindings import Binding, bindings_of, parameters_of

_log = logging.getLogger(__name__)
_MAX_BATCHES = 64  # among which those that are used are spread


class ErrorPropagation:
    """Codes tensors so that each matrix makes up for the errors of the matrices that are used before it.

    Tensors that are no matrices, or that batches do not use or use more than once, are coded as they are.

    Args:
        weights: the exact weights.
        module: which has them as parameters.
        calibration: batches that fit the module, in the same order each time.
        loaded: context manager that loads the exact weights, sets evaluation mode, and restores the module at its end.

    Raises:
        SearchError: the batches cannot be iterated.
    """

    def __init__(
        self,
        weights: Weights,
        module: nn.Module,
        calibration: CalibrationData,
        loaded: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._loaded = loaded
        self._answer: Callable[[Any], object] = partial(_method_of(calibration), module)
        self._bindings = bindings_of(weights, module)
        devices = [parameter.get_device() for parameter in parameters_of(self._bindings)]
        self._gpu = devices[0] if devices else -1  # a new thread has the first one
        shapes = {weight.name: weight.tensor.shape for weight in weights}
        self._matrices = StoredMatrices({name: g for name, g in self._bindings.items() if _is_whole(g, shapes[name])})
        self._coded = CodedTensors()  # those that do not depend on others
        nbytes = sum(weight.tensor.nbytes for weight in weights)
        with loaded(), torch.no_grad(), small_operators():
            batches = list(islice(batches_of(calibration), _MAX_BATCHES))
            try:
                self._exact = ExactInputs.of(self._answer, batches, self._matrices, nbytes)
            except Exception as error:  # of any type: not every module can be watched
                self._exact = ExactInputs()
                _log.warning(
                    "inputs of matrices cannot be watched: calibration fails with %s: %s. Each matrix is rounded by "
                    "itself, without making up for the errors of earlier ones.",
                    type(error).__name__,
                    error,
                )

    def coded(self, weights: Sequence[Weight], works: Sequence[TensorWork]) -> Iterator[CodedTensor]:
        """Each tensor, in order, coded in the fewest bytes.

        Args:
            weights: the exact weights, those of the constructor.
            works: the work for each of them.

        Raises:
            PlanError: a method makes something that files cannot hold.
        """
        tensors = {weight.name: weight.tensor.detach().cpu() for weight in weights}
        of_name = {work.weight.name: work for work in works}
        corrected = {rows.name for rows in self._exact.inputs}
        rounding = RoundingPass(self._exact, self._bindings, tensors, of_name)
        with self._loaded(), torch.no_grad(), small_operators():
            alone = [name for name in of_name if name not in corrected]
            for name, coded in zip(alone, self._coded.of_works(works, tensors, set(alone)), strict=True):
                rounding.keep(name, coded)
            try:
                runs = [self._run(batch, rounding) for batch in self._exact.batches]
                run_in_lockstep(runs, rounding.arrived)
            except Exception as error:  # of any type: with rounded weights a module may fail
                _log.warning(
                    "a candidate failed on a calibration batch with %s: %s. Its later matrices do not make up for the "
                    "errors of the earlier ones.",
                    type(error).__name__,
                    error,
                )
        for name in tensors.keys() - rounding.coded.keys():
            rounding.coded[name] = of_name[name].coded(tensors[name])
        return iter([rounding.coded[weight.name] for weight in weights])

    def _run(self, batch: object, rounding: RoundingPass) -> Callable[[Wait[Tensor]], None]:
        def run(wait: Wait[Tensor]) -> None:
            def on_product(rows: MatrixRows, inputs: Tensor) -> bool:
                return rounding.used(rows, inputs, wait)

            with torch.cuda.device(self._gpu), torch.no_grad(), MatrixInputs(self._matrices, on_product):
                self._answer(batch)

        return run


def _method_of(calibration: CalibrationData) -> Callable[[nn.Module, Any], Tensor]:
    return calibration.outputs if isinstance(calibration, Distillation) else calibration.loss


def _is_whole(group: Sequence[Binding], shape: torch.Size) -> bool:
    """Whether each parameter holds the whole tensor, so that rows of both are the same."""
    return all(
        binding.parameter.shape == shape and (binding.tie is None or not binding.tie.offset) for binding in group
    )
