"""Read plain text, one sentence a line, and say which file and line is wrong."""

from __future__ import annotations

from pathlib import Path

from recipes.errors import TextError


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file. Only a line feed ends a line; it and a carriage return before it are dropped.

    Raises:
        TextError: if the file is missing, empty or not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TextError(
            f"{path} cannot be read ({error.strerror}): expected a text file, one sentence a line"
        ) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextError(f"{path}, line {line}: not UTF-8 ({error.reason}); convert the file to UTF-8") from error
    if not text.strip():
        raise TextError(f"{path} is empty: expected text, one sentence a line")
    lines = text.removeprefix("\ufeff").split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


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
