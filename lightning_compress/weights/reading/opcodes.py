"""Checks the opcodes of a pickle before it is unpickled.

Some pickles exhaust or crash a process although no code of the file is run. A memo index far beyond the number of
objects makes the unpickler allocate that many slots; the hash of a deeply nested tuple overflows the C stack. A short
pickle can use an object over and over: as a key whose hash visits it each time, or as an argument that is copied each
time, and exponentially if it holds another one twice, which holds a third one twice. Numbers that have one hash make a
dictionary compare each with all others. So what an unpickler would do is counted first.
"""

from __future__ import annotations

import pickletools
from collections import Counter
from typing import Any, BinaryIO

from lightning_compress.errors import WeightsError

_MAX_DEPTH = 1000  # levels of nested objects; pickle.dump itself reaches Python's recursion limit of 1000 earlier
_MAX_MEMO_GAP = 1000  # pickletools.optimize leaves gaps between the indices
_MAX_NAME = 1000  # characters of the path of a class
_MAX_EQUAL_HASHES = 100  # of different keys of one collection
_LEAST_COST = 1_000_000  # objects that hashes and copies may visit,
_COST_PER_BYTE = 20  # and more for each byte of the pickle
_PER_OBJECT = 64  # characters or bytes that cost as much as an object
_NAMES = frozenset({"GLOBAL", "INST"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_FILLS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
# Opcodes that hash → which of the objects that they take are hashed; the first one of some is the collection.
_HASHED = {
    "DICT": slice(0, None, 2),
    "SETITEM": slice(1, None, 2),
    "SETITEMS": slice(1, None, 2),
    "ADDITEMS": slice(1, None),
    "FROZENSET": slice(0, None),
}
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_COPIES = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "INST", "OBJ", "BINPERSID", "STACK_GLOBAL", "DICT", "FROZENSET"})
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})  # name objects that this process has registered with copyreg


def checked_pickle(file: BinaryIO) -> bytes:
    """The bytes of the pickle that begins at the position of a file; the position moves behind it.

    Raises:
        WeightsError: the pickle nests too deeply, uses a memo index, a name or a key that cannot occur, uses its
            objects far more often than its size explains, or names a registered extension.
    """
    start, stack = file.tell(), _Stack()
    for count, (opcode, argument, position) in enumerate(pickletools.genops(file)):
        if opcode.name in _EXTENSIONS:
            raise WeightsError("has a pickle that uses the extension registry of copyreg, which checkpoints never do")
        if opcode.name in _NAMES:
            _check_name(len(str(argument)))
        if opcode.name in _PUTS and int(argument or 0) > _MAX_MEMO_GAP + 10 * count:
            raise WeightsError(f"has a pickle that stores object {argument} after {count} operations: it is damaged")
        stack.apply(opcode, argument)
        if stack.cost > _LEAST_COST + _COST_PER_BYTE * (int(position or 0) - start):
            raise WeightsError(
                "has a pickle that uses its objects far more often than its size explains: it is damaged"
            )
    end = file.tell()
    file.seek(start)
    return file.read(end - start)


def _check_name(length: int) -> None:
    if length > _MAX_NAME:
        raise WeightsError(f"has a pickle that names a class in {length} characters: it is damaged")


class _Object:
    """What is known of an object: its levels of nesting, how many objects a visit to all that it holds takes, its
    characters if it is a text, its hash if that can be chosen, and how often its keys have each hash."""

    __slots__ = ("cost", "depth", "hash", "hashes", "length")

    def __init__(self, depth: int = 0, cost: int = 1, length: int = 0, hash_: int | None = None) -> None:
        self.depth, self.cost, self.length, self.hash = depth, cost, length, hash_
        self.hashes: Counter[int] | None = None


def _constant(argument: object) -> _Object:
    """The object of an opcode that takes none from the stack."""
    if isinstance(argument, (str, bytes, bytearray)):
        return _Object(cost=1 + len(argument) // _PER_OBJECT, length=len(argument))
    if isinstance(argument, int):
        return _Object(cost=1 + argument.bit_length() // (8 * _PER_OBJECT), hash_=hash(argument))
    return _Object(hash_=hash(argument) if isinstance(argument, float) else None)


class _Stack:
    """The stack of an unpickler with what is known of each object instead of the object.

    Attributes:
        cost: how many objects hashes and copies have visited.
    """

    def __init__(self) -> None:
        self.objects: list[_Object] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Object] = {}
        self.cost = 0

    def apply(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do to the stack what one opcode does to the objects."""
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
            self._replace(opcode, argument)

    def _replace(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """Pop the objects that the opcode takes, and push what it makes of them."""
        name, popped = opcode.name, self._popped(opcode)
        if name == "STACK_GLOBAL":
            _check_name(sum(part.length for part in popped))
        if name in _COPIES:
            self.cost += sum(part.cost for part in popped)
        if not opcode.stack_after:
            return
        if name in _FILLS:
            made, parts = popped[0], popped[1:]
        else:
            made, parts = _constant(argument) if not popped else _Object(), popped
        made.depth = max([made.depth, *(1 + part.depth for part in parts)])
        made.cost = min(made.cost + sum(part.cost for part in parts), 1 << 62)
        if made.depth > _MAX_DEPTH:
            raise WeightsError(f"has a pickle that nests objects more than {_MAX_DEPTH} levels deep")
        if name in _HASHED:
            self._hash(made, popped[_HASHED[name]])
        if name in _TUPLES:
            made.hash = hash(tuple(part.hash for part in parts))
        self.objects.append(made)

    def _hash(self, collection: _Object, keys: list[_Object]) -> None:
        """Count what the hashes of keys visit, and keys of equal hash."""
        self.cost += sum(key.cost for key in keys)
        for key in keys:
            if key.hash is not None:
                collection.hashes = collection.hashes or Counter()
                collection.hashes[key.hash] += 1
                if collection.hashes[key.hash] > _MAX_EQUAL_HASHES:
                    raise WeightsError(f"has a pickle with over {_MAX_EQUAL_HASHES} keys of one hash: it is damaged")

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
