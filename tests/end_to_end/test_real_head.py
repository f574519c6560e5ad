"""The main job on a patient that this project did not generate, judged by programs that it did not write.

Not covered: whether the network finds real metastases; none are available here.
"""

import json
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from tests.end_to_end.foreign_patient import (
    Ball,
    Visit,
    acquire,
    paint,
    scanner_grid,
    truth_mm,
    write_series,
)
from tests.end_to_end.node import Node, serving
from tests.peers import DCMTK_MISSING, dcmtk

HEADS = Path(__file__).parents[2] / "../shared/data/heads"
HEAD = "TCGA_FG_7637_20000922"  # of a centre that the network never trained on; it also has a T1 and a FLAIR
SCRIPTS = Path(sysconfig.get_path("scripts"))
BRIGHT = 110  # twice white matter

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not HEADS.exists(), reason="../shared/data/heads is not there"),
    DCMTK_MISSING,
]

ROOT = "1.2.826.0.1.3680043.8.498.4711"
PRIOR = Visit(
    index=0,
    study_uid=f"{ROOT}.1",
    frame_uid=f"{ROOT}.91",
    study_date="20240105",
    rotation_deg=(0.0, 0.0, 0.0),
    shift_mm=(0.0, 0.0, 0.0),
    slice_spacing_mm=3.0,
)
CURRENT = Visit(
    index=1,
    study_uid=f"{ROOT}.2",
    frame_uid=f"{ROOT}.92",
    study_date="20240402",
    rotation_deg=(4.0, -3.0, 5.0),
    shift_mm=(6.0, -4.0, 5.0),
    slice_spacing_mm=2.5,
)
LATER = Visit(
    index=2,
    study_uid=f"{ROOT}.3",
    frame_uid=f"{ROOT}.93",
    study_date="20240701",
    rotation_deg=(-3.0, 2.0, -4.0),
    shift_mm=(-5.0, 3.0, 2.0),
    slice_spacing_mm=3.0,
)
# Names of what happens, centre as voxel of the head, radii in mm at the visits.
PLACES = {
    "grows": ((85, 120, 30), (5.0, 7.0, 7.0)),
    "shrinks": ((100, 70, 32), (7.0, 4.5, 0.0)),
    "vanishes and returns": ((95, 165, 34), (5.0, 0.0, 5.5)),
    "appears": ((160, 90, 36), (0.0, 5.0, 5.0)),
}


@dataclass(frozen=True, kw_only=True)
class Story:
    """All studies, sent and analysed; before the last of them the node has lost its disk, but not its archive."""

    node: Node
    head: sitk.Image
    balls: dict[str, Ball]
    jobs: dict[int, dict[str, Any]]

    def segments(self, visit: Visit, folder: Path) -> dict[str, tuple[str, np.ndarray]]:
        """Each segment's tracking UID and centroid (LPS mm), read by dcmqi, by name of the nearest ball."""
        seg = self.node.results(visit.study_uid, self.jobs[visit.index])["SEG"]
        meta, images = read_with_dcmqi(seg, folder)
        found = {}
        for name, ball in self.balls.items():
            truth = np.asarray(truth_mm(ball, visit, self.head))
            for item, centroid, _ in zip(meta, *images, strict=True):
                if np.linalg.norm(centroid - truth) < 5:
                    found[name] = (item["TrackingUniqueIdentifier"], centroid)
        return found


