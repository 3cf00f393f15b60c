"""Codes or decodes one file with NNCodec; runs in the peers' environment, never in the package's.

    python worker.py encode WEIGHTS.npz FILE.nnc '{"qp": -20}'
    python worker.py decode FILE.nnc WEIGHTS.npz

NNCodec imports torchvision and OpenCV for its data sets and image transforms, and uses neither to code tensors.
Stand-ins take their place here, so that gigabytes need not be installed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

ABSENT = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.models", "cv2")


class StandIn:
    """Any class of a module that is not there: can be made and derived from, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


class AbsentModule(ModuleType):
    """A module whose every public name is :class:`StandIn`."""

    def __getattr__(self, name: str) -> type[StandIn]:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn


def stand_in() -> None:
    """Put stand-ins in the place of the modules that NNCodec imports without need."""
    for name in ABSENT:
        sys.modules[name] = AbsentModule(name)
        package, _, module = name.rpartition(".")
        if package:
            setattr(sys.modules[package], module, sys.modules[name])


def encode(weights: Path, file: Path, options: dict[str, object]) -> None:
    """Code the arrays of an ``.npz`` file.

    ``options`` go to ``nncodec.nnc.compress``; what they leave open is as ``nncodec.nn.encode`` has it.
    """
    from nncodec import nnc

    with np.load(weights) as arrays:
        state = {name: arrays[name] for name in arrays.files}
    nnc.compress(
        state, bitstream_path=str(file), **{"use_dq": True, "param_opt": True, "row_skipping": True, **options}
    )


def decode(file: Path, weights: Path) -> None:
    """Write the arrays that a coded file holds to an ``.npz`` file."""
    from nncodec import nnc

    np.savez(weights, **nnc.decompress(bytearray(file.read_bytes())))


def main() -> None:
    stand_in()
    command, *arguments = sys.argv[1:]
    if command == "encode":
        encode(Path(arguments[0]), Path(arguments[1]), json.loads(arguments[2]))
    elif command == "decode":
        decode(Path(arguments[0]), Path(arguments[1]))
    else:
        raise SystemExit(f"the command is {command!r}, expected 'encode' or 'decode'")


if __name__ == "__main__":
    main()
