"""Volumes read back voxel by voxel, beside SimpleITK's reader; and every irregular series refused with its values."""

import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from highdicom import Volume
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from dicom_node.errors import InvalidGeometryError
from dicom_node.studies.reading import read_studies
from dicom_node.studies.study import Series
from dicom_node.studies.volumes import SeriesVolume, read_volume
from tests.dicom_node.studies.scanners import (
    AXIAL,
    PHILIPS_TFE,
    SIEMENS_MPRAGE,
    enhanced,
    grid,
    save,
    series,
    turned,
)

SAGITTAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def stored(datasets: list[Dataset], folder: Path) -> Series:
    studies, _ = read_studies(save(datasets, folder))
    return studies[0].series[0]


def assert_same_volume(read: SeriesVolume, truth: Volume) -> None:
    """Equal intensities at equal places, whichever way along the normal the slices run."""
    indices = np.array([[0, 0, 0], [1, 2, 3], [truth.spatial_shape[0] - 1, 5, 7]])
    places = truth.map_indices_to_reference(indices)
    back = np.round(read.volume.map_reference_to_indices(places)).astype(int)
    np.testing.assert_allclose(read.volume.map_indices_to_reference(back), places, atol=1e-4)
    assert [read.volume.array[tuple(i)] for i in back] == [float(truth.array[tuple(i)]) for i in indices]
    assert sorted(read.volume.spacing) == pytest.approx(sorted(truth.spacing), abs=1e-5)


@pytest.mark.parametrize("directions", [AXIAL, -AXIAL @ np.diag([1.0, 1, -1]), SAGITTAL, turned((20, -35, 12))])
def test_a_series_is_read_in_its_place(tmp_path: Path, directions: np.ndarray) -> None:
    truth = grid((9, 24, 30), (2.5, 0.8, 1.1), directions)
    read = read_volume(stored(series(truth, SIEMENS_MPRAGE), tmp_path))
    assert read.volume.array.dtype == np.float32
    assert read.volume.frame_of_reference_uid == truth.frame_of_reference_uid
    assert_same_volume(read, truth)


def test_simpleitk_reads_the_same_volume(tmp_path: Path) -> None:
    truth = grid((9, 24, 30), (2.5, 0.8, 1.1), turned((20, -35, 12)))
    one = stored(series(truth, SIEMENS_MPRAGE), tmp_path)
    read = read_volume(one)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path), one.series_uid))
    image = reader.Execute()
    for index in [(0, 0, 0), (29, 0, 3), (4, 23, 8)]:
        place = np.array(image.TransformIndexToPhysicalPoint(index))
        ours = read.volume.map_reference_to_indices(place[None])[0]
        np.testing.assert_allclose(ours, np.round(ours), atol=1e-3)
        assert read.volume.array[tuple(np.round(ours).astype(int))] == image[index]


def test_every_slice_knows_its_file(tmp_path: Path) -> None:
    truth = grid((7, 16, 16), directions=turned((5, 60, 0)))
    read = read_volume(stored(series(truth, SIEMENS_MPRAGE), tmp_path))
    for index, (path, uid) in enumerate(zip(read.paths, read.sop_instance_uids, strict=True)):
        image = sitk.ReadImage(str(path))
        np.testing.assert_allclose(image.GetOrigin(), read.volume.affine[:3] @ [index, 0, 0, 1], atol=1e-4)
        assert path.stem == uid


def test_rescaling_is_applied(tmp_path: Path) -> None:
    truth = grid((4, 16, 16))
    read = read_volume(stored(series(truth, PHILIPS_TFE), tmp_path))
    assert float(read.volume.array.max()) == pytest.approx(1.75 * float(truth.array.max()))


def test_gaps_between_slices_are_normal(tmp_path: Path) -> None:
    truth = grid((6, 16, 16), (6.5, 1, 1))
    read = read_volume(stored(series(truth, SIEMENS_MPRAGE, SliceThickness=5.0), tmp_path))
    assert read.volume.spacing_between_slices == pytest.approx(6.5)