def read_with_dcmqi(seg: Path, folder: Path) -> tuple[list[dict[str, Any]], tuple[list[np.ndarray], list[float]]]:
    """Return dcmqi's description of each segment, its centroid (LPS mm) and its volume (mm³)."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [SCRIPTS / "segimage2itkimage", "-t", "nifti", "--inputDICOM", seg, "--outputDirectory", folder],
        check=True,
        capture_output=True,
    )
    meta = [one[0] for one in json.loads((folder / "meta.json").read_text())["segmentAttributes"]]
    centroids, volumes = [], []
    for item in meta:
        image = sitk.ReadImage(str(folder / f"{item['labelID']}.nii.gz"))
        indices = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1].mean(0)
        centroids.append(np.asarray(image.TransformContinuousIndexToPhysicalPoint(indices.tolist())))
        volumes.append(len(np.argwhere(sitk.GetArrayFromImage(image))) * float(np.prod(image.GetSpacing())))
    return meta, (centroids, volumes)


def write_visit(visit: Visit, balls: tuple[Ball, ...], folder: Path) -> None:
    """Write T1c (contrast unlabelled), T1, FLAIR and a localizer of one visit."""
    for number, (suffix, tags) in enumerate(
        {
            "flair": {"0018|0020": "SE\\IR", "0018|0080": "9000", "0018|0081": "120", "0018|0082": "2250"},
            "t1": {"0018|0020": "SE", "0018|0080": "550", "0018|0081": "12", "0018|1314": "90"},
            "t1c": {"0018|0020": "SE", "0018|0080": "550", "0018|0081": "12", "0018|1314": "90"},
        }.items(),
        start=2,
    ):
        head = sitk.ReadImage(str(HEADS / f"{HEAD}_{suffix}.nii.gz"), sitk.sitkFloat32)
        image = paint(head, balls, visit, BRIGHT) if suffix == "t1c" else head
        # A study's series are called after their planes alone; nothing says which one has contrast.
        named = {"0008|103e": f"AX {number}", "0008|0008": "ORIGINAL\\PRIMARY", **tags}
        series = acquire(image, scanner_grid(head, visit), visit, seed=number)
        write_series(series, folder / suffix, visit, number, named)
        if suffix == "t1c":
            localizer = series[:, :, :: max(1, series.GetDepth() // 5)]
            scout = {"0008|103e": "SCOUT", "0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER", "0018|0020": "GR"}
            write_series(localizer, folder / "scout", visit, 1, scout)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("real_head")
    head = sitk.ReadImage(str(HEADS / f"{HEAD}_t1c.nii.gz"), sitk.sitkFloat32)
    balls = {
        name: Ball(name=name, centre_mm=head.TransformContinuousIndexToPhysicalPoint(place), radii_mm=radii)
        for name, (place, radii) in PLACES.items()
    }
    jobs = {}
    for name, visits in (("node", (PRIOR, CURRENT)), ("another node", (LATER,))):
        if name == "another node":  # what is kept of the model, which takes a minute to make; nothing of the patient
            shutil.copytree(folder / "node" / "data" / "cache", folder / name / "data" / "cache")
        with serving(folder / name, archive=folder / "archive") as node:
            for visit in visits:
                write_visit(visit, tuple(balls.values()), folder / visit.study_date)
                sent = node.send(folder / visit.study_date)
                assert sent.returncode == 0, sent.stderr
                jobs[visit.index] = node.finished(visit.study_uid)
    return Story(node=node, head=head, balls=balls, jobs=jobs)


def test_all_studies_have_results(story: Story) -> None:
    for job in story.jobs.values():
        assert job["state"] == "done", job["reason"]
        assert set(job["outcome"]["result_uids"]) == {"SEG", "SR"}


def test_series_are_told_apart_without_labels(story: Story) -> None:
    for job in story.jobs.values():
        roles = {decision["series_number"]: decision["role"] for decision in job["outcome"]["series"]}
        assert roles == {1: None, 2: "FLAIR", 3: "T1", 4: "T1c"}
        assert all(decision["reason"] for decision in job["outcome"]["series"])


def test_lesions_lie_where_they_were_painted(story: Story, tmp_path: Path) -> None:
    for visit in (PRIOR, CURRENT, LATER):
        expected = {name for name, ball in story.balls.items() if ball.radii_mm[visit.index]}
        found = story.segments(visit, tmp_path / visit.study_date)
        assert set(found) == expected
        for name, (_, centroid) in found.items():
            error_mm = np.linalg.norm(centroid - truth_mm(story.balls[name], visit, story.head))
            assert error_mm < 0.5 * visit.slice_spacing_mm, name


def test_identities_are_kept(story: Story, tmp_path: Path) -> None:
    prior = story.segments(PRIOR, tmp_path / "prior")
    current = story.segments(CURRENT, tmp_path / "current")
    for name in ("grows", "shrinks"):
        assert current[name][0] == prior[name][0], name
    assert current["appears"][0] not in {uid for uid, _ in prior.values()}


def test_identities_survive_the_loss_of_the_nodes_disk(story: Story, tmp_path: Path) -> None:
    prior = story.segments(PRIOR, tmp_path / "prior")
    current = story.segments(CURRENT, tmp_path / "current")
    later = story.segments(LATER, tmp_path / "later")
    assert later["vanishes and returns"][0] == prior["vanishes and returns"][0]
    assert later["grows"][0] == prior["grows"][0]
    assert later["appears"][0] == current["appears"][0]
    told = report_in_words(story, LATER)
    assert "cerebral hemisphere; " in told
    assert "Lesion found again after it had resolved" in told
    assert "baseline 2024-01-05" in told


def report_in_words(story: Story, visit: Visit) -> str:
    """The SR as dcmtk prints it, on one line."""
    done = subprocess.run(
        ["dsrdump", "+Pl", story.node.results(visit.study_uid, story.jobs[visit.index])["SR"]],
        capture_output=True,
        text=True,
        check=True,
    )
    return " ".join(done.stdout.split())


def test_no_foreign_judge_finds_an_error(story: Story) -> None:
    for visit in (PRIOR, CURRENT, LATER):
        for path in story.node.results(visit.study_uid, story.jobs[visit.index]).values():
            _, words = dcmtk("dciodvfy", path)
            assert [line for line in words.splitlines() if line.startswith("Error")] == []


def test_volumes_of_report_and_segmentation_agree(story: Story, tmp_path: Path) -> None:
    results = story.node.results(CURRENT.study_uid, story.jobs[1])
    meta, (_, volumes) = read_with_dcmqi(results["SEG"], tmp_path)
    segmented: dict[str, float] = {}
    for item, volume in zip(meta, volumes, strict=True):
        uid = item["TrackingUniqueIdentifier"]
        segmented[uid] = segmented.get(uid, 0.0) + volume
    out = tmp_path / "sr.json"
    subprocess.run(
        [SCRIPTS / "tid1500reader", "--inputDICOM", results["SR"], "--outputMetadata", out],
        check=True,
        capture_output=True,
    )
    reported = {}
    for group in json.loads(out.read_text())["Measurements"]:
        for item in group["measurementItems"]:
            if item["quantity"]["CodeValue"] == "118565006":
                reported[group["TrackingUniqueIdentifier"]] = float(item["value"])
    for uid, volume in segmented.items():
        assert reported[uid] == pytest.approx(volume, rel=1e-3)
