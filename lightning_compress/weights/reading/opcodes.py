"""Checks the opcodes of a pickle before it is unpickled.

Three things can exhaust or crash a process although no code of the file is run: a memo index far beyond the number of
objects makes the unpickler allocate that many slots, the hash of a deeply nested tuple overflows the C stack, and torch
matches the names that it refuses with patterns that take quadratic time.
"""

from __future__ import annotations

import pickletools
from typing import Any, BinaryIO

from lightning_compress.errors import WeightsError

_MAX_DEPTH = 1000  # levels of nested objects; pickle.dump itself reaches Python's recursion limit of 1000 earlier
_MAX_MEMO_GAP = 1000  # pickletools.optimize leaves gaps between the indices
_MAX_NAME = 1000  # characters of the path of a class
_NAMES = frozenset({"GLOBAL", "INST"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_FILLS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})  # name objects that this process has registered with copyreg


def checked_pickle(file: BinaryIO) -> bytes:
    """The bytes of the pickle that begins at the position of a file; the position moves behind it.

    Raises:
        WeightsError: the pickle nests too deeply, uses a memo index or a name that cannot occur, or names a registered
            extension.
    """
    start, stack = file.tell(), _Stack()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in _EXTENSIONS:
            raise WeightsError("has a pickle that uses the extension registry of copyreg, which checkpoints never do")
        if opcode.name in _NAMES and len(str(argument)) > _MAX_NAME:
            raise WeightsError(f"has a pickle that names a class in {len(str(argument))} characters: it is damaged")
        if opcode.name in _PUTS and int(argument or 0) > _MAX_MEMO_GAP + 10 * count:
            raise WeightsError(f"has a pickle that stores object {argument} after {count} operations: it is damaged")
        stack.apply(opcode, argument)
    end = file.tell()
    file.seek(start)
    return file.read(end - start)


class _Stack:
    """The stack of an unpickler with the nesting depth of each object instead of the object."""

    def __init__(self) -> None:
        self.depths: list[int] = []
        self.marks: list[int] = []
        self.memo: dict[int, int] = {}

    def apply(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do to the depths what one opcode does to the objects."""
        name = opcode.name
        if name == "MARK":
            self.marks.append(len(self.depths))
        elif name in _PUTS:
            self.memo[argument] = self.depths[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.depths[-1]
        elif name in _GETS:
            self.depths.append(self.memo[argument])
        elif name == "DUP":
            self.depths.append(self.depths[-1])
        else:
            self._replace(opcode)

    def _replace(self, opcode: pickletools.OpcodeInfo) -> None:
        """Pop the objects that the opcode takes, and push what it makes of them."""
        popped = self._popped(opcode)
        if not opcode.stack_after:
            return
        if opcode.name in _FILLS:
            depth = max([popped[0], *(1 + inner for inner in popped[1:])])
        else:
            depth = 1 + max(popped) if popped else 0
        if depth > _MAX_DEPTH:
            raise WeightsError(f"has a pickle that nests objects more than {_MAX_DEPTH} levels deep")
        self.depths.append(depth)

    def _popped(self, opcode: pickletools.OpcodeInfo) -> list[int]:
        taken = opcode.stack_before
        if pickletools.markobject in taken:
            start = self.marks.pop() - taken.index(pickletools.markobject)
        elif opcode.name == "POP" and self.marks and self.marks[-1] == len(self.depths):
            self.marks.pop()
            return []
        else:
            start = len(self.depths) - len(taken)
        if start < 0:
            raise WeightsError("has a damaged pickle, which takes objects from an empty stack")
        popped = self.depths[start:]
        del self.depths[start:]
        return popped
