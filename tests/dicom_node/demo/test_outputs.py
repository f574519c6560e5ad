"""Report, curves, JSON and table made from one outcome: every lesion is in each of them, with the same numbers."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from dicom_node.demo.curves import curves_of
from dicom_node.demo.outcome import DemoOutcome
from dicom_node.demo.outputs import prepare_folder, show, write_outputs
from dicom_node.demo.pictures import outlines, place_in_slice, slice_index_at, slice_picture, window_of
from dicom_node.demo.player import DemoError
from dicom_node.demo.table import change_text, volume_text
from inference.synthesis.patient import SyntheticPatient
from tests.dicom_node.demo.handmade import outcome_for
from tracking.timepoint import MRSequence


@pytest.fixture(scope="module")
def outcome(patient: SyntheticPatient) -> DemoOutcome:
    return outcome_for(patient)


@pytest.fixture(scope="module")
def folder(outcome: DemoOutcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    write_outputs(outcome, out)
    return out


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_report_names_every_lesion_and_what_it_is_not_for(html: str, outcome: DemoOutcome) -> None:
    for result in outcome.results:
        for row in result.rows:
            assert (row.finding.tracking_id if row.finding else row.names[0]) in html
    assert "Not for diagnostic use" in html
    assert "not verified" in html
    assert "three orientations in one series" in html


def test_report_stands_alone_and_escapes_text(html: str) -> None:
    addresses = re.findall(r'(?:href|src)="([^"#][^"]{0,40})', html)
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "<script" not in html
    assert "Dural &lt;disease&gt; is not assessed." in html


def test_every_picture_that_is_used_is_there(html: str) -> None:
    used = set(re.findall(r'<use href="#(study[^"]+)"', html))
    assert used
    assert used == set(re.findall(r'<image id="(study[^"]+)"', html))


def test_report_draws_node_and_truth_of_every_found_lesion(html: str, outcome: DemoOutcome) -> None:
    articles = html.split('<article class="lesion">')[1:]
    assert len(articles) == len(outcome.results[-1].rows)
    for article, row in zip(articles, outcome.results[-1].rows, strict=True):
        if row.verdict == "right" and row.finding and row.finding.number:
            assert 'class="node" d="M' in article
            assert f'stroke="{row.finding.colour}"' in article
            assert 'class="truth" d="M' in article


def test_json_holds_reported_and_true_values(folder: Path, outcome: DemoOutcome) -> None:
    document = json.loads((folder / "lesions.json").read_text(encoding="utf-8"))
    lesions = {lesion["tracking_id"]: lesion for lesion in document["studies"][1]["lesions"]}
    assert set(lesions) == {"L01", "L02", "L03", "L05", "L09"}
    assert lesions["L01"]["truth"]["names"] == ["A"]
    assert lesions["L01"]["truth"]["distance_mm"] == pytest.approx(1.3, abs=0.1)
    assert lesions["L02"]["state"] == "resolved"
    assert lesions["L09"]["truth"]["verdict"] == "false positive"
    assert [truth["names"] for truth in document["studies"][0]["not_reported"]] == [["D"]]
    assert document["figures"]["found"] == outcome.figures.found == 6


def test_curves_are_a_picture_and_hold_the_volumes(folder: Path, outcome: DemoOutcome) -> None:
    pixels = matplotlib.image.imread(folder / "curves.png")
    assert pixels.shape[1] > 1500
    assert pixels[..., :3].std() > 0.05
    curves = {curve.name: curve for curve in curves_of(outcome.results)}
    assert curves["L02 (true B)"].reported_mm3[1] == 0
    assert curves["L02 (true B)"].true_mm3[1] == 0
    assert curves["L05 (true E)"].reported_mm3[0] is None
    assert curves["L09 (false positive)"].true_mm3 == (None, None)
    assert curves["missed: D"].reported_mm3 == (None, None)
    assert (curves["missed: D"].true_mm3[0] or 0) > 0
    assert len({curve.marker for curve in curves.values()}) == len(curves)


def test_curves_in_the_report_are_well_formed(html: str) -> None:
    vector = html[html.index('<div class="curves">') + len('<div class="curves">') :]
    root = ET.fromstring(vector[: vector.index("</svg>") + len("</svg>")])
    assert root.tag.endswith("svg")
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 20


def test_terminal_tells_every_lesion_and_the_figures(outcome: DemoOutcome, tmp_path: Path) -> None:
    console = Console(record=True, width=80, force_terminal=False)
    show(outcome, tmp_path, console)
    text = console.export_text()
    for row in (row for result in outcome.results for row in result.rows):
        assert (row.finding.tracking_id if row.finding else row.names[0]) in text
    assert "…" not in text
    assert "persistent  275 2164   +686" in text
    text = " ".join(text.split())
    assert "6 of 7 lesions found; 2 false positives" in text
    assert "false positive" in text
    assert "Not for diagnostic use" in text


def test_terminal_numbers() -> None:
    assert [volume_text(value) for value in (None, 0.0, 9.87, 1234.5)] == ["–", "0", "9.9", "1234"]
    assert [change_text(value) for value in (None, -100.0, 12.4)] == ["–", "−100", "+12"]


def test_outline_encloses_the_lesion_in_its_slice(patient: SyntheticPatient) -> None:
    study = patient.studies[0]
    lesion = study.lesions[0]
    index = slice_index_at(study.labels, lesion.centroid_mm)
    (outline,) = outlines(study.labels, index, [lesion.number])
    points = np.array([[float(x) for x in pair.split()] for pair in re.split("[MLZ]", outline.path) if pair])
    x_mm, y_mm = place_in_slice(study.labels, lesion.centroid_mm)
    assert points.mean(axis=0) == pytest.approx((x_mm, y_mm), abs=1)
    area = (study.labels.array[index] == lesion.number).sum() * 1.25 * 1.3
    assert np.prod(np.ptp(points, axis=0)) * np.pi / 4 == pytest.approx(area, rel=0.2)
    assert outlines(study.labels, 0, [lesion.number]) == ()


def test_slice_says_which_side_is_which(patient: SyntheticPatient) -> None:
    t1c = patient.studies[0].images[MRSequence.T1C]
    picture = slice_picture(t1c, 30, window_of(t1c))
    assert (picture.left, picture.right, picture.top, picture.bottom) == ("R", "L", "A", "P")
    assert picture.width_mm == pytest.approx(64 * 1.3)
    assert picture.height_mm == pytest.approx(72 * 1.25)


def test_only_an_earlier_demonstration_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_folder(out)
    (out / "report.html").write_text("old")
    prepare_folder(out)
    assert not (out / "report.html").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(DemoError, match="no earlier demonstration"):
        prepare_folder(foreign)
    assert (foreign / "thesis.txt").read_text() == "mine"
