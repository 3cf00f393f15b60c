"""``smallest``, from its arguments to the file that it returns:

1. :mod:`.search` checks the arguments. :mod:`.baseline` scores the exact weights twice.
2. Families of plans are made (:mod:`..families`).
3. :mod:`.fewest_bytes` searches them for the smallest file: :mod:`..optimize` chooses each file that is evaluated,
   :mod:`..feasibility` which of the evaluated ones may be returned. Where none may, :mod:`.plain_storage` stores the
   weights in half precision or exactly.
4. With ``max_bytes`` instead, :mod:`.best_score` fits files to the size, and :mod:`.coordinate_search` exchanges bytes
   between parts of the model while the score rises.
5. :mod:`.metrics` writes into the file what is known of its search.

:mod:`.context` holds what all of these need.
"""

from lightning_compress.search.smallest_file.search import smallest

__all__ = [
    "smallest",
]
