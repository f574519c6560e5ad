"""Folds of patients: nobody in two of them, under whatever name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.training.datasets.brats import read_brats_mets
from inference.training.datasets.folds import folds, patients_with_same_images, training_part
from inference.training.datasets.records import StudyRecord
from inference.training.datasets.stanford import read_stanford
from tests.inference.datasets import samples
from tracking.timepoint import MRSequence


def records(counts: dict[str, list[int]]) -> list[StudyRecord]:
    """Patients of data sets by their numbers of studies; the files need not exist."""
    return [
        StudyRecord(
            data_set=name, patient_id=f"p{n}", visit=v, images={MRSequence.T1C: Path(name, f"p{n}", f"{v}.nii")}
        )
        for name, studies in counts.items()
        for n, number in enumerate(studies)
        for v in range(number)
    ]


@given(
    st.lists(st.integers(1, 5), min_size=3, max_size=20),
    st.lists(st.integers(1, 3), max_size=6),
    st.integers(2, 3),
    st.integers(0, 2**32 - 1),
)
def test_every_study_lies_in_one_fold_and_every_patient_too(a: list[int], b: list[int], k: int, seed: int) -> None:
    every = records({"a": a, "b": b})
    parts = folds(every, k, seed=seed)
    assert len(parts) == k
    assert sorted((r.patient, r.visit) for part in parts for r in part) == sorted((r.patient, r.visit) for r in every)
    patients = [{r.patient for r in part} for part in parts]
    assert sum(map(len, patients)) == len(set.union(*patients)) == len(a) + len(b)
    for name, number in (("a", len(a)), ("b", len(b))):  # each data set is dealt out evenly
        shares = [sum(patient[0] == name for patient in part) for part in patients]
        assert max(shares) - min(shares) <= 1, number
    for held_out in range(k):
        rest = training_part(parts, held_out)
        assert len(rest) == len(every) - len(parts[held_out])
        assert not {r.patient for r in rest} & patients[held_out]


def test_folds_depend_on_patients_and_seed_alone() -> None:
    every = records({"a": [3, 1, 2, 5, 1, 1, 2], "b": [1, 2, 1]})
    assert folds(every, 3, seed=4) == folds(every[::-1], 3, seed=4)
    assert folds(every, 3, seed=4) != folds(every, 3, seed=5)


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 patients cannot be split into 3 folds; choose 2 to 2"):
        folds(records({"a": [4, 4]}), 3, seed=0)
    with pytest.raises(ValueError, match="cannot be split into 1 folds"):
        folds(records({"a": [4, 4]}), 1, seed=0)


def test_one_person_under_several_names_lies_in_one_fold() -> None:
    every = records({"a": [1] * 6, "b": [1] * 6})
    same = [frozenset({("a", "p0"), ("b", "p3")}), frozenset({("b", "p3"), ("b", "p5")}), frozenset({("c", "p1")})]
    for seed in range(20):
        for part in folds(every, 4, seed=seed, same=same):
            patients = {record.patient for record in part}
            assert len(patients & {("a", "p0"), ("b", "p3"), ("b", "p5")}) in {0, 3}


def test_identical_files_betray_one_person_under_several_names(tmp_path: Path) -> None:
    samples.brats_mets(tmp_path / "a", patients={"00001": 1, "00002": 2, "00003": 1})
    for folder in sorted((tmp_path / "a").iterdir()):
        for number, path in enumerate(sorted(folder.glob("*.nii.gz"))):
            content = f"{folder.name} {number}" if "-seg" not in path.name else "the same in all"
            path.write_bytes(content.encode())
    t1n = "BraTS-MET-00003-000/BraTS-MET-00003-000-t1n.nii.gz"
    (tmp_path / "a" / t1n).write_bytes(
        (tmp_path / "a" / "BraTS-MET-00002-001" / "BraTS-MET-00002-001-t1n.nii.gz").read_bytes()
    )
    found = patients_with_same_images(read_brats_mets(tmp_path / "a"))
    assert found == (frozenset({("BraTS-METS", "BraTS-MET-00002"), ("BraTS-METS", "BraTS-MET-00003")}),)


def test_folders_of_pictures_are_compared_too(tmp_path: Path) -> None:
    samples.stanford_pictures(tmp_path)
    folder = next(tmp_path.rglob("Mets_005"))
    for number, part in ((6, "0"), (6, "seg")):
        copy = folder.with_name(f"Mets_00{number}") / part
        copy.mkdir(parents=True)
        for picture in (folder / part).iterdir():
            (copy / picture.name).write_bytes(picture.read_bytes())
    assert {frozenset({("BrainMetShare", "Mets_005"), ("BrainMetShare", "Mets_006")})} == set(
        patients_with_same_images(read_stanford(tmp_path))
    )


def test_blank_slices_make_nobody_the_same_person(tmp_path: Path) -> None:
    samples.stanford_pictures(tmp_path)
    folder = next(tmp_path.rglob("Mets_005"))
    other = folder.with_name("Mets_006") / "0"
    other.mkdir(parents=True)
    pictures = sorted((folder / "0").iterdir(), key=lambda path: int(path.stem))
    for picture, source in zip(pictures, [*pictures[:15], *pictures[:14:-1]], strict=True):  # half of it turned over
        (other / picture.name).write_bytes(source.read_bytes())
    assert patients_with_same_images(read_stanford(tmp_path)) == ()
