"""Every error this package raises, one class per kind of failure, under one base."""

from __future__ import annotations


class CompressionError(Exception):
    """Base of every error this package raises."""


class WeightsError(CompressionError):
    """The weights cannot be taken: an unreadable checkpoint, an unsupported tensor, a wrong class pattern."""


class PlanError(CompressionError):
    """A plan is wrong in itself, or does not fit the model it meets."""


class FormatError(CompressionError):
    """The bytes are not a file this package can read."""


class TruncatedError(FormatError):
    """The file is shorter than it says it is."""


class ChecksumError(FormatError):
    """Bytes differ from the checksum that was written with them."""


class VersionError(FormatError):
    """The file was written in a newer format than this package knows."""


class ForeignFileError(FormatError):
    """A file that this package did not write stands where one of ours was expected."""


class VerificationError(CompressionError):
    """A file that was just written did not read back as what was meant."""


class MismatchError(CompressionError):
    """Model and file differ in tensor names or shapes."""


class ClassNotAllowedError(CompressionError):
    """The class named in a file is not on the caller's list of classes that may be imported."""


class CallbackError(CompressionError):
    """A callback or loader is used in a way Lightning cannot carry out."""


class SearchError(CompressionError):
    """A search cannot go on: an evaluation that fails or wavers, calibration data of no use, a budget out of reach."""


class ChartError(CompressionError):
    """A chart or page cannot be made: what draws it is not installed, or its numbers do not fit each other."""
