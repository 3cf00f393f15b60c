"""Codes and decodes the arrays of a file once, in the environment of a peer, and prints seconds and bytes as JSON.

python worker.py PROGRAM SOURCE.npz RESTORED.npz CODED
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
QP = -20  # of NNCodec; its steps are about those of the grids that are measured


def zipnn(arrays: Arrays, coded: Path) -> tuple[Callable[[], object], Callable[[], Arrays]]:
    """Every array as float32, losslessly, on one thread."""
    from zipnn import ZipNN

    coder, frames = ZipNN(bytearray_dtype="float32", input_format="byte", threads=1), {}

    def encode() -> None:
        for name, array in arrays.items():
            frames[name] = bytes(coder.compress(bytearray(array.tobytes())))  # a copy: it overwrites its input
        coded.write_bytes(b"".join(frames.values()))

    def decode() -> Arrays:
        return {
            name: np.frombuffer(coder.decompress(f), "<f4").reshape(arrays[name].shape) for name, f in frames.items()
        }

    return encode, decode


def nncodec(arrays: Arrays, coded: Path, trellis: bool) -> tuple[Callable[[], object], Callable[[], Arrays]]:
    """All arrays in one bit stream."""
    from benchmarks.rate_distortion.peers.worker import stand_in

    stand_in()
    from nncodec import nnc

    def encode() -> None:
        nnc.compress(dict(arrays), bitstream_path=str(coded), qp=QP, use_dq=trellis, param_opt=True, row_skipping=True)

    def decode() -> Arrays:
        return dict(nnc.decompress(bytearray(coded.read_bytes())))

    return encode, decode


def main() -> None:
    program, source, restored, coded = sys.argv[1], *map(Path, sys.argv[2:5])
    clock = time.process_time if sys.argv[5:] == ["cpu"] else time.perf_counter
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files}
    if program == "zipnn":
        encode, decode = zipnn(arrays, coded)
    else:
        encode, decode = nncodec(arrays, coded, program == "nncodec-trellis")
    began = clock()
    encode()
    encoded = clock()
    again = decode()
    decoded = clock()
    np.savez(restored, **again)
    print(json.dumps({"encode": encoded - began, "decode": decoded - encoded, "bytes": coded.stat().st_size}))


if __name__ == "__main__":
    main()
