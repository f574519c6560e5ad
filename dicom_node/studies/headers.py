"""Headers without pixels: a header is returned only with the knowledge whether the file behind it is whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import SEEK_CUR
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM_TAG = bytes.fromhex("FEFF00E0")
DELIMITER_TAG = bytes.fromhex("FEFFDDE0")


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """The attributes of one file up to its pixel data.

    Attributes
    ----------
    path
        The file.
    dataset
        Its attributes without pixel data; incomplete when the file ends inside the header.
    defect
        What is wrong with the file; empty when it is whole as far as can be told without decoding.
    """

    path: Path
    dataset: Dataset
    defect: str = ""


class UnreadableHeaderError(ValueError):
    """The file is no DICOM file or ends before it says what it is."""


def read_header(path: Path) -> Header:
    """Read one file up to its pixel data, and see whether the pixel data is all there.

    Raises
    ------
    UnreadableHeaderError
        The file cannot be read as DICOM; the message says why.
    """
    try:
        with path.open("rb") as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            return Header(path=path, dataset=dataset, defect=_pixel_defect(dataset, file, path.stat().st_size))
    except InvalidDicomError as error:
        raise UnreadableHeaderError(f"{path.name} is not a DICOM file (no DICM prefix)") from error
    except OSError as error:
        raise UnreadableHeaderError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except (BytesLengthException, EOFError, KeyError, NotImplementedError, ValueError) as error:
        # pydicom has no error class of its own for damaged encodings.
        raise UnreadableHeaderError(f"{path.name} is damaged: {error}") from error


def read_headers(paths: Iterable[Path]) -> tuple[Header, ...]:
    """Read several headers; see `read_header`."""
    return tuple(read_header(path) for path in paths)


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return a possibly multi-valued attribute as upper-case texts; empty when it is absent or empty."""
    value = dataset.get(keyword)
    values = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    return tuple(text for one in values if one is not None and (text := str(one).strip().upper()))


def text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute as text, as it is written; empty when it is absent."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value of a numeric attribute; None when it is absent, empty or no number."""
    value: Any = dataset.get(keyword)
    if isinstance(value, (MultiValue, list, tuple)):
        value = value[0] if value else None
    try:
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """Return the first value of an integer attribute; None when it is absent, empty or no number."""
    value = number(dataset, keyword)
    return None if value is None else int(value)


def is_image(dataset: Dataset) -> bool:
    """Tell by its SOP class whether an instance is an image, which must have pixel data."""
    return UID(text(dataset, "SOPClassUID")).keyword.endswith("ImageStorage")


def _pixel_defect(dataset: Dataset, file: BinaryIO, size: int) -> str:
    """Return what is missing of the pixel data, whose element starts where ``file`` stands."""
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if syntax == DeflatedExplicitVRLittleEndian or not is_image(dataset):
        return ""  # the position in a deflated stream says nothing about the pixel data
    position = file.tell()
    head = file.read(12)
    if len(head) < 12:
        return f"the file is truncated: it ends at byte {size}, before its pixel data"
    expected, head_bytes = _value_length(head, syntax)
    if expected == UNDEFINED_LENGTH:
        return _fragments_defect(file, size)
    present, needed = min(size - position - head_bytes, expected), max(expected, _image_bytes(dataset))
    return "" if present >= needed else f"the file is truncated: {present} of {needed} bytes of pixel data are there"


def _image_bytes(dataset: Dataset) -> int:
    """Return how many bytes the uncompressed pixels need (PS3.3 C.7.6.3); 0 where the header does not tell."""
    if text(dataset, "PhotometricInterpretation").startswith("YBR_"):
        return 0  # colour may be subsampled
    bits = 1
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        bits *= whole_number(dataset, keyword) or 0
    for keyword in ("SamplesPerPixel", "NumberOfFrames"):
        bits *= whole_number(dataset, keyword) or 1
    return bits // 8


def _fragments_defect(file: BinaryIO, size: int) -> str:
    """Walk over the fragments of compressed pixel data to their delimiter (PS3.5 section A.4)."""
    while len(head := file.read(8)) == 8 and head[:4] == ITEM_TAG:
        file.seek(int.from_bytes(head[4:], "little"), SEEK_CUR)
    if head[:4] == DELIMITER_TAG and file.tell() <= size:
        return ""
    return f"the file is truncated: it ends at byte {size}, within its compressed pixel data"


def _value_length(head: bytes, syntax: UID) -> tuple[int, int]:
    """Return the length of the value and of the bytes before it (PS3.5 section 7.1)."""
    if syntax == ImplicitVRLittleEndian:
        return int.from_bytes(head[4:8], "little"), 8
    order: Literal["little", "big"] = "big" if syntax == ExplicitVRBigEndian else "little"
    return int.from_bytes(head[8:12], order), 12
