"""The synthetic patient: what the images, the labels and the stated truth must agree on."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from inference.synthesis import chance
from inference.synthesis.courses import LesionCourse, default_courses
from inference.synthesis.patient import (
    Examination,
    SyntheticPatient,
    SyntheticStudy,
    TrueLesion,
    generate_patient,
)
from inference.threads import torch_threads
from tracking.timepoint import MRSequence

SMALL = Examination(resolution_mm=2.0, sequences=(MRSequence.T1C, MRSequence.FLAIR))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep to one processor thread: on a busy machine two that wait for each other take many times as long."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def patient() -> SyntheticPatient:
    return generate_patient(7, examination=SMALL)


def named(study: SyntheticStudy) -> dict[tuple[str, ...], TrueLesion]:
    return {lesion.names: lesion for lesion in study.lesions}


def head_mask(study: SyntheticStudy) -> NDArray[np.bool_]:
    """Return the head, filled, found from the image alone."""
    image = ndimage.gaussian_filter(study.images[MRSequence.T1C].array.astype(float), 1)
    return ndimage.binary_fill_holes(ndimage.binary_closing(image > np.percentile(image, 99) * 0.12, iterations=4))


def test_images_fit_twelve_bits(patient: SyntheticPatient) -> None:
    for study in patient.studies:
        for volume in study.images.values():
            assert volume.array.dtype == np.uint16
            assert 500 < int(volume.array.max()) <= 4095


def test_each_study_has_its_own_frame_of_reference(patient: SyntheticPatient) -> None:
    frames = []
    for study in patient.studies:
        uids = {volume.frame_of_reference_uid for volume in (*study.images.values(), study.labels)}
        assert len(uids) == 1
        frames.append(uids.pop())
    assert len(set(frames)) == 2
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in frames)


def test_labels_lie_on_the_grid_of_the_t1c(patient: SyntheticPatient) -> None:
    for study in patient.studies:
        t1c = study.images[MRSequence.T1C]
        assert study.labels.array.dtype == np.uint16
        assert study.labels.spatial_shape == t1c.spatial_shape
        assert np.array_equal(study.labels.affine, t1c.affine)


def test_the_stated_truth_is_that_of_the_labels(patient: SyntheticPatient) -> None:
    for study in patient.studies:
        assert set(np.unique(study.labels.array)) == {0, *(lesion.number for lesion in study.lesions)}
        for lesion in study.lesions:
            voxels = np.argwhere(study.labels.array == lesion.number)
            counted_mm3 = len(voxels) * float(np.prod(study.labels.spacing))
            tolerance = 0.1 if lesion.volume_mm3 > 500 else 0.4  # few 2 mm voxels fit into a small lesion
            assert counted_mm3 == pytest.approx(lesion.volume_mm3, rel=tolerance)
            centre = study.labels.affine[:3, :3] @ voxels.mean(0) + study.labels.affine[:3, 3]
            assert np.linalg.norm(centre - lesion.centroid_mm) < 1.0
            sphere_mm = 2 * (3 * lesion.volume_mm3 / (4 * np.pi)) ** (1 / 3)
            assert 0.75 * sphere_mm < lesion.longest_diameter_mm < 2.2 * sphere_mm


def test_every_lesion_is_one_component(patient: SyntheticPatient) -> None:
    for study in patient.studies:
        components, count = ndimage.label(study.labels.array > 0, np.ones((3, 3, 3)))
        assert count == len(study.lesions)
        for lesion in study.lesions:
            assert len(np.unique(components[study.labels.array == lesion.number])) == 1


def test_lesions_grow_shrink_appear_vanish_and_merge(patient: SyntheticPatient) -> None:
    prior, current = (named(study) for study in patient.studies)
    change = {names: current[names].volume_mm3 / prior[names].volume_mm3 for names in prior.keys() & current.keys()}
    assert max(change.values()) > 1.5
    assert min(change.values()) < 0.6
    assert any(0.9 < factor < 1.15 for factor in change.values())
    merged = [names for names in current if len(names) == 2]
    assert merged == [("H", "I")]
    assert ("H",) in prior
    assert ("I",) in prior
    before = {name for names in prior for name in names}
    after = {name for names in current for name in names}
    assert before - after == {"G"}
    assert after - before == {"J", "K"}


def test_lesions_lie_deep_inside_the_head(patient: SyntheticPatient) -> None:
    for study in patient.studies:
        depth_mm = ndimage.distance_transform_edt(head_mask(study), sampling=study.labels.spacing)
        assert depth_mm[study.labels.array > 0].min() > 6  # scalp, skull and fluid


def test_the_head_moved_rigidly_between_the_studies(patient: SyntheticPatient) -> None:
    prior, current = (named(study) for study in patient.studies)
    both = sorted(prior.keys() & current.keys())
    before, after = (np.array([side[names].centroid_mm for names in both]) for side in (prior, current))
    left, _, right = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
    turn = (left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right).T
    residual = (after - after.mean(0)) - (before - before.mean(0)) @ turn.T
    angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
    assert np.abs(residual).max() < 1.5  # growing lesions are not quite symmetric
    assert 1 < angle < 21


def test_contrast_agent_makes_lesions_bright(patient: SyntheticPatient) -> None:
    for study in patient.studies:
        image = study.images[MRSequence.T1C].array.astype(float)
        for lesion in study.lesions:
            inside = study.labels.array == lesion.number
            around = ndimage.binary_dilation(inside, iterations=4) & ~ndimage.binary_dilation(inside, iterations=2)
            assert np.percentile(image[inside], 90) > 1.15 * np.median(image[around])


def test_the_full_examination_has_clinical_resolution() -> None:
    examination = Examination()
    t1c, flair = (examination.prescription(sequence) for sequence in (MRSequence.T1C, MRSequence.FLAIR))
    assert (t1c.slice_mm, t1c.in_plane_mm) == (1.0, 1.0)
    assert flair.slice_mm + flair.gap_mm == pytest.approx(4.4)
    assert flair.in_plane_mm < 1.0


def test_default_courses_of_three_studies_show_every_state() -> None:
    courses = {course.name: course for course in default_courses(3, generator=chance.generator_for(1, "courses"))}
    there = {name: tuple(volume > 0 for volume in course.volumes_mm3) for name, course in courses.items()}
    assert there["G"] == (True, False, True)  # resolved, then recurrent
    assert there["D"] == (True, True, False)  # resolved
    assert there["K"] == (False, True, True)  # new
    assert there["L"] == (False, False, True)
    merged, joined = courses["H"].volumes_mm3, courses["I"].volumes_mm3
    assert courses["I"].joins == "H"
    assert merged[1] > 3 * merged[0]  # merged, then split
    assert (merged[2], joined[2]) == (merged[0], joined[0])


def test_wrong_requests_are_refused_with_what_is_wrong() -> None:
    one = LesionCourse(name="A", volumes_mm3=(100.0,))
    with pytest.raises(ValueError, match="1 volumes for 2 studies"):
        generate_patient(1, courses=[one])
    with pytest.raises(ValueError, match="ascending"):
        generate_patient(1, dates=[date(2024, 5, 1), date(2024, 1, 1)])
    with pytest.raises(ValueError, match="coronal"):
        Examination(plane="coronal")
    with pytest.raises(ValueError, match="T1c"):
        Examination(sequences=(MRSequence.T2,))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(patient: SyntheticPatient) -> None:
    again = generate_patient(7, examination=SMALL)
    for first, second in zip(patient.studies, again.studies, strict=True):
        assert first.lesions == second.lesions
        for sequence, volume in first.images.items():
            assert np.array_equal(volume.array, second.images[sequence].array)
            assert np.array_equal(volume.affine, second.images[sequence].affine)


@pytest.mark.slow
def test_other_seeds_give_other_heads_and_other_courses_the_same_head() -> None:
    quick = replace(SMALL, resolution_mm=3.0, sequences=(MRSequence.T1C,))
    few = [LesionCourse(name="A", volumes_mm3=(2000.0,), region="tissue")]
    first, second = (
        generate_patient(seed, dates=[date(2024, 1, 1)], courses=few, examination=quick) for seed in (1, 2)
    )
    more = [*few, LesionCourse(name="B", volumes_mm3=(900.0,))]
    third = generate_patient(1, dates=[date(2024, 1, 1)], courses=more, examination=quick)
    images = [one.studies[0].images[MRSequence.T1C].array.ravel().astype(float) for one in (first, second, third)]
    likeness = np.corrcoef(images)
    assert likeness[0, 2] > 0.99
    assert likeness[0, 1] < 0.97


@pytest.mark.slow
def test_at_full_resolution_voxel_counts_are_within_a_few_percent_of_the_truth() -> None:
    examination = Examination(sequences=(MRSequence.T1C,), plane="sagittal")
    for study in generate_patient(3, examination=examination).studies:
        sizes = np.bincount(study.labels.array.ravel())
        for lesion in study.lesions:
            tolerance = 0.03 if lesion.volume_mm3 > 200 else 0.2
            assert sizes[lesion.number] == pytest.approx(lesion.volume_mm3, rel=tolerance)