def test_an_enhanced_instance_is_read(tmp_path: Path) -> None:
    truth = grid((8, 24, 30), (1.5, 0.8, 1.1), turned((20, -35, 12)))
    read = read_volume(stored([enhanced(truth)], tmp_path))
    assert_same_volume(read, truth.with_array(truth.array.astype(np.float64) * 2))
    assert len(set(read.paths)) == 1
    assert sorted(read.frame_numbers) == list(range(1, 9))
    assert read.frame_numbers != tuple(range(1, 9))


@pytest.mark.parametrize("coder", ["rle", "jpeg lossless", "jpeg-ls"])
def test_compressed_pixels_are_decoded(tmp_path: Path, coder: str) -> None:
    truth = grid((4, 32, 32))
    compressed = [compress(dataset, coder, tmp_path / "raw") for dataset in series(truth, SIEMENS_MPRAGE)]
    folder = tmp_path / "compressed"
    folder.mkdir()
    for path in compressed:
        shutil.move(path, folder / path.name)
    studies, unreadable = read_studies(folder.iterdir())
    assert unreadable == ()
    assert_same_volume(read_volume(studies[0].series[0]), truth)


def compress(dataset: Dataset, coder: str, folder: Path) -> Path:
    """Compress one instance with pydicom (RLE) or dcmtk (JPEG)."""
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source = save([dataset], folder)[0]
    target = source.with_name(f"{source.stem}_{coder.replace(' ', '-')}.dcm")
    if coder == "rle":
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(target, enforce_file_format=True)
        return target
    program = {"jpeg lossless": "dcmcjpeg", "jpeg-ls": "dcmcjpls"}[coder]
    if shutil.which(program) is None:
        pytest.skip(f"{program} of dcmtk is not installed")
    subprocess.run([program, str(source), str(target)], check=True)
    return target


# Refusals: what is done to the data sets, and what the message must say.


def remove(*indices: int) -> Callable[[list[Dataset]], list[Dataset]]:
    def cut(datasets: list[Dataset]) -> list[Dataset]:
        by_place = sorted(datasets, key=lambda dataset: dataset.ImagePositionPatient[2])
        return [dataset for i, dataset in enumerate(by_place) if i not in indices]

    return cut


def change(index: int, **attributes: object) -> Callable[[list[Dataset]], list[Dataset]]:
    def changed(datasets: list[Dataset]) -> list[Dataset]:
        for keyword, value in attributes.items():
            setattr(datasets[index], keyword, value)
        return datasets

    return changed


def lean(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y + 0.2 * z, z]
    return datasets


def shift(index: int, by_mm: float) -> Callable[[list[Dataset]], list[Dataset]]:
    def shifted(datasets: list[Dataset]) -> list[Dataset]:
        x, y, z = datasets[index].ImagePositionPatient
        datasets[index].ImagePositionPatient = [x, y, z + by_mm]
        return datasets

    return shifted


def two_echoes(datasets: list[Dataset]) -> list[Dataset]:
    return datasets + [renamed(dataset, EchoTime=30.5) for dataset in datasets]


def again(datasets: list[Dataset]) -> list[Dataset]:
    return [*datasets, renamed(datasets[0])]


def renamed(dataset: Dataset, **attributes: object) -> Dataset:
    copy = deepcopy(dataset)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in attributes.items():
        setattr(copy, keyword, value)
    return copy


