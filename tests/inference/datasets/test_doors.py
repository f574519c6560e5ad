"""Every door on a generated sample in its data set's layout: who, when, which images, which labels, how good.

Not covered: the data sets themselves, which cannot be had here; each door's docstring says what follows from that.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference.label_schemes import BRAINMETSHARE, BRATS_METS, ENHANCING_ALONE, WHOLE_LESION, YALE
from inference.training.datasets.brats import read_brats_2021, read_brats_mets
from inference.training.datasets.doors import read_data_sets
from inference.training.datasets.files import read_volume
from inference.training.datasets.labels import Target, possible_tissues, target_of
from inference.training.datasets.nyumets import read_nyumets, read_nyumets_folder
from inference.training.datasets.plain import read_described, read_plain
from inference.training.datasets.records import Disease, Quality, StudyRecord, by_patient, for_evaluation
from inference.training.datasets.stanford import read_stanford
from inference.training.datasets.ucsf import read_ucsf
from inference.training.datasets.yale import read_yale_longitudinal, read_yale_pretreatment
from tests.inference.datasets import samples
from tracking.timepoint import MRSequence, Tissue

FOUR = frozenset(MRSequence)
WITHOUT_T2 = FOUR - {MRSequence.T2}


def names(record: StudyRecord) -> dict[MRSequence, str]:
    return {sequence: path.name for sequence, path in record.images.items()}


def taught(record: StudyRecord, target: Target) -> tuple[np.ndarray, np.ndarray]:
    assert record.labels is not None
    assert record.scheme is not None
    volume = read_volume(record.labels)
    possible = possible_tissues(volume.array, record.scheme, spacing_mm=(3, 3, 3), source=str(record.labels))
    return target_of(possible, target)


def plain_samples(root: Path) -> tuple[StudyRecord, ...]:
    samples.plain(root, studies={"p1": ["2024-03-05"]})
    return read_plain(root, data_set="clinic", scheme=WHOLE_LESION, quality=Quality.SILVER)


SINGLE_DOORS: dict[str, Callable[[Path], tuple[StudyRecord, ...]]] = {
    "BraTS-METS": lambda root: read_brats_mets(samples.brats_mets(root, patients={"00001": 1})),
    "BraTS 2021": lambda root: read_brats_2021(samples.brats_2021(root)),
    "Yale": lambda root: read_yale_pretreatment(samples.yale_pretreatment(root)),
    "UCSF": lambda root: read_ucsf(samples.ucsf(root)),
}


@pytest.mark.parametrize("door", SINGLE_DOORS)
def test_tissues_of_four_conventions_become_ours(tmp_path: Path, door: str) -> None:
    record = SINGLE_DOORS[door](tmp_path)[0]
    label, known = taught(record, Target.TISSUE)
    truth = samples.tissues(enhancing=Tissue.ENHANCING, necrosis=Tissue.NECROSIS, edema=Tissue.EDEMA)
    np.testing.assert_array_equal(label, truth)
    assert {int(value) for value in np.unique(label)} == {0, 1, 2, 3}
    assert known.all() or door == "BraTS-METS"  # which has a cavity
    assert record.labelled_tissues == {Tissue.ENHANCING, Tissue.NECROSIS, Tissue.EDEMA}
    assert record.quality is Quality.GOLD


def test_brats_mets(tmp_path: Path) -> None:
    samples.brats_mets(tmp_path / "train", patients={"00001": 2, "00700": 1})
    samples.brats_mets(tmp_path / "validation", patients={"00900": 1}, labels=False)
    records = read_brats_mets(tmp_path)
    assert [(r.patient_id, r.visit, r.day) for r in records] == [
        ("BraTS-MET-00001", 0, None),
        ("BraTS-MET-00001", 1, None),
        ("BraTS-MET-00700", 0, None),
        ("BraTS-MET-00900", 0, None),
    ]
    assert names(records[0]) == {
        MRSequence.T1C: "BraTS-MET-00001-000-t1c.nii.gz",
        MRSequence.T1: "BraTS-MET-00001-000-t1n.nii.gz",
        MRSequence.T2: "BraTS-MET-00001-000-t2w.nii.gz",
        MRSequence.FLAIR: "BraTS-MET-00001-000-t2f.nii.gz",
    }
    assert [r.quality for r in records] == [Quality.GOLD] * 3 + [Quality.UNLABELLED]
    assert records[0].scheme is BRATS_METS
    assert records[3].labelled_tissues == frozenset()
    cavity = samples.ball((-20, 0, 0), 6)
    assert not taught(records[0], Target.LESION)[1][cavity].any()
    assert taught(records[0], Target.LESION)[1][~cavity].all()


def test_brats_2021_is_never_judged_by(tmp_path: Path) -> None:
    (record,) = read_brats_2021(samples.brats_2021(tmp_path))
    assert names(record)[MRSequence.T1C] == "BraTS2021_00000_t1ce.nii.gz"
    assert set(record.images) == FOUR
    assert record.disease is Disease.GLIOMA
    assert for_evaluation([record]) == ()


def test_yale(tmp_path: Path) -> None:
    (record,) = read_yale_pretreatment(samples.yale_pretreatment(tmp_path / "a"))
    assert record.patient == ("Yale pretreatment", "BraTS-MET-00086")
    assert record.scheme is YALE
    studies = read_yale_longitudinal(samples.yale_longitudinal(tmp_path / "b"))
    first, second = by_patient(studies)["Yale longitudinal", "YG_AB12"]
    assert first.day is not None
    assert second.day is not None
    assert second.day - first.day == 60
    assert set(first.images) == FOUR
    assert names(first)[MRSequence.T1C] == "YG_AB12_2015-03-04_12-30-11_POST.nii.gz"
    assert set(by_patient(studies)["Yale longitudinal", "YG_CD34"][0].images) == {MRSequence.T1C, MRSequence.FLAIR}
    assert {study.quality for study in studies} == {Quality.UNLABELLED}


def test_nyumets(tmp_path: Path) -> None:
    samples.nyumets(tmp_path)
    records = read_nyumets(tmp_path, table=tmp_path / "imaging.csv", time_series=tmp_path / "timeseries.csv")
    (studies,) = by_patient(records).values()  # the second patient is not on disk
    assert [study.day for study in studies] == [-33, 0, 87]
    assert [study.visit for study in studies] == [-30, 0, 90]
    assert [study.quality for study in studies] == [Quality.UNLABELLED, Quality.SILVER, Quality.GOLD]
    assert [names(study)[MRSequence.T1C] for study in studies] == ["CT1.nii.gz", "RTSTRUCT_MRI.nii.gz", "CT1.nii.gz"]
    assert [MRSequence.T1 in study.images for study in studies] == [False, True, True]
    label, known = taught(studies[2], Target.LESION)
    np.testing.assert_array_equal(label, samples.ball(samples.LESION_MM, 10))
    assert known.all()
    assert studies[2].labelled_tissues == {Tissue.ENHANCING, Tissue.NECROSIS}
    assert for_evaluation(records) == (studies[2],)


def test_nyumets_without_its_time_series_knows_the_order_alone(tmp_path: Path) -> None:
    records = read_nyumets(samples.nyumets(tmp_path), table=tmp_path / "imaging.csv")
    assert {record.day for record in records} == {None}


@pytest.mark.parametrize(
    ("columns", "row", "words"),
    [
        (samples.NYU_COLUMNS[:3], (1, 2, 3), r"imaging\.csv has no column ExpertAdjusted"),
        (samples.NYU_COLUMNS, ("Doe", 1, 0, 1, 1, 1, 1, 1), r"imaging\.csv, line 2: PatientID is no whole number"),
        (
            samples.NYU_COLUMNS,
            (11110000, 1000000003, 0.5, 1, 1, 1, 1, 1),
            "line 2: RelativeTimepoint is no whole number",
        ),
        (samples.NYU_COLUMNS, (11110000, 1000000003, "inf", 1, 1, 1, 1, 1), "line 2: RelativeTimepoint is no whole"),
    ],
)
def test_damaged_tables_are_refused_without_naming_the_patient(
    tmp_path: Path, columns: tuple[str, ...], row: tuple[object, ...], words: str
) -> None:
    samples.nyumets(tmp_path)
    samples.table(tmp_path / "imaging.csv", columns, [row])
    with pytest.raises(ValueError, match=words) as raised:
        read_nyumets(tmp_path, table=tmp_path / "imaging.csv")
    assert "Doe" not in str(raised.value)
    assert "1111" not in str(raised.value)


def test_ucsf(tmp_path: Path) -> None:
    first, second = read_ucsf(samples.ucsf(tmp_path))
    assert (first.patient, first.visit, second.visit) == (("UCSF-BMSR", "100101"), 0, 1)
    assert second.patient == first.patient
    assert set(first.images) == WITHOUT_T2
    assert names(first)[MRSequence.T1C] == "100101A_T1post.nii.gz"
    assert (first.scheme, second.scheme) == (BRATS_METS, ENHANCING_ALONE)
    assert second.labelled_tissues == {Tissue.ENHANCING}
    label, known = taught(second, Target.LESION)
    core = samples.ball(samples.LESION_MM, 5)
    np.testing.assert_array_equal(label, samples.ball(samples.LESION_MM, 10) & ~core)
    assert not known[core].any()
    assert known[~samples.ball(samples.LESION_MM, 10)].mean() > 0.99
    with_t2 = read_ucsf(tmp_path, synthetic_t2=True)[0]
    assert names(with_t2)[MRSequence.T2] == "100101A_T2Synth.nii.gz"


def test_stanford(tmp_path: Path) -> None:
    labelled, without = read_stanford(samples.stanford(tmp_path))
    assert (labelled.patient_id, without.patient_id) == ("Mets_001", "Mets_201")
    assert set(labelled.images) == WITHOUT_T2
    assert names(labelled)[MRSequence.T1C] == "bravo.nii.gz"
    assert (labelled.quality, without.quality) == (Quality.GOLD, Quality.UNLABELLED)
    np.testing.assert_array_equal(taught(labelled, Target.LESION)[0], samples.ball(samples.LESION_MM, 10))


def test_stanford_in_pictures(tmp_path: Path) -> None:
    (record,) = read_stanford(samples.stanford_pictures(tmp_path))
    assert names(record) == {MRSequence.T1C: "0", MRSequence.T1: "1", MRSequence.FLAIR: "3"}
    assert record.scheme is BRAINMETSHARE
    assert record.labels is not None
    labels = read_volume(record.labels)
    assert labels.spacing == pytest.approx((1, 0.94, 0.94))
    centre = labels.map_indices_to_reference(np.argwhere(labels.array == 255).mean(0)[None])[0]
    middle = labels.map_indices_to_reference((np.array(labels.spatial_shape) - 1)[None] / 2)[0]
    np.testing.assert_allclose(centre - middle, (-9, -5, 4), atol=0.1)  # 9 mm to the right, 5 to the front, 4 up


def test_plain_folders(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["2024-03-05", "20240104"], "p2": ["10", "9"]})
    samples.write(tmp_path / "p2" / "9" / "brain.nii.gz", samples.brain().astype(np.uint8))
    (tmp_path / "p1" / "20240104" / "labels.nii.gz").unlink()
    records = read_plain(tmp_path, data_set="clinic", scheme=WHOLE_LESION, quality=Quality.SILVER)
    first, second = by_patient(records)["clinic", "p1"]
    assert first.day is not None
    assert second.day == first.day + 61
    assert (first.quality, second.quality) == (Quality.UNLABELLED, Quality.SILVER)
    numbered = by_patient(records)["clinic", "p2"]
    assert [(study.visit, study.day) for study in numbered] == [(9, None), (10, None)]
    assert [study.brain is not None for study in numbered] == [True, False]


def test_plain_folders_say_themselves_what_they_are(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["1"]})
    (tmp_path / "dataset.toml").write_text('name = "ours"\nlabels = "1=ENHANCING,9=UNKNOWN"\nquality = "silver"\n')
    (record,) = read_data_sets([f"plain={tmp_path}"])
    assert (record.data_set, record.quality, record.labelled_tissues) == ("ours", Quality.SILVER, {Tissue.ENHANCING})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no dataset.toml; write one with name, labels, quality"),
        ("name = ", "is no valid TOML"),
        ("", "says nothing; it must say name, labels, quality"),
        ('name = "x"\nlabels = 1\nquality = "gold"', "in quotes"),
        (
            'name = "x"\nlabels = "lesion"\nquality = "best"',
            "says quality 'best'; choose one of synthetic",
        ),
        ('name = "x"\nlabels = "leson"\nquality = "gold"', "labels 'leson' are neither node, yale"),
    ],
)
def test_a_wrong_description_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    samples.plain(tmp_path, studies={"p1": ["1"]})
    if text is not None:
        (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(words)) as raised:
        read_described(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_nyumets_is_read_with_the_tables_beside_it(tmp_path: Path) -> None:
    samples.nyumets(tmp_path)
    assert [r.day for r in sorted(read_nyumets_folder(tmp_path), key=lambda r: r.visit)] == [-33, 0, 87]
    (tmp_path / "timeseries.csv").unlink()
    assert {r.day for r in read_nyumets_folder(tmp_path)} == {None}
    (tmp_path / "imaging.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no imaging\.csv; give the folder that holds it"):
        read_nyumets_folder(tmp_path)


@pytest.mark.parametrize(
    ("studies", "words"),
    [
        (["baseline"], r"baseline is named neither by a date \(2024-03-05\) nor by a number"),
        (["2024-03-05", "2"], "p1 has studies named by dates and by numbers"),
    ],
)
def test_plain_folders_of_unclear_order_are_refused(tmp_path: Path, studies: list[str], words: str) -> None:
    samples.plain(tmp_path, studies={"p1": studies})
    with pytest.raises(ValueError, match=words):
        read_plain(tmp_path, data_set="clinic", scheme=WHOLE_LESION, quality=Quality.GOLD)


def test_a_plain_study_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p1" / "1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"has no t1c, t1, t2 or flair"):
        read_plain(tmp_path, data_set="clinic", scheme=WHOLE_LESION, quality=Quality.GOLD)


@pytest.mark.parametrize(
    "door",
    [
        read_brats_mets,
        read_brats_2021,
        read_yale_pretreatment,
        read_yale_longitudinal,
        read_ucsf,
        read_stanford,
        lambda root: read_plain(root, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD),
        lambda root: read_nyumets(root, table=samples.table(root / "t.csv", samples.NYU_COLUMNS, [(1,) * 8])),
    ],
)
def test_an_empty_folder_is_no_data_set(tmp_path: Path, door: Callable[[Path], object]) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path)) + "|No study"):
        door(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "t1c.nii.gz").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"t1c\.nii\.gz cannot be read as a volume"):
        read_volume(tmp_path / "t1c.nii.gz")
    whole = samples.write(tmp_path / "t1.nii", samples.image(0))
    whole.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"t1\.nii cannot be read as a volume"):
        read_volume(whole)
    samples.write(tmp_path / "t2.nii.gz", np.zeros((3, 4, 5, 2), np.float32))
    with pytest.raises(ValueError, match=r"t2\.nii\.gz cannot be read as a volume: .*channels"):
        read_volume(tmp_path / "t2.nii.gz")


def test_missing_pictures_are_refused(tmp_path: Path) -> None:
    samples.stanford_pictures(tmp_path)
    folder = next(tmp_path.rglob("Mets_005")) / "0"
    (folder / "7.png").unlink()
    with pytest.raises(
        ValueError, match=r"0 cannot be read as a volume: its slices are numbered \[1, .*, not one after"
    ):
        read_volume(folder)
    for picture in folder.iterdir():
        picture.unlink()
    with pytest.raises(ValueError, match="numbered not at all"):
        read_volume(folder)


def test_a_record_has_labels_scheme_and_quality_or_none_of_them(tmp_path: Path) -> None:
    images = {MRSequence.T1C: tmp_path / "t1c.nii.gz"}
    for wrong in (
        {"labels": tmp_path / "seg.nii.gz"},
        {"quality": Quality.GOLD},
        {"labels": tmp_path / "seg.nii.gz", "scheme": WHOLE_LESION},
    ):
        with pytest.raises(ValueError, match="give all three or none"):
            StudyRecord(data_set="x", patient_id="p", visit=0, images=images, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no image"):
        StudyRecord(data_set="x", patient_id="p", visit=0, images={})
