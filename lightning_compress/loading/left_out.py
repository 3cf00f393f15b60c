"""Tells of trained parameters that a file leaves out, so that loading does not keep silent about them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch import nn

from lightning_compress.messages.name_lists import first_names
from lightning_compress.weights import strip_wrappers

_log = logging.getLogger(__name__)


def tell_left_out(module: nn.Module, excluded: Iterable[str], source: str) -> None:
    """Write to the log which trained parameters of a module a file leaves out: they keep the values that they have.

    Files of this version leave out only those that ``exclude`` or ``compression_exclude()`` names; older ones also left
    out the parameters of losses.

    Args:
        module: the module that the file was loaded into.
        excluded: names that were left out of the file.
        source: name of the file.
    """
    left_out = {strip_wrappers(name) for name in excluded}
    trained = (name for name, parameter in module.named_parameters() if parameter.requires_grad)
    names = [name for name in trained if strip_wrappers(name) in left_out]
    if names:
        _log.warning(
            "%s leaves out %s, which the module trains: they keep the values that its constructor gave them",
            source,
            first_names(names),
        )
