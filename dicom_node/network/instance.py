"""What an encoded instance is, read from its bytes alone; nothing in it is trusted until it is checked here.

No message quotes a value out of a data set, since a broken one may carry a patient's name anywhere.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.dsutils import split_dataset

from dicom_node.errors import NodeError

_UID_PATTERN: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_LARGEST_INFLATED_BYTES: Final = 2**31
_PREAMBLE: Final = b"\0" * 128 + b"DICM"

_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018
_STUDY_INSTANCE_UID: Final = 0x0020000D
_SERIES_INSTANCE_UID: Final = 0x0020000E
_NAMES: Final = {
    _SOP_CLASS_UID: "SOP Class UID (0008,0016)",
    _SOP_INSTANCE_UID: "SOP Instance UID (0008,0018)",
    _STUDY_INSTANCE_UID: "Study Instance UID (0020,000D)",
    _SERIES_INSTANCE_UID: "Series Instance UID (0020,000E)",
}


class InvalidInstanceError(NodeError):
    """The bytes are no data set that can be filed under a study."""


@dataclass(frozen=True, kw_only=True)
class InstanceHeader:
    """The UIDs under which an instance is filed; all have passed `is_uid`."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def is_uid(text: str) -> bool:
    """Whether `text` is a UID (PS3.5 section 9.1), and so safe as the name of a file or folder.

    Components with leading zeros, which real devices write, are let through.
    """
    return len(text) <= 64 and _UID_PATTERN.fullmatch(text) is not None


def read_header(data: bytes, transfer_syntax_uid: str) -> InstanceHeader:
    """Read the UIDs of an encoded data set and see that it is complete.

    Parameters
    ----------
    data
        The data set without preamble and file meta information.
    transfer_syntax_uid
        How it is encoded.

    Raises
    ------
    InvalidInstanceError
        The data set cannot be decoded, is cut off, or a UID is missing or malformed.
    """
    values: dict[int, bytes] = {}
    _scan(data, transfer_syntax_uid, into=values)
    return InstanceHeader(
        study_uid=_uid(values, _STUDY_INSTANCE_UID),
        series_uid=_uid(values, _SERIES_INSTANCE_UID),
        sop_class_uid=_uid(values, _SOP_CLASS_UID),
        sop_instance_uid=_uid(values, _SOP_INSTANCE_UID),
    )


def read_file(path: Path) -> tuple[InstanceHeader, bytes]:
    """Read a DICOM file whole and see that it is complete.

    Returns
    -------
    InstanceHeader, bytes
        Its UIDs and all its bytes, file meta information included.

    Raises
    ------
    InvalidInstanceError
        It is no DICOM file with file meta information (PS3.10), or its data set is not complete.
    """
    try:
        meta, offset = split_dataset(path)
        transfer_syntax_uid = str(meta.TransferSyntaxUID)
    except (InvalidDicomError, AttributeError, EOFError, ValueError, struct.error) as error:
        raise InvalidInstanceError(f"{path} is no DICOM file with file meta information (PS3.10).") from error
    content = path.read_bytes()
    return read_header(content[offset:], transfer_syntax_uid), content


def peek_study_uid(data: bytes, transfer_syntax_uid: str) -> str:
    """Study Instance UID of a data set that may be broken; empty when it cannot be read or is malformed."""
    values: dict[int, bytes] = {}
    with suppress(InvalidInstanceError):
        _scan(data, transfer_syntax_uid, into=values)
    text = _text(values, _STUDY_INSTANCE_UID)
    return text if is_uid(text) else ""


def file_meta(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 section 7.1) to go before a data set.

    `source_ae_title`, who sent the instance, becomes Source Application Entity Title (0002,0016).
    """
    elements = b"".join(
        (
            struct.pack("<HH2sHL2s", 2, 0x0001, b"OB", 0, 2, b"\0\1"),
            _short_element(0x0002, b"UI", sop_class_uid),
            _short_element(0x0003, b"UI", sop_instance_uid),
            _short_element(0x0010, b"UI", transfer_syntax_uid),
            _short_element(0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID),
            _short_element(0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
            _short_element(0x0016, b"AE", source_ae_title),
        )
    )
    return _PREAMBLE + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(elements)) + elements


def _short_element(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, _LARGEST_INFLATED_BYTES)
    except zlib.error as error:
        raise InvalidInstanceError("The deflated data set cannot be inflated.") from error
    if not inflater.eof:
        raise InvalidInstanceError(f"The deflated data set is cut off or larger than {_LARGEST_INFLATED_BYTES} bytes.")
    return inflated


def _scan(data: bytes, transfer_syntax_uid: str, *, into: dict[int, bytes]) -> None:
    """Put the values of `_NAMES` into `into` as far as they can be read; raise when the data set is not complete."""
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        data = _inflate(data)
    try:
        end = _walk(data, syntax, into)
    except (EOFError, OSError, struct.error) as error:
        raise InvalidInstanceError("The data set is cut off inside an element.") from error
    except (ValueError, KeyError, AttributeError, NotImplementedError, RecursionError) as error:
        raise InvalidInstanceError(f"The data set cannot be decoded as {syntax.name}.") from error
    if not into:
        raise InvalidInstanceError("The data set holds no UID at all: it is empty, or encoded otherwise than agreed.")
    if end > len(data) or data[end:].strip(b"\0"):  # some devices pad the data set with zeros
        raise InvalidInstanceError(f"The data set is cut off: it has {len(data)} bytes, its elements claim {end}.")


def _walk(data: bytes, syntax: UID, values: dict[int, bytes]) -> int:
    """Step over all top-level elements and return where the last one ends, or should end."""
    stream = BytesIO(data)
    end = 0

    def note_end(_tag: BaseTag, _vr: str | None, length: int) -> bool:
        nonlocal end
        end = len(data) if length == _UNDEFINED_LENGTH else stream.tell() + length
        return False

    elements: Iterator[RawDataElement | DataElement] = data_element_generator(
        stream, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=note_end, specific_tags=list(_NAMES)
    )
    for element in elements:
        if isinstance(element.value, bytes):
            values[int(element.tag)] = element.value
    return end


def _text(values: dict[int, bytes], tag: int) -> str:
    return values.get(tag, b"").decode("ascii", "replace").strip("\0 ")


def _uid(values: dict[int, bytes], tag: int) -> str:
    text = _text(values, tag)
    if not text:
        raise InvalidInstanceError(f"{_NAMES[tag]} is missing.")
    if not is_uid(text):
        raise InvalidInstanceError(f"{_NAMES[tag]} is no valid UID ({len(text)} characters).")
    return text
