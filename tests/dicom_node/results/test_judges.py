"""Programs that nobody here wrote judge SEG and SR: dciodvfy, dcmtk, dcmqi.

dciodvfy's warnings are known: it does not know private coding schemes, nor a Device UID below Contributing Equipment.
Of real images it doubts one-word names and the Requesting Service, which are copied as they are.
"""

import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from highdicom import Volume, get_volume_from_series
from pydicom import dcmread

from dicom_node.results.course_record import EarlierReport
from dicom_node.results.report import Findings, build_report
from dicom_node.results.segmentation import build_segmentation
from dicom_node.studies.selection import SeriesDecision
from tests.dicom_node.results.phantoms import (
    AXIAL,
    IDENTITY,
    MODEL,
    SAGITTAL,
    Patient,
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
from tests.dicom_node.results.test_course_record import visit_of_everything
from tracking.comparison import Comparison
from tracking.detail import LesionDetail
from tracking.measurement import Place, Side, measure_lesions
from tracking.timepoint import MRSequence
from tracking.track import TrackState

SCANNER_SERIES = Path(__file__).parents[4] / "shared" / "data" / "dicom"

pytestmark = pytest.mark.end_to_end

KNOWN_WARNINGS = (
    "99BRAINMETS",
    "99IHE",
    "Device UID",
    "Standard Extended SOP Class",
    "Requesting Service",
    "Name form",
)


def program(name: str) -> str:
    """The path of a judge, beside this Python or on the search path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(name: str, *arguments: object) -> str:
    """Everything that a judge says; it must not fail."""
    command = [program(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="latin-1", timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def no_errors(path: Path) -> None:
    """Let dciodvfy judge one file; every line is either no error or a warning that is explained above."""
    lines = run("dciodvfy", path).splitlines()
    assert not [line for line in lines if line.startswith("Error")]
    warnings = [line for line in lines if line.startswith("Warning")]
    assert not [line for line in warnings if not any(known in line for known in KNOWN_WARNINGS)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """What dcmqi reads of one segment."""

    volume_mm3: float
    centroid_mm: np.ndarray
    meta: dict[str, Any]


def read_segments(seg: Path, folder: Path) -> list[Segment]:
    """Let dcmqi convert a SEG to one NIfTI file per segment."""
    folder.mkdir()
    run("segimage2itkimage", "--inputDICOM", seg, "--outputDirectory", folder, "--outputType", "nii")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    described = {item["labelID"]: item for group in meta["segmentAttributes"] for item in group}
    return [read_segment(folder / f"{number}.nii.gz", described[number]) for number in sorted(described)]


def read_segment(path: Path, meta: dict[str, Any]) -> Segment:
    image = sitk.ReadImage(str(path))
    voxels = np.argwhere(sitk.GetArrayFromImage(image))
    centre = image.TransformContinuousIndexToPhysicalPoint([float(value) for value in voxels.mean(axis=0)[::-1]])
    volume = len(voxels) * float(np.prod(image.GetSpacing()))
    return Segment(volume_mm3=volume, centroid_mm=np.array(centre), meta=meta)


def read_groups(sr: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Let dcmqi read the numbers of each measurement group, by tracking UID."""
    run("tid1500reader", "--inputDICOM", sr, "--outputMetadata", folder / "sr.json")
    read = json.loads((folder / "sr.json").read_text(encoding="utf-8"))
    return {
        group["TrackingUniqueIdentifier"]: {
            item["quantity"]["CodeMeaning"]: float(item["value"]) for item in group["measurementItems"]
        }
        for group in read["Measurements"]
    }


def write(folder: Path, labels: Volume, comparison: Comparison, **more: Any) -> None:
    images = more.pop("images", None) or mr_series(labels, more.pop("patient", None))
    segmentation = build_segmentation(images, labels, comparison, MODEL, identity=IDENTITY)
    findings = Findings(source_images=images, lesions=labels, segmentation=segmentation, comparison=comparison, **more)
    build_report(findings, MODEL, identity=IDENTITY).save_as(folder / "sr.dcm")
    if segmentation is not None:
        segmentation.save_as(folder / "seg.dcm")


ACQUISITIONS = {
    "axial": grid((30, 64, 56), (3.0, 0.9, 0.9), AXIAL),
    "oblique axial, anisotropic": grid((30, 64, 56), (5.0, 0.7, 1.2), oblique(AXIAL)),
    "sagittal": grid((60, 64, 56), (1.0, 1.0, 1.0), SAGITTAL),
    "oblique sagittal": grid((60, 64, 56), (1.2, 0.8, 1.0), oblique(SAGITTAL, (-11.0, 8.0))),
    "from head to feet": grid((30, 64, 56), (3.0, 0.9, 0.9), AXIAL * np.array([-1, 1, 1])),
}


@pytest.mark.parametrize("empty", ACQUISITIONS.values(), ids=ACQUISITIONS)
def test_dcmqi_finds_every_lesion_where_it_is_and_as_large_as_reported(empty: Volume, tmp_path: Path) -> None:
    labels = with_balls(empty, [((8, 20, 16), 7.0), ((18, 44, 30), 9.0), ((27, 10, 50), 0.3)])
    write(tmp_path, labels, follow_up(labels))
    segments = read_segments(tmp_path / "seg.dcm", tmp_path / "segments")
    reported = read_groups(tmp_path / "sr.dcm", tmp_path)
    assert len(segments) == 3
    for segment, lesion in zip(segments, measure_lesions(labels), strict=True):
        uid = tracking_uid(f"L{lesion.number}")
        assert (segment.meta["TrackingIdentifier"], segment.meta["TrackingUniqueIdentifier"]) == (
            f"L{lesion.number}",
            uid,
        )
        assert np.abs(segment.centroid_mm - lesion.centroid_mm).max() < min(empty.spacing) / 2
        assert np.linalg.norm(segment.centroid_mm - lesion.centroid_mm) < 0.01
        assert reported[uid]["Volume"] == pytest.approx(segment.volume_mm3, rel=1e-3)


@pytest.mark.parametrize(
    "patient",
    [
        Patient(name="Müßig^Jürgen", character_set="ISO_IR 100"),
        Patient(name="Yamada^Tarou=山田^太郎=やまだ^たろう", character_set=["", "ISO 2022 IR 87"]),
        Patient(name="Łęcka^Zoë", character_set="ISO_IR 192"),
    ],
    ids=["german", "japanese", "utf-8"],
)
def test_no_judge_finds_an_error(patient: Patient, tmp_path: Path) -> None:
    empty = ACQUISITIONS["oblique axial, anisotropic"]
    labels = with_balls(empty, [((8, 20, 16), 7.0), ((18, 44, 30), 9.0)])
    decisions = (
        SeriesDecision(series_uid="1.2", series_number=5, description="T1 KM", role=MRSequence.T1C, reason="Agent."),
    )
    site = tuple(float(value) for value in (empty.affine @ [4, 30, 30, 1])[:3])
    unseen = track("L8", TrackState.NOT_ASSESSED, [measure_lesions(labels)[0]])
    study = replace(follow_up(labels), tracks=(*follow_up(labels).tracks, unseen))
    more = {
        "empty_sites": {
            tracking_uid("L1"): gone_from(site, 40.0),  # a part of it has gone
            tracking_uid("L3"): gone_from(site),
            unseen.tracking_uid: gone_from((0.0, 500.0, 0.0), None),
        },
        "details": {
            tracking_uid("L1"): LesionDetail(
                place=Place(side=Side.LEFT, region="cerebellar cortex"), notes=("10 mm³",)
            ),
            tracking_uid("L3"): LesionDetail(place=Place(side=Side.MIDLINE, region="ventral diencephalon")),
        },
        "course": ("RANO-BM on 2024-05-06: stable disease.",),
        "visits": (visit_of_everything(),),
        "prior_report": EarlierReport(study_uid="1.2.3.9", sop_instance_uid="1.2.3.9.4"),
        "days_since_baseline": 95,
    }
    write(tmp_path, labels, study, patient=patient, series=decisions, **more)
    no_errors(tmp_path / "seg.dcm")
    no_errors(tmp_path / "sr.dcm")
    dump = run("dsrdump", tmp_path / "sr.dcm")
    assert dump.count("Measurement Group") == 3
    assert "rror" not in dump
    assert read_groups(tmp_path / "sr.dcm", tmp_path)[tracking_uid("L3")]["Volume"] == 0


def test_a_report_without_lesions_is_valid(tmp_path: Path) -> None:
    empty = ACQUISITIONS["axial"]
    write(tmp_path, empty, first_study(empty))
    no_errors(tmp_path / "sr.dcm")
    assert "No prior study" in run("dsrdump", "+Pl", tmp_path / "sr.dcm")


@pytest.mark.parametrize("name", ["SAG-anon", "studyforrest-anat"])
@pytest.mark.skipif(not SCANNER_SERIES.exists(), reason="the scanner series of shared/data are not here")
def test_results_of_real_scanner_images_are_valid(name: str, tmp_path: Path) -> None:
    with tarfile.open(SCANNER_SERIES / f"{name}.tar.xz") as archive:
        files = [archive.extractfile(member) for member in archive if member.isfile()]
        images = [dcmread(BytesIO(file.read())) for file in files if file]
    empty = get_volume_from_series(images)
    inverse = np.linalg.inv(empty.affine)
    images.sort(key=lambda image: (inverse @ [*map(float, image.ImagePositionPatient), 1])[0])
    i, j, k = (n // 2 for n in empty.spatial_shape)
    labels = with_balls(
        empty.with_array(np.zeros(empty.spatial_shape, np.uint16)), [((i, j, k), 9), ((i + 40, j, k), 3)]
    )
    write(tmp_path, labels, first_study(labels), images=images)
    no_errors(tmp_path / "seg.dcm")
    no_errors(tmp_path / "sr.dcm")
    for segment, lesion in zip(
        read_segments(tmp_path / "seg.dcm", tmp_path / "nii"), measure_lesions(labels), strict=True
    ):
        assert np.linalg.norm(segment.centroid_mm - lesion.centroid_mm) < 0.05
        assert segment.volume_mm3 == pytest.approx(lesion.total_volume_mm3, rel=1e-3)


def test_sixty_lesions_keep_their_places(tmp_path: Path) -> None:
    empty = grid((96, 128, 128), (1.5, 1.0, 1.0), oblique(SAGITTAL))
    centres = [(12 + 18 * i, 12 + 26 * j, 16 + 32 * k) for i in range(5) for j in range(4) for k in range(3)]
    labels = with_balls(empty, [(centre, 2.0 + 0.1 * n) for n, centre in enumerate(centres)])
    write(tmp_path, labels, first_study(labels))
    no_errors(tmp_path / "seg.dcm")
    no_errors(tmp_path / "sr.dcm")
    segments = read_segments(tmp_path / "seg.dcm", tmp_path / "segments")
    reported = read_groups(tmp_path / "sr.dcm", tmp_path)
    assert len(segments) == len(reported) == 60
    for segment, lesion in zip(segments, measure_lesions(labels), strict=True):
        assert np.linalg.norm(segment.centroid_mm - lesion.centroid_mm) < 0.01
        volume = reported[tracking_uid(f"L{lesion.number}")]["Volume"]
        assert volume == pytest.approx(segment.volume_mm3, rel=1e-3)
