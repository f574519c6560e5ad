"""The files of the synthetic patient, judged by programs that nobody here wrote: dciodvfy and ITK with GDCM."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_node.demo.phantom import NOTICE, Identity, identity_for, study_uid_of, write_study
from inference.synthesis.patient import SyntheticPatient
from tracking.timepoint import MRSequence

IDENTITY = identity_for(7)
THICKNESS_MM = {MRSequence.FLAIR: 3.6}


@pytest.fixture(scope="module")
def files(patient: SyntheticPatient, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("study")
    return write_study(patient.studies[0], identity=IDENTITY, folder=folder, slice_thickness_mm=THICKNESS_MM)


def series_folder(files: list[Path], number: int) -> Path:
    return next(path.parent for path in files if path.parent.name.startswith(f"{number:02d}_"))


def read_by_itk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize(
    ("number", "sequence"), [(5, MRSequence.T1C), (2, MRSequence.T1), (3, MRSequence.T2), (4, MRSequence.FLAIR)]
)
def test_itk_reads_back_every_voxel_where_it_was(
    files: list[Path], patient: SyntheticPatient, number: int, sequence: MRSequence
) -> None:
    volume = patient.studies[0].images[sequence]
    image = read_by_itk(series_folder(files, number))
    array = sitk.GetArrayFromImage(image)
    shape = np.asarray(volume.spatial_shape)
    for corner in (np.zeros(3, int), shape - 1, shape // 3, np.array([0, shape[1] - 1, 2])):
        expected_mm = volume.affine[:3, :3] @ corner + volume.affine[:3, 3]
        index = image.TransformPhysicalPointToContinuousIndex([float(mm) for mm in expected_mm])
        found_mm = np.asarray(image.TransformContinuousIndexToPhysicalPoint(np.rint(index).tolist()))
        assert np.linalg.norm(found_mm - expected_mm) < 0.01
        k, j, i = np.rint(index).astype(int)
        assert array[i, j, k] == volume.array[tuple(corner)]


def test_dciodvfy_finds_no_error(files: list[Path]) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is missing: install dicom3tools")
    one_of_each = {path.parent: path for path in files}
    for path in one_of_each.values():
        run = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        assert "Error" not in run.stdout + run.stderr, f"{path.name}: {run.stderr}"


def test_headers_say_what_the_images_are(files: list[Path]) -> None:
    t1c = pydicom.dcmread(next(series_folder(files, 5).iterdir()), stop_before_pixels=True)
    t1 = pydicom.dcmread(next(series_folder(files, 2).iterdir()), stop_before_pixels=True)
    flair = pydicom.dcmread(next(series_folder(files, 4).iterdir()), stop_before_pixels=True)
    assert t1c.ContrastBolusAgent == "Gadobutrol"
    assert "ContrastBolusAgent" not in t1
    assert (t1c.MRAcquisitionType, t1.MRAcquisitionType) == ("3D", "2D")
    assert flair.InversionTime == 2500
    assert list(flair.ScanningSequence) == ["SE", "IR"]
    assert (flair.SliceThickness, flair.SpacingBetweenSlices) == pytest.approx((3.6, 4.1))
    assert (t1c.SliceThickness, t1c.SpacingBetweenSlices) == pytest.approx((1.5, 1.5))
    for header in (t1c, t1, flair):
        assert header.ImageComments == header.PatientComments == NOTICE
        assert header.Manufacturer == "Synthetic"


def test_localizer_has_three_orientations_through_the_head(files: list[Path]) -> None:
    headers = [pydicom.dcmread(path) for path in sorted(series_folder(files, 1).iterdir())]
    assert len(headers) == 9
    assert len({tuple(header.ImageOrientationPatient) for header in headers}) == 3
    assert all(header.pixel_array.max() > 250 for header in headers)


def test_same_patient_gives_the_same_files(files: list[Path], patient: SyntheticPatient, tmp_path: Path) -> None:
    again = write_study(patient.studies[0], identity=IDENTITY, folder=tmp_path, slice_thickness_mm=THICKNESS_MM)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_identifiers_belong_together(files: list[Path], patient: SyntheticPatient) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    assert len({header.SOPInstanceUID for header in headers}) == len(files)
    assert {header.StudyInstanceUID for header in headers} == {study_uid_of(IDENTITY, patient.studies[0].study_date)}
    assert len({header.FrameOfReferenceUID for header in headers}) == 1
    assert len({header.SeriesInstanceUID for header in headers}) == 5
    later = study_uid_of(IDENTITY, patient.studies[1].study_date)
    other = study_uid_of(Identity(patient_id="X"), patient.studies[0].study_date)
    assert len({later, other, headers[0].StudyInstanceUID}) == 3


@pytest.mark.parametrize("value", [-1, 4096, 1.5])
def test_pixels_that_dicom_would_change_are_refused(patient: SyntheticPatient, tmp_path: Path, value: float) -> None:
    study = patient.studies[0]
    volume = study.images[MRSequence.T2]
    array = volume.array.astype(np.float32)
    array[3, 3, 3] = value
    broken = replace(study, images={**study.images, MRSequence.T2: volume.with_array(array)})
    with pytest.raises(ValueError, match="whole numbers from 0 to 4095"):
        write_study(broken, identity=IDENTITY, folder=tmp_path)
