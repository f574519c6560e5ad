"""The pixel evidence for contrast agent: real heads on both sides, and what must not change it.

How often it is right is measured on all heads by ``benchmarks/contrast_from_pixels.py``; here a few of them guard it.
"""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from highdicom import Volume

from dicom_node.errors import NoUsableSeriesError
from dicom_node.studies.brain_region import NoBrainError, find_brain_region, sample_at
from dicom_node.studies.contrast import Brightness, compare_brightness, measure_brightness
from dicom_node.studies.reading import read_study
from dicom_node.studies.selection import require_t1c, select_series
from tests.dicom_node.studies.heads import head
from tests.dicom_node.studies.scanners import SPIN_ECHO_T1, grid, save, series, turned
from tracking.timepoint import MRSequence

DATA = Path(__file__).parents[4] / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.exists(), reason="the research images of ../shared/data are not here")


@pytest.fixture(scope="module")
def enhanced() -> Brightness:
    return measure_brightness(head(contrast_agent=True))


@pytest.fixture(scope="module")
def native() -> Brightness:
    return measure_brightness(head(contrast_agent=False))


def test_vessels_are_seen(enhanced: Brightness, native: Brightness) -> None:
    assert enhanced.log_odds > 3
    assert native.log_odds < -3


def test_scale_offset_and_plane_do_not_matter(enhanced: Brightness) -> None:
    plain = head(contrast_agent=True)
    other = plain.with_array(plain.array.astype(np.float32) * 7.3 + 500)
    assert measure_brightness(other).bright_share == pytest.approx(enhanced.bright_share, rel=0.15)
    oblique = head(contrast_agent=True, directions=turned((80, 15, -10)))
    assert measure_brightness(oblique).bright_share == pytest.approx(enhanced.bright_share, rel=0.5)


def test_two_series_of_one_study_are_compared(enhanced: Brightness, native: Brightness) -> None:
    assert compare_brightness(enhanced, native) > 3
    assert compare_brightness(native, enhanced) < -3
    repeated = measure_brightness(head(contrast_agent=False, seed=9))
    assert abs(compare_brightness(native, repeated)) < 1


def test_the_region_stays_in_the_brain() -> None:
    volume = head(contrast_agent=True)
    inside = sample_at(find_brain_region(volume).region, volume) > 0.5
    indices = np.argwhere(inside)
    x, y, z = (volume.map_indices_to_reference(indices)).T
    assert ((x / 66) ** 2 + (y / 84) ** 2 + (z / 78) ** 2).max() < 1
    assert inside.sum() * np.prod(volume.spacing) > 450_000


def test_an_image_without_a_head_is_refused() -> None:
    with pytest.raises(NoBrainError):
        measure_brightness(grid((20, 64, 64)).with_array(np.zeros((20, 64, 64), np.float32)))
    noise = np.random.default_rng(0).normal(100, 10, (20, 32, 32)).astype(np.float32)
    with pytest.raises(NoBrainError):
        measure_brightness(grid((20, 32, 32), (2.0, 1.0, 1.0)).with_array(noise))


def nifti(name: str) -> Volume:
    image = nib.load(DATA / "heads" / f"{name}.nii.gz")
    affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
    array = np.asarray(image.dataobj, dtype=np.uint16).transpose(2, 1, 0)
    return Volume(np.ascontiguousarray(array), affine[:, [2, 1, 0, 3]], "PATIENT", frame_of_reference_uid="1.2.3")


@real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SAG-anon", "studyforrest-anat"])
def test_real_native_series_are_refused_for_the_right_reason(tmp_path: Path, name: str) -> None:
    shutil.unpack_archive(DATA / "dicom" / f"{name}.tar.xz", tmp_path)
    study, _ = read_study(path for path in tmp_path.rglob("*") if path.is_file())
    selection = select_series(study)
    assert [one.role for one in selection.decisions] == [MRSequence.T1]
    with pytest.raises(NoUsableSeriesError, match=r"T1-weighted .* without contrast agent"):
        require_t1c(selection)


@real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["TCGA_CS_4941_19960909", "TCGA_EZ_7264_20010816", "TCGA_FG_8189_20030516"])
def test_real_unlabelled_t1c_are_accepted(tmp_path: Path, name: str) -> None:
    paths = save(series(nifti(f"{name}_t1c"), SPIN_ECHO_T1), tmp_path)
    selection = select_series(read_study(paths)[0])
    assert require_t1c(selection).series_number == 3


@real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["TCGA_DU_7014_19860618", "TCGA_FG_A4MU_20030903", "TCGA_FG_5962_20000626"])
def test_real_pairs_are_told_apart(tmp_path: Path, name: str) -> None:
    study = {"StudyInstanceUID": "1.2.3.4"}
    made = [
        *series(nifti(f"{name}_t1c"), SPIN_ECHO_T1, SeriesNumber=8, **study),
        *series(nifti(f"{name}_t1"), SPIN_ECHO_T1, SeriesNumber=4, **study),
    ]
    selection = select_series(read_study(save(made, tmp_path))[0])
    roles = {one.series_number: one.role for one in selection.decisions}
    assert roles == {8: MRSequence.T1C, 4: MRSequence.T1}
