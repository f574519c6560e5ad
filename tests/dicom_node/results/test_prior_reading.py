"""Results read back from files are what was written; files that are not ours, or not of these images, are met too."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom import AlgorithmIdentificationSequence, Volume
from highdicom.seg import Segmentation, SegmentDescription
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from dicom_node.errors import InvalidGeometryError, InvalidStudyError
from dicom_node.results import codes
from dicom_node.results.prior_reading import PriorResults, read_prior_results
from dicom_node.results.report import Findings, build_report
from dicom_node.results.segmentation import build_segmentation
from tests.dicom_node.results.phantoms import (
    AXIAL,
    IDENTITY,
    MODEL,
    SAGITTAL,
    first_study,
    follow_up,
    gone_from,
    grid,
    mr_series,
    oblique,
    track,
    tracking_uid,
    with_balls,
)
from tracking.comparison import Comparison
from tracking.lesion import Point
from tracking.track import EmptySite, TrackState

GRID = grid((24, 40, 32), (1.5, 0.9, 1.1), oblique(SAGITTAL))
LABELS = with_balls(GRID, [((6, 10, 9), 4.0), ((15, 28, 20), 6.0), ((20, 8, 26), 0.4)])
SITE_MM: Point = (1.25, -9.5, 8.125)


def write(
    folder: Path,
    labels: Volume,
    comparison: Comparison,
    sites: dict[str, tuple[EmptySite, ...]] | None = None,
    days: int | None = None,
) -> tuple[Path | None, Path]:
    """Write the results of one study and return the paths of SEG and SR."""
    images = mr_series(labels)
    segmentation = build_segmentation(images, labels, comparison, MODEL, identity=IDENTITY)
    findings = Findings(
        source_images=images,
        lesions=labels,
        segmentation=segmentation,
        comparison=comparison,
        empty_sites=sites or {},
        days_since_baseline=days,
    )
    build_report(findings, MODEL, identity=IDENTITY).save_as(folder / "sr.dcm")
    if segmentation is None:
        return None, folder / "sr.dcm"
    segmentation.save_as(folder / "seg.dcm")
    return folder / "seg.dcm", folder / "sr.dcm"


def names(results: PriorResults) -> list[tuple[int, str, str]]:
    return [(one.number, one.tracking_uid, one.tracking_id) for one in results.identities]


def test_a_report_whose_segmentation_is_gone_is_refused(tmp_path: Path) -> None:
    _, sr = write(tmp_path, LABELS, follow_up(LABELS))
    with pytest.raises(InvalidStudyError, match="describes a SEG that the archive does not hold"):
        read_prior_results(None, sr, GRID)


def test_lesions_identities_and_sites_come_back(tmp_path: Path) -> None:
    seg, sr = write(tmp_path, LABELS, follow_up(LABELS), {tracking_uid("L4"): gone_from(SITE_MM)}, days=95)
    results = read_prior_results(seg, sr, GRID)
    assert np.array_equal(results.lesions.array, LABELS.array)
    assert results.lesions.array.dtype == np.uint16
    assert np.array_equal(results.lesions.affine, GRID.affine)
    assert names(results) == [(n, tracking_uid(f"L{n}"), f"L{n}") for n in (1, 2, 3)]
    (absent,) = results.absent
    assert (absent.tracking_uid, absent.tracking_id) == (tracking_uid("L4"), "L4")
    assert absent.site_mm == pytest.approx(SITE_MM, abs=1e-4)
    assert absent.volume_mm3 == pytest.approx(904.8)
    assert results.days_since_baseline == 95


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    centre=st.tuples(st.integers(0, 9), st.integers(0, 11), st.integers(0, 7)),
    tilt=st.floats(-30, 30),
    spacing=st.tuples(st.floats(0.8, 6), st.floats(0.4, 1.2), st.floats(0.4, 1.2)),
    axes=st.sampled_from([AXIAL, SAGITTAL]),
)
def test_a_single_voxel_comes_back_anywhere(
    tmp_path: Path,
    centre: tuple[int, int, int],
    tilt: float,
    spacing: tuple[float, float, float],
    axes: np.ndarray,
) -> None:
    rounded = tuple(round(value, 3) for value in spacing)
    empty = grid((10, 12, 8), rounded, oblique(axes, (tilt, -tilt / 3)))
    labels = with_balls(empty, [(centre, 0.01)])
    seg, _ = write(tmp_path, labels, first_study(labels))
    assert np.array_equal(read_prior_results(seg, None, empty).lesions.array, labels.array)


def test_a_study_without_lesions_comes_back_empty(tmp_path: Path) -> None:
    seg, sr = write(tmp_path, GRID, first_study(GRID))
    results = read_prior_results(seg, sr, GRID)
    assert seg is None
    assert not results.lesions.array.any()
    assert results.identities == results.absent == ()


def test_a_resolved_lesion_that_was_never_measured_keeps_its_site(tmp_path: Path) -> None:
    still_gone = track("L9", TrackState.RESOLVED)
    study = replace(first_study(GRID), tracks=(still_gone,))
    seg, sr = write(tmp_path, GRID, study, {still_gone.tracking_uid: gone_from(SITE_MM, 12.5)})
    (absent,) = read_prior_results(seg, sr, GRID).absent
    assert absent.site_mm == pytest.approx(SITE_MM, abs=1e-4)
    assert absent.volume_mm3 == pytest.approx(12.5)


def test_the_place_of_a_part_that_has_gone_is_kept(tmp_path: Path) -> None:
    seg, sr = write(tmp_path, LABELS, follow_up(LABELS), {tracking_uid("L1"): gone_from(SITE_MM, 30.0)})
    (absent,) = read_prior_results(seg, sr, GRID).absent
    assert (absent.tracking_uid, absent.volume_mm3) == (tracking_uid("L1"), 30.0)


@pytest.mark.parametrize("state", [TrackState.RESOLVED, TrackState.NOT_ASSESSED])
def test_a_lesion_outside_the_images_keeps_its_identity(state: TrackState, tmp_path: Path) -> None:
    outside = track("L9", state)
    site: Point = (1.0, 400.0, -2.5)
    seg, sr = write(
        tmp_path, GRID, replace(first_study(GRID), tracks=(outside,)), {outside.tracking_uid: gone_from(site)}
    )
    (absent,) = read_prior_results(seg, sr, GRID).absent
    assert (absent.tracking_uid, absent.tracking_id) == (outside.tracking_uid, "L9")
    assert absent.site_mm == pytest.approx(site, abs=1e-4)


def test_identities_last_over_three_studies(tmp_path: Path) -> None:
    grids = [grid((24, 40, 32), (1.5, 0.9, 1.1), AXIAL, frame_of_reference_uid=f"1.2.3.{n}") for n in range(3)]
    balls = [((6, 10, 9), 4.0), ((15, 28, 20), 6.0)]
    first = with_balls(grids[0], balls)
    seg, sr = write(tmp_path, first, first_study(first))
    known = read_prior_results(seg, sr, grids[0]).identities
    second = with_balls(grids[1], balls[:1])  # the second lesion has gone
    today = first_study(second).tracks[0]
    tracks = (
        replace(today, tracking_uid=known[0].tracking_uid, tracking_id=known[0].tracking_id),
        track(known[1].tracking_id, TrackState.RESOLVED),
    )
    seg, sr = write(
        tmp_path, second, replace(first_study(second), tracks=tracks), {tracks[1].tracking_uid: gone_from(SITE_MM)}
    )
    results = read_prior_results(seg, sr, grids[1])
    third = with_balls(grids[2], balls)
    found = first_study(third).tracks
    everyone = [*results.identities, *results.absent]
    tracks = tuple(
        replace(one, tracking_uid=who.tracking_uid, tracking_id=who.tracking_id)
        for one, who in zip(found, everyone, strict=True)
    )
    seg, sr = write(tmp_path, third, replace(first_study(third), tracks=tracks))
    results = read_prior_results(seg, sr, grids[2])
    assert names(results) == [(1, tracking_uid("L1"), "L1"), (2, tracking_uid("L2"), "L2")]


def foreign_segmentation(labels: Volume, path: Path, source: Volume = GRID) -> Path:
    """A SEG as another program might write it: no tracking identifiers, other labels."""
    algorithm = AlgorithmIdentificationSequence(name="hand", family=codes.ARTIFICIAL_INTELLIGENCE, version="0")
    Segmentation(
        source_images=mr_series(source),
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=[
            SegmentDescription(n, f"met {n}", codes.ABNORMAL_STRUCTURE, codes.METASTASIS, "SEMIAUTOMATIC", algorithm)
            for n in range(1, int(labels.array.max()) + 1)
        ],
        series_instance_uid="1.2.7.1",
        series_number=20,
        sop_instance_uid="1.2.7.2",
        instance_number=1,
        manufacturer="Other",
        manufacturer_model_name="Other",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)
    return path


def test_a_foreign_segmentation_gets_lasting_identities(tmp_path: Path) -> None:
    seg = foreign_segmentation(LABELS, tmp_path / "seg.dcm")
    results = read_prior_results(seg, None, GRID)
    assert np.array_equal(results.lesions.array, LABELS.array)
    assert [one.tracking_id for one in results.identities] == ["met 1", "met 2", "met 3"]
    assert len({one.tracking_uid for one in results.identities}) == 3
    assert read_prior_results(seg, None, GRID).identities == results.identities


def _cut(labels: Volume) -> Volume:
    return labels[2:23, 5:35, 4:30]


def _flipped(labels: Volume) -> Volume:
    return labels.flip_spatial([0, 2])


def _permuted(labels: Volume) -> Volume:
    return labels.permute_spatial_axes([1, 0, 2])


@pytest.mark.parametrize("change", [_cut, _flipped, _permuted])
def test_a_foreign_segmentation_on_the_same_voxels_comes_back_exactly(
    change: Callable[[Volume], Volume], tmp_path: Path
) -> None:
    seg = foreign_segmentation(change(LABELS), tmp_path / "seg.dcm")
    assert np.array_equal(read_prior_results(seg, None, GRID).lesions.array, LABELS.array)


def test_a_foreign_segmentation_on_another_grid_is_sampled(tmp_path: Path) -> None:
    fine = with_balls(grid((36, 60, 60), (1.0, 0.6, 0.6), oblique(SAGITTAL)), [((18, 30, 30), 7.0)])
    seg = foreign_segmentation(fine, tmp_path / "seg.dcm")
    lesions = read_prior_results(seg, None, GRID).lesions
    volume_mm3 = np.count_nonzero(lesions.array) * GRID.voxel_volume
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * 7.0**3, rel=0.05)
    centre = GRID.affine[:3, :3] @ np.argwhere(lesions.array).mean(axis=0) + GRID.affine[:3, 3]
    truth = (fine.affine @ [18, 30, 30, 1])[:3]
    assert np.linalg.norm(centre - truth) < 0.5


def test_results_of_other_images_are_refused(tmp_path: Path) -> None:
    seg, sr = write(tmp_path, LABELS, follow_up(LABELS), {tracking_uid("L4"): gone_from(SITE_MM)})
    other = grid((24, 40, 32), (1.5, 0.9, 1.1), oblique(SAGITTAL), frame_of_reference_uid="1.2.3.5")
    with pytest.raises(InvalidGeometryError, match=r"SEG lies in the frame of reference 1\.2\.3\.4"):
        read_prior_results(seg, sr, other)
    report = dcmread(sr)
    del report.CurrentRequestedProcedureEvidenceSequence
    alone = tmp_path / "alone.dcm"
    report.save_as(alone)
    with pytest.raises(InvalidGeometryError, match=r"SR lies in the frame of reference 1\.2\.3\.4"):
        read_prior_results(None, alone, other)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    seg, sr = write(tmp_path, LABELS, follow_up(LABELS))
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(InvalidStudyError, match=r"taken for the prior's SEG, but is SR"):
        read_prior_results(sr, None, GRID)
    with pytest.raises(InvalidStudyError, match=r"taken for the prior's SR, but is SEG"):
        read_prior_results(None, seg, GRID)
    with pytest.raises(InvalidStudyError, match=r"text\.dcm cannot be read"):
        read_prior_results(tmp_path / "text.dcm", None, GRID)
    with pytest.raises(InvalidStudyError, match=r"gone\.dcm cannot be read"):
        read_prior_results(tmp_path / "gone.dcm", None, GRID)


def test_a_report_without_our_details_is_no_obstacle(tmp_path: Path) -> None:
    seg, sr = write(tmp_path, LABELS, follow_up(LABELS), {tracking_uid("L4"): gone_from(SITE_MM)}, days=95)
    report = dcmread(sr)
    del report.LongitudinalTemporalOffsetFromEvent
    del report.ContentSequence[-2:]
    report.save_as(sr)
    results = read_prior_results(seg, sr, GRID)
    assert results.absent == ()
    assert results.days_since_baseline is None
