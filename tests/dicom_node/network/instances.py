"""Small MR instances for the network's tests: real enough to be filed, small enough to be sent by the hundred."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid


def mr_instance(study_uid: str, series_uid: str, number: int, *, side: int = 16, **attributes: object) -> Dataset:
    """One MR image of `side` × `side` pixels of noise; `attributes` are set last."""
    instance = Dataset()
    instance.SOPClassUID = MRImageStorage
    instance.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(number)])
    instance.StudyInstanceUID = study_uid
    instance.SeriesInstanceUID = series_uid
    instance.PatientName = "Secret^Patient"
    instance.PatientID = "P1"
    instance.PatientBirthDate = "19600101"
    instance.PatientSex = "O"
    instance.StudyDate = "20240102"
    instance.StudyTime = "101500"
    instance.StudyID = "1"
    instance.AccessionNumber = "A1"
    instance.ReferringPhysicianName = ""
    instance.Modality = "MR"
    instance.Manufacturer = "Phantom Works"
    instance.SeriesNumber = 1
    instance.InstanceNumber = number
    instance.Rows = instance.Columns = side
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.BitsAllocated = instance.BitsStored = 16
    instance.HighBit = 15
    instance.PixelRepresentation = 0
    pixels = np.random.default_rng(number).integers(0, 4096, (side, side), dtype=np.uint16)
    instance.PixelData = pixels.tobytes()
    for keyword, value in attributes.items():
        setattr(instance, keyword, value)
    return instance


def encoded(instance: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The data set as it goes over the wire."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(buffer, instance)
    return bytes(buffer.getvalue())


def save(instance: Dataset, folder: Path) -> Path:
    """Write the instance as a DICOM file named after its SOP Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{instance.SOPInstanceUID}.dcm"
    instance.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, study_uid: str, count: int, **attributes: object) -> list[Path]:
    """Write a new series of `count` instances."""
    series_uid = generate_uid()
    numbers = range(1, count + 1)
    return [save(mr_instance(study_uid, series_uid, number, **attributes), folder) for number in numbers]  # type: ignore[arg-type]


def data_set_bytes(path: Path) -> bytes:
    """What lies behind the File Meta Information of a file, found without pydicom (PS3.10 section 7.1)."""
    content = path.read_bytes()
    assert content[128:132] == b"DICM"
    assert content[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
    return content[144 + int.from_bytes(content[140:144], "little") :]
