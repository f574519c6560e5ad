"""RT Structure Sets as a planning system writes them, with contours computed and not drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_node.studies.reading import read_studies
from dicom_node.studies.volumes import SeriesVolume, read_volume
from tests.dicom_node.studies.scanners import SIEMENS_MPRAGE, save, series

RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Roi:
    """A region of interest: contours as points (n, 3), LPS mm."""

    name: str
    contours: Sequence[Points]
    colour: tuple[int, int, int] | None = (255, 0, 0)
    kind: str = "CLOSED_PLANAR"


def read_series(truth: Volume, folder: Path) -> SeriesVolume:
    """Write a series of images and read it back."""
    studies, _ = read_studies(save(series(truth, SIEMENS_MPRAGE), folder))
    return read_volume(studies[0].series[0])


def ball_contours(volume: Volume, centre_mm: Sequence[float], radius_mm: float, *, every: int = 1) -> list[Points]:
    """The circles in which a ball cuts the slices."""
    contours = []
    for index in range(0, volume.spatial_shape[0], every):
        distance = height_mm(volume, centre_mm, index)
        if abs(distance) < radius_mm:
            contours.append(circle(volume, centre_mm, index, np.sqrt(radius_mm**2 - distance**2)))
    return contours


def height_mm(volume: Volume, centre_mm: Sequence[float], index: int) -> float:
    """How far the centre lies from a slice, along its normal."""
    place = volume.map_indices_to_reference(np.array([[index, 0, 0]], float))[0]
    return float((place - np.asarray(centre_mm)) @ volume.direction[:, 0])


def circle(volume: Volume, centre_mm: Sequence[float], index: int, radius_mm: float) -> Points:
    """A polygon of short edges with the area of a circle, in a slice, about the point nearest to the centre."""
    number = max(24, int(2 * np.pi * radius_mm / 0.4))
    angles = np.linspace(0, 2 * np.pi, number, endpoint=False) + 0.1
    true_area = radius_mm * np.sqrt(2 * np.pi / number / np.sin(2 * np.pi / number))
    down, across = volume.direction[:, 1], volume.direction[:, 2]
    centre = np.asarray(centre_mm) + volume.direction[:, 0] * height_mm(volume, centre_mm, index)
    return np.asarray(
        centre + true_area * (np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * down), dtype=np.float64
    )


def slab_volume_mm3(volume: Volume, centre_mm: Sequence[float], radius_mm: float, *, every: int = 1) -> float:
    """The sum of the circles' areas times their distance."""
    heights = [height_mm(volume, centre_mm, index) for index in range(0, volume.spatial_shape[0], every)]
    areas = [np.pi * (radius_mm**2 - h**2) for h in heights if abs(h) < radius_mm]
    return float(sum(areas)) * volume.spacing[0] * every


def structure_set(rois: Sequence[Roi], series_volume: SeriesVolume, **attributes: Any) -> Dataset:
    """An RTSTRUCT of the series with its ROIs numbered from 3, since numbers need not begin at 1."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RT_STRUCTURE_SET_STORAGE
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in (_general(series_volume) | attributes).items():
        setattr(dataset, keyword, value)
    dataset.ReferencedFrameOfReferenceSequence = _frame_of_reference(series_volume)
    numbered = list(enumerate(rois, start=3))
    dataset.StructureSetROISequence = DicomSequence(
        [
            _item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=series_volume.volume.frame_of_reference_uid,
                ROIName=roi.name,
                ROIGenerationAlgorithm="MANUAL",
            )
            for number, roi in numbered
        ]
    )
    dataset.ROIContourSequence = DicomSequence([_contours(number, roi, series_volume) for number, roi in numbered])
    dataset.RTROIObservationsSequence = DicomSequence(
        [
            _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="GTV", ROIInterpreter="")
            for number, _ in numbered
        ]
    )
    return dataset


def save_structures(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def _general(series_volume: SeriesVolume) -> dict[str, Any]:
    return {
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": series_volume.volume.frame_of_reference_uid,
        "PositionReferenceIndicator": "",
        "StudyDate": "20240305",
        "StudyTime": "101500",
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "PatientName": "Doe^Jane",
        "PatientID": "P-1",
        "PatientBirthDate": "",
        "PatientSex": "",
        "Modality": "RTSTRUCT",
        "SeriesNumber": 1,
        "OperatorsName": "",
        "Manufacturer": "Test",
        "StructureSetLabel": "PLAN",
        "StructureSetDate": "20240305",
        "StructureSetTime": "113000",
        "ApprovalStatus": "UNAPPROVED",
    }


def _frame_of_reference(series_volume: SeriesVolume) -> DicomSequence:
    images = [_image(uid) for uid in series_volume.sop_instance_uids]
    contoured = _item(SeriesInstanceUID=generate_uid(), ContourImageSequence=DicomSequence(images))
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=generate_uid(),
        RTReferencedSeriesSequence=DicomSequence([contoured]),
    )
    frame = _item(
        FrameOfReferenceUID=series_volume.volume.frame_of_reference_uid,
        RTReferencedStudySequence=DicomSequence([study]),
    )
    return DicomSequence([frame])


def _contours(number: int, roi: Roi, series_volume: SeriesVolume) -> Dataset:
    item = _item(ReferencedROINumber=number)
    if roi.colour:
        item.ROIDisplayColor = list(roi.colour)
    if roi.contours:
        item.ContourSequence = DicomSequence([_contour(points, roi, series_volume) for points in roi.contours])
    return item


def _contour(points: Points, roi: Roi, series_volume: SeriesVolume) -> Dataset:
    nearest = round(float(series_volume.volume.map_reference_to_indices(points[:1])[0, 0]))
    uids = series_volume.sop_instance_uids
    source = uids[min(max(nearest, 0), len(uids) - 1)]
    return _item(
        ContourImageSequence=DicomSequence([_image(source)]),
        ContourGeometricType=roi.kind,
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:.4f}" for value in points.ravel()],
    )


def _image(uid: str) -> Dataset:
    return _item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.4", ReferencedSOPInstanceUID=uid)


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
