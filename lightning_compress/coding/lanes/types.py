"""Arrays that the loops of the coder take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.unsignedinteger[Any]]  # of one or two bytes
Counts = NDArray[np.int64]
Slots = NDArray[np.uint16]
States = NDArray[np.uint32]
Code = NDArray[np.uint16]
