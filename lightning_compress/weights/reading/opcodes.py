"""Checks the opcodes of a pickle before it is unpickled.

Some pickles exhaust or crash a process although no code of the file is run: a memo index far beyond the number of
objects makes the unpickler allocate that many slots, the hash of a deeply nested tuple overflows the C stack, and the
hash of a tuple that holds another one twice, which holds a third one twice, takes exponential time.
"""

from __future__ import annotations

import pickletools
from typing import Any, BinaryIO, NamedTuple

from lightning_compress.errors import WeightsError

_MAX_DEPTH = 1000  # levels of nested objects; pickle.dump itself reaches Python's recursion limit of 1000 earlier
_MAX_MEMO_GAP = 1000  # pickletools.optimize leaves gaps between the indices
_MAX_NAME = 1000  # characters of the path of a class
_MAX_HASHED = 1_000_000  # elements of all tuples that are keys or items of sets, nested and repeated ones counted again
_NAMES = frozenset({"GLOBAL", "INST"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_FILLS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_HASHABLE = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"})  # collections that can be keys
# Opcodes that hash → which of the objects that they take are hashed; the first one of some is the collection.
_HASHED = {
    "DICT": slice(0, None, 2),
    "SETITEM": slice(1, None, 2),
    "SETITEMS": slice(1, None, 2),
    "ADDITEMS": slice(1, None),
    "FROZENSET": slice(0, None),
}
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})  # name objects that this process has registered with copyreg


def checked_pickle(file: BinaryIO) -> bytes:
    """The bytes of the pickle that begins at the position of a file; the position moves behind it.

    Raises:
        WeightsError: the pickle nests too deeply, uses a memo index, a name or a key that cannot occur, or names a
            registered extension.
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


class _Object(NamedTuple):
    """What is known of an object on the stack: its levels of nesting, and the elements that its hash visits."""

    depth: int
    elements: int


_PLAIN = _Object(0, 1)


class _Stack:
    """The stack of an unpickler with the cost of each object instead of the object."""

    def __init__(self) -> None:
        self.objects: list[_Object] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Object] = {}
        self.hashed = 0

    def apply(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do to the costs what one opcode does to the objects."""
        name = opcode.name
        if name == "MARK":
            self.marks.append(len(self.objects))
        elif name in _PUTS:
            self.memo[argument] = self.objects[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.objects[-1]
        elif name in _GETS:
            self.objects.append(self.memo[argument])
        elif name == "DUP":
            self.objects.append(self.objects[-1])
        else:
            self._replace(opcode)

    def _replace(self, opcode: pickletools.OpcodeInfo) -> None:
        """Pop the objects that the opcode takes, and push what it makes of them."""
        name, popped = opcode.name, self._popped(opcode)
        if name in _HASHED:
            self._hash(popped[_HASHED[name]])
        if not opcode.stack_after:
            return
        if not popped:
            self.objects.append(_PLAIN)
            return
        if name in _FILLS:
            depth = max([popped[0].depth, *(1 + inner.depth for inner in popped[1:])])
        else:
            depth = 1 + max(inner.depth for inner in popped)
        if depth > _MAX_DEPTH:
            raise WeightsError(f"has a pickle that nests objects more than {_MAX_DEPTH} levels deep")
        elements = sum(inner.elements for inner in popped) if name in _HASHABLE else 1
        self.objects.append(_Object(depth, min(elements, _MAX_HASHED + 1)))

    def _hash(self, keys: list[_Object]) -> None:
        """Add the elements of keys: the hash of a tuple visits them again each time, and so does a comparison."""
        self.hashed += sum(key.elements for key in keys if key.elements > 1)
        if self.hashed > _MAX_HASHED:
            raise WeightsError(f"has a pickle with tuples of more than {_MAX_HASHED:,} elements as keys: it is damaged")

    def _popped(self, opcode: pickletools.OpcodeInfo) -> list[_Object]:
        taken = opcode.stack_before
        if pickletools.markobject in taken:
            start = self.marks.pop() - taken.index(pickletools.markobject)
        elif opcode.name == "POP" and self.marks and self.marks[-1] == len(self.objects):
            self.marks.pop()
            return []
        else:
            start = len(self.objects) - len(taken)
        if start < 0:
            raise WeightsError("has a damaged pickle, which takes objects from an empty stack")
        popped = self.objects[start:]
        del self.objects[start:]
        return popped
