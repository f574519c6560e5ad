"""Labelled patients as heads: where lesions lie, what each kind of network is told, who is set aside, what is said.

The samples are small and made up; no data set itself was at hand.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch import Generator, Tensor
from typer.testing import CliRunner

from inference.synthesis.training_heads import TrainingHead
from inference.training.command import MANIFEST, main
from inference.training.config import TrainingConfig
from inference.training.datasets.brats import read_brats_mets
from inference.training.datasets.records import StudyRecord
from inference.training.datasets.stanford import read_stanford
from inference.training.datasets.ucsf import read_ucsf
from inference.training.datasets.volumes import grid_of
from inference.training.datasets.yale import read_yale_pretreatment
from inference.training.labelled import LabelledPatient, labelled_patients, names_of
from inference.training.patches import PatchPlan, Site, cut_patch
from inference.training.pool import prepare
from inference.training.sources import add_validation_heads, find_sources, smoke_sources
from inference.training.truth import NO_LESION, SOME_LESION, UNKNOWN, told
from inference.weights import load_predictor
from tests.inference.datasets import samples
from tests.inference.training_pools import TINY
from tracking.timepoint import MRSequence, Tissue

THREE = ("background", "enhancing", "necrosis")
FOUR = (*THREE, "edema")
ALONE = replace(TINY, synthetic_heads=False, labelled=("yale=/nowhere",))
DESCRIPTION = 'name = "our clinic"\nlabels = "lesion"\nquality = "{}"\n'


def only(records: tuple[StudyRecord, ...], **options: tuple[MRSequence, ...]) -> LabelledPatient:
    ((patient,),) = labelled_patients(records, names_of(records), **options)
    return patient


def head_of(records: tuple[StudyRecord, ...], seed: int = 0) -> TrainingHead:
    (head,) = only(records).make(Generator().manual_seed(seed))
    return head


def shares(head: TrainingHead, labels: tuple[str, ...]) -> dict[int, int]:
    """Voxels by what a network with these classes is told; everything that is ignored is unknown."""
    values = told(labels)[head.tissue.long()].masked_fill(head.ignore, UNKNOWN)
    numbers, counts = values.unique(return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def ball_mm3(radius_mm: float, centre_mm: tuple[float, float, float] = samples.LESION_MM) -> float:
    """What the voxels of 3 mm of a sample make of a ball."""
    return float(samples.ball(centre_mm, radius_mm).sum()) * samples.SPACING_MM**3


def middle_mm(mask: Tensor, study: StudyRecord) -> np.ndarray:
    """The centroid towards right, front and head, in mm."""
    grid = grid_of(study, spacing_mm=1.0)
    lps = grid.map_indices_to_reference(np.argwhere(mask.numpy()).mean(0)[None])[0]
    return lps * (-1, -1, 1)


def clinic(root: Path, *, studies: dict[str, list[str]], quality: str = "gold") -> str:
    samples.plain(root, studies=studies)
    (root / "dataset.toml").write_text(DESCRIPTION.format(quality))
    return f"plain={root}"


def test_tissues_keep_their_volume_and_place_on_1_mm(tmp_path: Path) -> None:
    records = read_yale_pretreatment(samples.yale_pretreatment(tmp_path))
    head = head_of(records)
    counts = torch.bincount(head.tissue.flatten().long(), minlength=4).tolist()
    assert counts[Tissue.NECROSIS] == pytest.approx(ball_mm3(5), rel=0.01)
    assert counts[Tissue.ENHANCING] == pytest.approx(ball_mm3(10) - ball_mm3(5), rel=0.01)
    assert counts[Tissue.EDEMA] == pytest.approx(ball_mm3(16) - ball_mm3(10), rel=0.01)
    assert head.lesions.max() == 1
    assert int((head.lesions > 0).sum()) == counts[Tissue.NECROSIS] + counts[Tissue.ENHANCING]
    np.testing.assert_allclose(middle_mm(head.lesions > 0, records[0]), samples.LESION_MM, atol=0.5)
    assert int(head.brain.sum()) == pytest.approx(4 / 3 * np.pi * 42 * 50 * 45, rel=0.02)
    inside = head.t1c[head.lesions > 0]  # which the image shows brighter
    assert inside.mean() > head.t1c[head.brain].mean() + 80
    assert not head.ignore.any()
    assert set(head.images) == {MRSequence.T1C}
    (with_flair,) = only(records, sequences=(MRSequence.FLAIR,)).make(Generator())
    assert set(with_flair.images) == {MRSequence.T1C, MRSequence.FLAIR}


def test_whole_lesions_teach_every_network_what_is_known_and_no_more(tmp_path: Path) -> None:
    head = head_of(read_stanford(samples.stanford(tmp_path)))
    everything, lesion = head.brain.numel(), int((head.lesions > 0).sum())
    assert lesion == pytest.approx(ball_mm3(10), rel=0.01)
    assert shares(head, ("background", "lesion")) == {0: everything - lesion, 1: lesion}
    assert shares(head, THREE) == {0: everything - lesion, SOME_LESION: lesion}
    # Edema was not outlined: the background may be edema.
    assert shares(head, FOUR) == {NO_LESION: everything - lesion, SOME_LESION: lesion}
    assert shares(head, ("background", "enhancing")) == {0: everything - lesion, UNKNOWN: lesion}


def test_rims_alone_leave_their_cores_unknown_unless_the_network_leaves_necrosis_out_too(tmp_path: Path) -> None:
    first, second = read_ucsf(samples.ucsf(tmp_path))
    head = head_of((second,))
    rim = int((head.lesions > 0).sum())
    core = shares(head, THREE)[UNKNOWN]
    assert rim == pytest.approx(ball_mm3(10) - ball_mm3(5), rel=0.01)
    assert core == pytest.approx(ball_mm3(5), rel=0.01)
    assert shares(head, ("background", "enhancing")) == {0: head.brain.numel() - rim, 1: rim}
    assert set(shares(head, FOUR)) == {1, NO_LESION, UNKNOWN}
    assert set(shares(head_of((first,)), FOUR)) == {0, 1, 2, 3}


def test_nothing_is_taught_in_a_resection_cavity_or_on_lesions_outside_the_brain(tmp_path: Path) -> None:
    (record,) = read_brats_mets(samples.brats_mets(tmp_path, patients={"00001": 1}))
    head = head_of((record,))
    assert int(head.ignore.sum()) == pytest.approx(ball_mm3(6, (-20, 0, 0)), rel=0.01)
    brain = samples.brain() & ~samples.ball(samples.LESION_MM, 30)
    mask = samples.write(tmp_path / "mask.nii.gz", brain.astype(np.uint8))
    beside = head_of((replace(record, brain=mask),))
    assert not beside.lesions.any()
    assert int(beside.ignore.sum()) == pytest.approx(ball_mm3(6, (-20, 0, 0)) + ball_mm3(10), rel=0.01)


def test_patches_weigh_what_is_unknown_0_and_keep_what_is_known_of_lesions(tmp_path: Path) -> None:
    (_, second) = read_ucsf(samples.ucsf(tmp_path / "ucsf"))
    visits = prepare([head_of((second,))])
    start = visits[0].centres[0] - 16
    site = Site(head=0, visits=visits, start=start, flipped=False)
    for labels, weights in ((THREE, {0.0, 1.0}), (("background", "enhancing"), {1.0})):
        plan = PatchPlan(channels=("T1c",), labels=labels, size=(32, 32, 32), batch=1)
        patch = cut_patch(site, -1, plan, prior=None, generator=Generator())
        assert set(patch.weight.unique().tolist()) == weights
        assert set(patch.tissue.unique().tolist()) == {0, 1}
    whole = prepare([head_of(read_stanford(samples.stanford(tmp_path / "stanford")))])
    plan = PatchPlan(channels=("T1c",), labels=FOUR, size=(32, 32, 32), batch=1)
    patch = cut_patch(replace(site, visits=whole), -1, plan, prior=None, generator=Generator())
    assert set(patch.tissue.unique().tolist()) == {NO_LESION, SOME_LESION}
    assert bool((patch.weight > 0).all())


def test_any_study_of_a_patient_stands_for_one_visit(tmp_path: Path) -> None:
    records = read_ucsf(samples.ucsf(tmp_path))
    told_apart = {bool((head_of(records, seed).tissue == Tissue.NECROSIS).any()) for seed in range(8)}
    assert told_apart == {True, False}


@pytest.mark.slow
def test_visits_are_registered_and_lesions_keep_their_numbers(tmp_path: Path) -> None:
    text = clinic(tmp_path, studies={"p1": ["1", "2", "3"]})
    moved = samples.AFFINE.copy()  # as if the patient had lain elsewhere
    moved[:3, 3] += (14, -9, 11)
    other = samples.ball((-20, -10, 0), 7)
    for study, affine in (("2", moved), ("3", samples.AFFINE)):
        image = np.where(other, 450, samples.image(7)).astype(np.float32)
        labels = samples.ball(samples.LESION_MM, 8) | (other if study == "3" else False)
        samples.write(tmp_path / "p1" / study / "t1c.nii.gz", image, affine)
        samples.write(tmp_path / "p1" / study / "labels.nii.gz", labels.astype(np.uint8), affine)
    ((patient,),) = find_sources(None, replace(ALONE, labelled=(text,))).training
    assert isinstance(patient, LabelledPatient)
    earlier, newest = patient.make(Generator(), visits=2)
    assert earlier.t1c.shape == newest.t1c.shape
    old, new = (middle_mm(visit.lesions == 2, patient.studies[-1]) for visit in (earlier, newest))
    np.testing.assert_allclose(new, samples.LESION_MM, atol=0.5)
    np.testing.assert_allclose(old, samples.LESION_MM, atol=1.5)
    assert (set(earlier.lesions.unique().tolist()), set(newest.lesions.unique().tolist())) == ({0, 2}, {0, 1, 2})
    assert int((earlier.brain & newest.brain).sum()) > 0.97 * int(newest.brain.sum())
    with pytest.raises(ValueError, match="has 3 labelled studies, fewer than the 4 visits that are wanted"):
        patient.make(Generator(), visits=4)


def test_patients_with_fewer_studies_than_visits_are_left_out(tmp_path: Path) -> None:
    text = clinic(tmp_path, studies={"p1": ["1", "2"], "p2": ["1"]})
    config = replace(ALONE, labelled=(text,), objective="recall", visits=2)
    ((patient,),) = find_sources(None, config).training
    assert patient.patient == "our clinic/p1"
    with pytest.raises(ValueError, match="of 3 studies, no patient has 3 with a T1c"):
        find_sources(None, replace(config, visits=3))


def test_no_name_of_a_patient_is_shown(tmp_path: Path) -> None:
    text = clinic(tmp_path, studies={"DOE_JANE": ["1"]})
    assert "DOE" not in repr(find_sources(None, replace(ALONE, labelled=(text,))).training)


def patients(config: TrainingConfig) -> tuple[set[str], set[str]]:
    sources = smoke_sources(config)
    return {s.patient for kind in sources.training for s in kind}, {s.patient for s in sources.validation}


def test_one_person_in_two_data_sets_is_on_one_side(tmp_path: Path) -> None:
    samples.brats_mets(tmp_path / "mets", patients={f"{n:05d}": 1 for n in range(82, 90)})
    samples.yale_pretreatment(tmp_path / "yale")
    for path in (tmp_path / "mets").rglob("*-t1c.nii.gz"):  # the same pictures would be the same person
        number = int(path.name.split("-")[2])
        for other in path.parent.glob("*.nii.gz"):
            if "seg" not in other.name and number != 83:
                samples.write(other, samples.image(number))
    config = replace(ALONE, labelled=(f"brats-mets={tmp_path / 'mets'}", f"yale={tmp_path / 'yale'}"), folds=5)
    judged: list[str] = []
    for fold in range(5):
        learning, judging = patients(replace(config, fold=fold))
        assert not learning & judging
        judged += judging
    # 86 is in both sets by name; 83 has Yale's images under another name.
    assert len(judged) == len(set(judged)) == 7
    names = names_of(read_brats_mets(tmp_path / "mets") + read_yale_pretreatment(tmp_path / "yale"))
    assert len({name for (_, number), name in names.items() if number in {"BraTS-MET-00083", "BraTS-MET-00086"}}) == 1


def test_gold_labels_of_metastases_judge_and_others_teach(tmp_path: Path) -> None:
    gold = clinic(tmp_path / "gold", studies={f"g{n}": ["1"] for n in range(5)})
    silver = clinic(tmp_path / "silver", studies={f"s{n}": ["1"] for n in range(5)}, quality="silver")
    for number, path in enumerate(sorted(tmp_path.rglob("*.nii.gz"))):  # the same pictures would be the same person
        if path.name != "labels.nii.gz":
            samples.write(path, samples.image(100 + number))
    samples.brats_2021(tmp_path / "glioma")
    config = replace(ALONE, labelled=(gold, silver, f"brats-2021={tmp_path / 'glioma'}"), validate_every=1)
    seen = [patients(replace(config, folds=5, fold=fold)) for fold in range(5)]
    assert {name.split("/")[1][0] for _, judging in seen for name in judging} == {"g"}
    for learning, judging in [*seen, patients(config)]:  # without folds, every fifth of them is set aside
        assert len(judging) == 1
        assert not learning & judging
        assert len(learning) == 10  # whoever cannot judge is always learned from
    only_gold, _ = patients(replace(config, label_quality="gold"))
    assert sorted(name.split("/")[1][0] for name in only_gold) == ["B", "g", "g", "g", "g"]
    everyone, _ = patients(replace(config, validate_every=0))
    assert len(everyone) == 11


def test_labelled_and_synthetic_heads_are_kinds_beside_each_other(tmp_path: Path) -> None:
    text = clinic(tmp_path, studies={"p1": ["1", "2"]})
    sources = smoke_sources(replace(TINY, labelled=(text,)))
    assert [len(kind) for kind in sources.training] == [10, 1]
    assert sources.training_data == "synthetic lesions in 1 SynthSeg label map; 2 labelled studies of our clinic (gold)"
    assert sources.licence == "subject to the terms of our clinic; the code is Apache-2.0"
    alone = smoke_sources(replace(TINY, labelled=(text,), synthetic_heads=False))
    assert [len(kind) for kind in alone.training] == [1]
    assert alone.training_data == "2 labelled studies of our clinic (gold)"


def test_a_manifest_tells_gliomas_from_metastases(tmp_path: Path) -> None:
    samples.brats_2021(tmp_path)
    sources = find_sources(None, replace(ALONE, labelled=(f"brats-2021={tmp_path}",)))
    assert sources.training_data == "1 labelled study of BraTS 2021 (gold, glioma)"


def test_without_gold_labels_nothing_judges_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = clinic(tmp_path, studies={"p1": ["1"]}, quality="silver")
    sources = find_sources(None, replace(ALONE, labelled=(text,), validate_every=1))
    add_validation_heads(None, sources.validation, count=2, seed=0)  # type: ignore[arg-type]  # not looked at
    assert "no patient with gold labels of metastases was set aside" in caplog.text


def test_labels_of_too_low_a_quality_are_told(tmp_path: Path) -> None:
    text = clinic(tmp_path, studies={"p1": ["1", "2"]}, quality="synthetic")
    with pytest.raises(ValueError, match=r"of 2 studies, no patient has 1 with .* of quality silver or better; lower"):
        find_sources(None, replace(ALONE, labelled=(text,)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labelled": ("yael=/x",)}, "labelled 'yael=/x': write kind=folder, the kind one of brats-2021, brats-mets"),
        ({"labelled": ("yale",)}, "labelled 'yale': write kind=folder"),
        ({"synthetic_heads": False}, "synthetic_heads = false leaves nothing to learn from"),
    ],
)
def test_settings_that_name_no_data_set_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TINY, **change)  # type: ignore[arg-type]


def command(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_a_folder_without_the_data_set_is_told_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, output = command("--out", str(out), "--smoke", "--labelled", f"ucsf={tmp_path}")
    assert code == 2
    assert f"error: {tmp_path} has no folder" in output
    assert not out.exists()


def described(root: Path) -> Path:
    clinic(root, studies={"p1": ["1", "2"], "p2": ["1"]})
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "sample", "name"),
    [
        ("brats-mets", lambda root: samples.brats_mets(root, patients={"00001": 2, "00700": 1}), "BraTS-METS"),
        ("brats-2021", samples.brats_2021, "BraTS 2021"),
        ("nyumets", samples.nyumets, "NYUMets"),
        ("plain", described, "our clinic"),
        ("stanford", samples.stanford, "BrainMetShare"),
        ("stanford", samples.stanford_pictures, "BrainMetShare"),
        ("ucsf", samples.ucsf, "UCSF-BMSR"),
        ("yale", samples.yale_pretreatment, "Yale pretreatment"),
    ],
)
def test_every_door_trains_to_weights_that_load(
    tmp_path: Path, kind: str, sample: Callable[[Path], Path], name: str
) -> None:
    sample(tmp_path / "data")
    arguments = ("--smoke", "--set", "synthetic_heads=false", "--labelled", f"{kind}={tmp_path / 'data'}")
    code, output = command("--out", str(tmp_path / "out"), *arguments)
    assert code == 0, output
    manifest = load_predictor(tmp_path / "out" / MANIFEST, threads=1).manifest
    assert f" of {name} (" in manifest.training_data
    assert manifest.licence == f"subject to the terms of {name}; the code is Apache-2.0"
