"""Every error that this service raises on purpose.

::

    NodeError                  a message for a person: what is wrong, with which value, what to do
    ├── ConfigurationError     an option is wrong; the message names it
    ├── InvalidStudyError      the study cannot be analysed, and trying again will not help
    │   ├── NoUsableSeriesError    no series can serve as T1c
    │   └── InvalidGeometryError   missing slices, mixed frames of reference, non-orthogonal axes
    ├── DeliveryError          a result could not be written or verified
    └── RetriableError         the same call may succeed later
        ├── ArchiveUnavailableError   the archive does not answer
        ├── IncompleteFetchError      fewer instances came than the archive says it has
        ├── PeerError                 another DICOM node does not answer (network/sender)
        └── StorageFullError          the disk is full
"""


class NodeError(Exception):
    """A failure with a message for a person; permanent unless it is a `RetriableError`."""


class ConfigurationError(NodeError):
    """An option is wrong; the message names the option and its value."""


class InvalidStudyError(NodeError):
    """The study cannot be analysed, whatever is tried."""


class NoUsableSeriesError(InvalidStudyError):
    """No series of the study can serve as T1c."""


class InvalidGeometryError(InvalidStudyError):
    """A series is no regular volume."""


class DeliveryError(NodeError):
    """A result could not be written or is not in the archive afterwards."""


class RetriableError(NodeError):
    """The same call may succeed later."""


class ArchiveUnavailableError(RetriableError):
    """The archive does not answer."""


class IncompleteFetchError(RetriableError):
    """Fewer instances came than the archive says it has."""


class StorageFullError(RetriableError):
    """The disk is full."""
