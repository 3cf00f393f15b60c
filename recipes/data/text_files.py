"""The one reader of text: UTF-8, one sentence a line; errors name the file and the line.

The rules are the same for training, validation and test text and for what is translated:

- A byte order mark at the start is dropped. Elsewhere U+FEFF is a character like any other.
- Only a line feed ends a line, and a carriage return right before it is dropped. All other white space, such as a
  lone carriage return, U+0085 or U+2028, separates words inside a line.
- A line feed at the end of the text is not needed.
- Bytes that are not UTF-8, and NUL bytes, are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from recipes.errors import TextError

BYTE_ORDER_MARK = "\ufeff"


def decode(data: bytes, origin: str) -> str:
    """UTF-8 bytes as text.

    Raises:
        TextError: if they are not UTF-8; ``origin``, the line and the byte are named.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = _place(data, error.start)
        raise TextError(
            f"{origin}, line {line}: not UTF-8 (byte {byte} of the line, 0x{data[error.start]:02x}: {error.reason}); "
            "convert the text to UTF-8"
        ) from error


def split_lines(data: bytes, origin: str) -> list[str]:
    """Lines of a text by the rules above; none where it is empty.

    Raises:
        TextError: if the bytes are not UTF-8, or hold a NUL byte; ``origin``, the line and the byte are named.
    """
    text = decode(data, origin).removeprefix(BYTE_ORDER_MARK)
    if (nul := data.find(b"\0")) >= 0:
        line, byte = _place(data, nul)
        raise TextError(
            f"{origin}, line {line}: a NUL byte (byte {byte} of the line), so the text is UTF-16 or binary; convert it "
            "to UTF-8"
        )
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_lines(path: Path) -> list[str]:
    """Lines of a file, at least one of which holds a word.

    Raises:
        TextError: if the file is missing, empty or not UTF-8, or holds a NUL byte.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TextError(
            f"{path} cannot be read ({error.strerror}): expected a text file, one sentence a line"
        ) from error
    lines = split_lines(data, str(path))
    if not any(line.strip() for line in lines):
        raise TextError(f"{path} is empty: expected text, one sentence a line")
    return lines


def read_stream(stream: TextIO, origin: str) -> list[str]:
    """Lines of an open stream such as standard input; its own encoding and line ends are not used.

    Raises:
        TextError: if the bytes are not UTF-8, or hold a NUL byte.
    """
    binary = getattr(stream, "buffer", None)  # a notebook's stream has text only
    data: bytes = stream.read().encode("utf-8", "surrogatepass") if binary is None else binary.read()
    return split_lines(data, origin)


def read_parallel(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Lines of a text and of its translation, which stand on the same line numbers.

    Raises:
        TextError: if a file cannot be read, or the line counts differ.
    """
    left, right = read_lines(source), read_lines(target)
    if len(left) != len(right):
        longer = source if len(left) > len(right) else target
        raise TextError(
            f"{source} has {len(left):,} lines but {target} has {len(right):,}: line "
            f"{min(len(left), len(right)) + 1:,} of {longer} has no translation; each line needs its translation "
            "on the same line number"
        )
    return left, right


def _place(data: bytes, start: int) -> tuple[int, int]:
    """Line of a byte, and number of the byte in this line, from 1."""
    return data.count(b"\n", 0, start) + 1, start - data.rfind(b"\n", 0, start)