def skew(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets:
        dataset.ImageOrientationPatient = [1, 0, 0, 0.05, 0.99875, 0]
    return datasets


TURNED = [1, 0, 0, 0, 0.9962, 0.0872]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove(4, 5, 9), r"3 slices are missing \(spacing 3\.00 mm\): between .* and .* mm; .* along the normal"),
        (remove(6), r"1 slice is missing .* between -?\d+\.\d\d and -?\d+\.\d\d mm"),
        (
            change(2, FrameOfReferenceUID="1.2.3"),
            r"2 frames of reference: .* \(11 instances\), 1\.2\.3 \(1 instances\)",
        ),
        (change(2, ImageOrientationPatient=TURNED), r"1 of 12 are turned .* by up to 5\.0 degrees"),
        (change(2, PixelSpacing=[2.0, 1.0]), r"pixel spacing differs"),
        (change(2, Rows=8, PixelData=bytes(8 * 16 * 2)), r"rows × columns: 16 × 16 \(11\), 8 × 16 \(1\)"),
        (change(2, ImagePositionPatient=[]), r"has no ImagePositionPatient"),
        (lean, r"not orthogonal: the slices drift sideways by 6\.60 mm .* 11\.31 degrees .* gantry"),
        (skew, r"rows and columns are not orthogonal: they meet at 87\.1\d degrees"),
        (shift(3, 0.7), r"spaced unevenly: from 2\.300 to 3\.700 mm"),
        (two_echoes, r"12 of 24 images lie at the place of another .* multi-echo series: echo times 2\.52, 30\.5"),
        (again, r"1 of 13 images .* the same slice twice"),
        (lambda datasets: datasets[:1], r"1 slice; a volume needs at least 2"),
        (change(2, PhotometricInterpretation="PALETTE COLOR"), r"no grey-scale image"),
    ],
)
def test_an_irregular_series_is_refused(
    tmp_path: Path, damage: Callable[[list[Dataset]], list[Dataset]], message: str
) -> None:
    datasets = damage(series(grid((12, 16, 16), (3.0, 1.0, 1.0)), SIEMENS_MPRAGE, SeriesDescription="T1 KM"))
    one = stored(datasets, tmp_path)
    with pytest.raises(InvalidGeometryError, match=message) as refused:
        read_volume(one)
    assert str(refused.value).startswith("Series 3 'T1 KM' cannot be read as a volume: ")
    assert "Doe" not in str(refused.value)


def test_a_truncated_instance_is_named(tmp_path: Path) -> None:
    one = stored(series(grid((12, 16, 16)), SIEMENS_MPRAGE), tmp_path)
    path = one.instance_paths[3]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InvalidGeometryError, match=rf"instance {path.stem}: .* 500 of 512 bytes"):
        read_volume(one)


def test_truncated_compressed_pixels_are_named(tmp_path: Path) -> None:
    datasets = series(grid((3, 32, 32)), SIEMENS_MPRAGE)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    one = stored(datasets, tmp_path)
    path = one.instance_paths[1]
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(InvalidGeometryError, match=rf"instance {path.stem}: .* within its compressed pixel data"):
        read_volume(one)


def test_damaged_compressed_pixels_are_named(tmp_path: Path) -> None:
    datasets = series(grid((3, 32, 32)), SIEMENS_MPRAGE)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    one = stored(datasets, tmp_path)
    path = one.instance_paths[1]
    content = path.read_bytes()
    path.write_bytes(content[:-700] + bytes(692) + content[-8:])
    with pytest.raises(
        InvalidGeometryError, match=rf"the pixels of instance {path.stem} \(RLE Lossless\) cannot be decoded"
    ):
        read_volume(one)


def test_small_jitter_of_positions_is_accepted(tmp_path: Path) -> None:
    datasets = series(grid((12, 16, 16), (3.0, 1.0, 1.0)), SIEMENS_MPRAGE)
    for dataset, jitter in zip(datasets, np.random.default_rng(0).uniform(-0.04, 0.04, 12), strict=True):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, round(z + jitter, 5)]
        dataset.PixelSpacing = [1.0, round(1.0 + jitter / 1000, 6)]
    assert read_volume(stored(datasets, tmp_path)).volume.spacing_between_slices == pytest.approx(3.0, abs=0.02)
