"""Who made a result, from what, and when; whatever the study says of its patient is copied, never rewritten."""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import DA, DT, TM, validate_value

from dicom_node import __version__
from dicom_node.results.codes import MANUFACTURER, MODEL_NAME, PROCESSING_ALGORITHM
from dicom_node.results.sources import SourceSeries
from dicom_node.results.uids import derive_uid
from inference.tissue_model import ModelDescription

logger = logging.getLogger(__name__)

PIXEL_DATA = Tag("PixelData")
STUDY_GROUPS = (0x0008, 0x0010, 0x0012, 0x0032, 0x0038, 0x0040)  # patient and study, but for two UIDs and an ID
JUDGED_VRS = ("AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")  # those whose form the standard fixes

# Type 2 attributes that highdicom reads; anonymised images often lack them.
_TYPE_2 = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate")
_TYPE_2_TOO = ("StudyTime", "ReferringPhysicianName")
_NEVER_JUDGED = {Tag(keyword) for keyword in (*_TYPE_2, *_TYPE_2_TOO, "StudyInstanceUID", "SOPClassUID")}


@dataclass(frozen=True, kw_only=True)
class ResultIdentity:
    """What tells one set of results from another.

    Attributes
    ----------
    revision
        Stands for the input: the same images and the same prior have the same revision, anything else another one.
    created
        When the results were first made, with its time zone. A repeated job passes the same time again, and then
        the files are the same byte for byte.
    device_serial_number
        Of this installation (0018,1000).
    """

    revision: str
    created: datetime
    device_serial_number: str

    def uid(self, kind: str, study_uid: str, model: ModelDescription) -> str:
        """Return the UID of one thing (``"SEG"``, ``"SEG series"`` …) in the results of a study."""
        return derive_uid(kind, study_uid, self.revision, model.name, model.version, model.sha256)


def slim_headers(series: SourceSeries) -> list[Dataset]:
    """Return what highdicom needs to know of the source images, with the same orientation and spacing in each.

    Scanners write the same orientation with different last digits, and highdicom refuses that; `locate_slices` has
    measured before that such differences do not matter. A multi-frame image is returned as it is, but for missing
    type 2 attributes.
    """
    first = series.images[0]
    if "PerFrameFunctionalGroupsSequence" in first:
        whole = Dataset()
        for element in first:  # copy() would share its elements with the original
            if element.tag != PIXEL_DATA:
                whole.add(element)
        return [_with_type_2(whole)]
    return [_with_type_2(_slim(image, first, series)) for image in series.images]


def library_headers(series: SourceSeries, indices: Sequence[int]) -> list[Dataset]:
    """Return a header per image (not per frame) that shows one of these slices, for an SR's image library."""
    first = series.images[0]
    if "PerFrameFunctionalGroupsSequence" not in first:
        return [_with_type_2(_slim(series.images[index], first, series)) for index in indices]
    header = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "Modality"):
        setattr(header, keyword, first[keyword].value)
    header.Rows, header.Columns, header.FrameOfReferenceUID = first.Rows, first.Columns, first.FrameOfReferenceUID
    header.ImagePositionPatient = list(series.geometry.position)
    header.ImageOrientationPatient = list(series.geometry.get_plane_orientation()[0].ImageOrientationPatient)
    header.PixelSpacing = list(series.geometry.spacing[1:])
    header.SliceThickness = series.geometry.spacing[0]
    return [_with_type_2(header)] if indices else []


def equipment(identity: ResultIdentity, model: ModelDescription) -> dict[str, Any]:
    """Return the equipment and time arguments that every highdicom object of ours is made with."""
    created = identity.created.astimezone()
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "device_serial_number": identity.device_serial_number,
        "software_versions": [__version__, f"{model.name} {model.version}"[:64]],
        "content_date": created.date(),
        "content_time": created.time(),
        "series_date": created.date(),
        "series_time": created.time(),
        "instance_number": 1,
    }


