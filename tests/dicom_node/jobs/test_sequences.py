"""What a study has beside its T1c is laid on it, and what it lacks is said; real files, real registration."""

from pathlib import Path

import numpy as np
import pytest
from highdicom import Volume

from dicom_node.jobs.sequences import align_further
from dicom_node.studies.reading import read_study
from dicom_node.studies.study import Series
from inference.inputs import sequences_for
from tests.dicom_node.results.phantoms import mr_series
from tests.dicom_node.studies.heads import head
from tracking.timepoint import MRSequence

MOVED_MM = (4.0, -3.0, 2.5)
CHANNELS = ("T1c", "T1", "FLAIR", "prior_mask")


@pytest.fixture(scope="module")
def t1c() -> Volume:
    return head(contrast_agent=True, spacing_mm=(3.0, 2.0, 2.0))


def brain_of(volume: Volume) -> Volume:
    middle = volume.affine @ [*((np.array(volume.spatial_shape) - 1) / 2), 1]
    points = (
        np.stack(np.indices(volume.spatial_shape), -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3] - middle[:3]
    )
    return volume.with_array((np.sum((points / (66, 84, 78)) ** 2, -1) < 1).astype(np.uint8))


def on_disk(volume: Volume, folder: Path) -> Series:
    folder.mkdir()
    for number, image in enumerate(mr_series(volume, pixels=volume.array)):
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    study, unreadable = read_study(sorted(folder.iterdir()))
    assert not unreadable
    return study.series[0]


def test_a_sequence_that_lies_aside_is_laid_on_the_t1c(t1c: Volume, tmp_path: Path) -> None:
    plain = head(contrast_agent=False, spacing_mm=(3.0, 2.0, 2.0), seed=4)
    affine = plain.affine.copy()
    affine[:3, 3] += MOVED_MM  # the patient moved, the header does not know
    moved = Volume(plain.array, affine, "PATIENT", frame_of_reference_uid=plain.frame_of_reference_uid)
    brain = brain_of(t1c)
    series = {MRSequence.T1: on_disk(moved, tmp_path / "t1")}
    found = align_further(series, t1c.astype(np.float32), brain, channels=CHANNELS, threads=1)
    assert found.images[MRSequence.T1].geometry_equal(t1c)
    inside = brain.array > 0
    aligned, true = found.images[MRSequence.T1].array[inside], plain.array[inside].astype(float)
    assert np.corrcoef(aligned, true)[0, 1] > 0.97
    unmoved = np.roll(plain.array, (1, -2, 2), (0, 1, 2))[inside]
    assert np.corrcoef(unmoved, true)[0, 1] < 0.95  # half a centimetre is worth noticing here


def test_what_is_missing_or_unreadable_is_said_and_no_error(t1c: Volume, tmp_path: Path) -> None:
    series = on_disk(t1c, tmp_path / "t1")
    gone = sorted((tmp_path / "t1").iterdir())[20]
    gone.unlink()
    broken = Series(**{**vars(series), "instance_paths": tuple(p for p in series.instance_paths if p != gone)})
    found = align_further({MRSequence.T1: broken}, t1c, brain_of(t1c), channels=CHANNELS, threads=1)
    assert not found.images
    assert found.remarks[0].startswith("T1 was left out: ")
    assert found.remarks[1] == "The study has no FLAIR; the network, which can use it, went without."


def test_a_model_that_wants_the_t1c_alone_gets_nothing_more(t1c: Volume) -> None:
    found = align_further({}, t1c, brain_of(t1c), channels=("T1c", "prior_mask"), threads=1)
    assert not found.images
    assert not found.remarks


def test_a_subtraction_needs_the_t1() -> None:
    assert sequences_for(("T1c", "subtraction")) == (MRSequence.T1, MRSequence.T1C)
    assert sequences_for(("T1c", "FLAIR", "prior_mask")) == (MRSequence.T1C, MRSequence.FLAIR)
