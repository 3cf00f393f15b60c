"""Random changes of bytes, of JSON values and of texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

Json = Any
_NUMBERS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 31, 32, 63, 64, 65, 127, 128, 129, 254, 255, 256, 257, 1000, 4095, 4096]
_NUMBERS += [2**power + offset for power in (15, 16, 24, 31, 32, 47, 48, 53, 62, 63, 64, 200) for offset in (-1, 0, 1)]
_FLOATS = [0.0, -0.0, 0.1, 1.0, 0.5, 2.0, 1e-45, 5e-324, 1e-310, 1e38, 3.5e38, 1.7e308, 1e16, 2**53 + 2.0, 1e-8]
_TEXTS = ["", "#", "##", "#small", "__metadata__", "a" * 300, "\0", "\x1b[2J", "\ud800", "ß", "../../etc/passwd", "*"]
_TEXTS += ["raw", "half", "grid", "sparse", "codebook", "indexed", "factored", "gaps", "bitmap", "bfloat16", "float16"]
_BYTES = [0, 1, 2, 7, 8, 15, 16, 127, 128, 254, 255]


def changed_bytes(random: Random, data: bytes) -> bytes:
    """Bytes after one to four changes: flipped, replaced, cut, inserted, repeated, or a piece moved."""
    result = bytearray(data)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(result) + 1)
        length = min(random.choice((1, 1, 1, 2, 4, 8, 64)), len(result) - place)
        change = random.randrange(7)
        if change == 0 and place < len(result):
            result[place] ^= 1 << random.randrange(8)
        elif change == 1 and place < len(result):
            result[place] = random.choice(_BYTES)
        elif change == 2:
            del result[place : place + length]
        elif change == 3:
            result[place:place] = random.randbytes(random.choice((1, 2, 4, 8)))
        elif change == 4:
            result[place:place] = result[place : place + length] * random.choice((1, 1, 3, 100))
        elif change == 5:
            del result[place:]
        else:
            other = random.randrange(len(result) + 1)
            result[other:other] = result[place : place + length]
    return bytes(result)


def changed_json(random: Random, value: Json, changes: int = 0) -> Json:
    """A copy of a JSON value after one to three changes of numbers, texts, lists and keys, wherever they stand."""
    box = [copied(value)]
    for _ in range(changes or random.choice((1, 1, 1, 2, 3))):
        box = box or [None]
        places = list(_places(box))
        holder, key = random.choice(places)
        if random.random() < 0.85:
            holder[key] = _other(random, holder[key], places)
        else:
            _reorganise(random, holder, key)
    return box[0] if box else None


def copied(value: Json) -> Json:
    """A copy of a JSON value at any depth."""
    return json.loads(json.dumps(value))


def changed_text(random: Random, text: str) -> str:
    """A text after one to four changes of characters, lines and pieces."""
    result = text
    for _ in range(random.randint(1, 4)):
        place, other = random.randrange(len(result) + 1), random.randrange(len(result) + 1)
        low, high = min(place, other), min(max(place, other), min(place, other) + 40)
        change = random.randrange(5)
        if change == 0:
            result = result[:low] + result[high:]
        elif change == 1:
            result = result[:place] + result[low:high] + result[place:]
        elif change == 2:
            result = result[:place] + random.choice(_PIECES) + result[place:]
        elif change == 3:
            result = result[:place] + chr(random.choice(_CHARACTERS)) + result[place:]
        else:
            lines = result.splitlines(keepends=True)
            random.shuffle(lines)
            result = "".join(lines)
    return result


_CHARACTERS = (0, 9, 10, 32, 127, 0x85, 0x2028, 0xFEFF, 0x1F600)
_PIECES = [*"{}[]:,-&*!|>'\"%@`#?~=", "<<: ", "&a ", "*a", "!!python/object ", "!!set ", "!!binary ", "- ", ": "]
_PIECES += ["2001-01-01", ".inf", "-.nan", "1e999", "0x10", "0o7", "1_000", "null", "yes", "---\n", "...\n", "\n  "]
_PIECES += ["[" * 60, "{a: " * 60, "9" * 400, '{"$tuple":[', '{"$dict":[[', '{"$numpy":["<f4",', '"$float":']
_PIECES += ["\\ud800", "*?[!a-z]", "\t"]


def _places(box: Any) -> Iterator[tuple[Any, Any]]:
    """Container and key of each value in a JSON value, at any depth."""
    pending = [box]
    while pending:
        holder = pending.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                pending.append(holder[key])


def _other(random: Random, value: Json, places: list[tuple[Any, Any]]) -> Json:
    """A value to stand in place of another: near it, at an edge of its type, of another type, or one from elsewhere."""
    kind = random.random()
    if kind < 0.12:
        holder, key = random.choice(places)
        return copied(holder[key])
    if kind < 0.2:
        return random.choice([None, True, False, [], {}, "", 0, -1, 0.5, [[]], {"kind": "raw"}])
    if isinstance(value, bool) or value is None:
        return random.choice([not value, 0, 1, None])
    if isinstance(value, int):
        near = [value - 1, value + 1, value * 2, value // 2, -value, value ^ 1]
        return random.choice(near) if kind < 0.6 else random.choice(_NUMBERS)
    if isinstance(value, float):
        near = [-value, value * 2, value / 3, value * 1e30, value * 1e-30]
        return random.choice(near) if kind < 0.6 else random.choice(_FLOATS)
    if isinstance(value, str):
        return changed_text(random, value) if kind < 0.5 else random.choice(_TEXTS)
    if isinstance(value, list):
        return _other_list(random, value)
    return value


def _other_list(random: Random, value: list[Any]) -> list[Any]:
    result = copied(value)
    change = random.randrange(5)
    if change == 0 and result:
        del result[random.randrange(len(result))]
    elif change == 1 and result:
        result.insert(random.randrange(len(result) + 1), copied(random.choice(result)))
    elif change == 2:
        random.shuffle(result)
    elif change == 3:
        result = result * 2
    else:
        result.insert(random.randrange(len(result) + 1), random.choice(_NUMBERS))
    return result


def _reorganise(random: Random, holder: Any, key: Any) -> None:
    """Remove a value, repeat it, or give it another key."""
    value = holder[key]
    if isinstance(holder, list):
        if random.random() < 0.5:
            del holder[key]
        else:
            holder.insert(random.randrange(len(holder) + 1), copied(value))
    elif random.random() < 0.5:
        del holder[key]
    else:
        holder[random.choice([*_TEXTS, "count", "width", "groups", "kind"])] = copied(value)