def complete(result: SOPClass, source: Dataset, *, identity: ResultIdentity, model: ModelDescription) -> None:
    """Copy patient and study from ``source`` exactly, name the algorithm, and take every clock reading out.

    Changes ``result`` in place.
    """
    created = identity.created.astimezone()
    if "SpecificCharacterSet" in source:
        result.SpecificCharacterSet = source.SpecificCharacterSet
    result.copy_patient_and_study_information(_copyable(source))
    result.InstanceCreationDate = DA(created.date())
    result.InstanceCreationTime = TM(created.time())
    for item in result.ContributingEquipmentSequence:
        if "ContributionDateTime" in item and item.get("ManufacturerModelName") == "highdicom":
            item.ContributionDateTime = DT(created.replace(tzinfo=None))
    equipment_items: list[Dataset] = [*result.ContributingEquipmentSequence, _algorithm(model)]
    result["ContributingEquipmentSequence"].value = equipment_items


def _copyable(source: Dataset) -> Dataset:
    """Return the source without optional values that break their VR; a result with them would be invalid itself.

    Scanners and anonymisers write an age of "42" or a weight of "70kg". What identifies patient and study is never
    judged, whatever it looks like.
    """
    copy = Dataset()
    for tag in sorted(source.keys()):
        if tag in _NEVER_JUDGED or (tag.group in STUDY_GROUPS and _is_valid(source, tag)):
            copy.add(source[tag])
    return copy


def _is_valid(source: Dataset, tag: BaseTag) -> bool:
    try:
        element = source[tag]
        if element.VR in JUDGED_VRS:
            for value in [element.value] if element.VM < 2 else element.value:
                validate_value(element.VR, str(value), RAISE)
    except ValueError:
        logger.warning("%s of the source images is not valid for its VR and is left out", keyword_for_tag(tag) or tag)
        return False
    return True


def encodable(text: str, source: Dataset) -> str:
    """Return ``text`` in letters that the study's character set can write.

    What it cannot write loses its accents, and what is left then becomes a question mark; the character set stays,
    since the patient's name is written in it.
    """
    # pydicom reads the default repertoire as Latin-1; it has ASCII alone (PS3.5 6.1.2.2).
    encodings = ["ascii" if e == "iso8859" else e for e in convert_encodings(source.get("SpecificCharacterSet"))]
    return "".join(letter if _can_encode(letter, encodings) else _plain(letter) for letter in text)


def _can_encode(letter: str, encodings: list[str]) -> bool:
    for encoding in encodings:
        try:
            letter.encode(encoding)
        except UnicodeError:
            continue
        return True
    return False


def _plain(letter: str) -> str:
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode("ascii") or "?"


def _with_type_2(header: Dataset) -> Dataset:
    for keyword in (*_TYPE_2, *_TYPE_2_TOO):
        # The real values are copied afterwards: highdicom refuses some that scanners write.
        header.add_new(keyword, dictionary_VR(keyword), None)  # a new element: the old one is the image's own
    return header


def _slim(image: Dataset, first: Dataset, series: SourceSeries) -> Dataset:
    header = Dataset()
    own = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "ImagePositionPatient")
    for keyword in own:
        setattr(header, keyword, image[keyword].value)
    for keyword in ("Modality", "Rows", "Columns", "FrameOfReferenceUID", "ImageOrientationPatient", "PixelSpacing"):
        setattr(header, keyword, first[keyword].value)
    header.SliceThickness = first.get("SliceThickness") or round(series.geometry.spacing[0], 6)
    header.SpacingBetweenSlices = round(series.geometry.spacing[0], 6)
    header.PositionReferenceIndicator = first.get("PositionReferenceIndicator")
    for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "StationName"):
        if first.get(keyword):
            setattr(header, keyword, first[keyword].value)
    return header


def _algorithm(model: ModelDescription) -> Dataset:
    """Return the Contributing Equipment item of the model (IHE AI Results; PS3.3 C.12.1)."""
    purpose = Dataset()
    purpose.CodeValue = PROCESSING_ALGORITHM.value
    purpose.CodingSchemeDesignator = PROCESSING_ALGORITHM.scheme_designator
    purpose.CodeMeaning = PROCESSING_ALGORITHM.meaning
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [purpose]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = model.name[:64]
    item.SoftwareVersions = model.version[:64]
    item.DeviceUID = derive_uid("model", model.name, model.version, model.sha256)
    item.ContributionDescription = "Segmentation of brain metastases"
    return item
