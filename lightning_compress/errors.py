"""The exceptions of this package: one class per kind of failure, with a common base class."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class CompressionError(Exception):
    """Base class of all exceptions of this package."""


class WeightsError(CompressionError):
    """Weights cannot be read: an unreadable checkpoint, an unsupported tensor, a pattern that matches nothing."""


class PlanError(CompressionError):
    """A plan is invalid, or does not fit the model it is applied to."""


class FormatError(CompressionError):
    """The bytes are not a file this package can read."""


class TruncatedError(FormatError):
    """The file is shorter than its header says."""


class ChecksumError(FormatError):
    """Bytes differ from the checksum that was written with them."""


class VersionError(FormatError):
    """The file uses a newer format than this package knows."""


class ForeignFileError(FormatError):
    """A file was not written by this package, but such a file was expected at its path."""


class VerificationError(CompressionError):
    """A file that was just written does not decode to what was to be stored."""


class MismatchError(CompressionError):
    """Model and file differ in tensor names or shapes."""


class ClassNotAllowedError(CompressionError):
    """The class named in a file is not on the caller's list of classes that may be imported."""


class CallbackError(CompressionError):
    """A callback or loader is used in a way that Lightning does not support."""


class SearchError(CompressionError):
    """A search cannot continue: a failed or nondeterministic evaluation, unusable calibration data or budget."""


class TrainingError(CompressionError):
    """A training-time method cannot continue: NaN weights, a changed plan, a target out of reach."""


class ChartError(CompressionError):
    """A chart or page cannot be made: a plotting library is not installed, or its data are inconsistent."""


class HubError(CompressionError):
    """A folder or repository holds no compressed file, or what is to be saved there is not clear."""


class MissingLibraryError(CompressionError, ImportError):
    """A library is not installed that only a part of the package needs.

    Args:
        what: what needs it.
        library: its name.
        extra: the extra of this package that installs it.
    """

    def __init__(self, what: str, library: str, extra: str) -> None:
        super().__init__(f'{what} needs {library}: pip install "lightning-compress[{extra}]"')


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A hint at the known name that is closest to the given one, for an error message; empty if none is close.

    >>> did_you_mean("hlaf", ["half", "interval"])
    " (did you mean 'half'?)"
    """
    close = difflib.get_close_matches(str(given), list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
