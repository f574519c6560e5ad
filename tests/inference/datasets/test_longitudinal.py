"""Sequences of one patient's studies: order, which are kept, what is known, one grid, and no name of a patient."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Compose, RandFlipd, RandSpatialCropd, SpatialPadd
from monai.utils import set_determinism

from inference.label_schemes import OURS, WHOLE_LESION
from inference.preprocessing import normalise, to_model_grid
from inference.training.datasets import volumes
from inference.training.datasets.brats import read_brats_mets
from inference.training.datasets.files import read_volume
from inference.training.datasets.labels import NOTHING_KNOWN, Target
from inference.training.datasets.longitudinal import (
    CHANNELS,
    LongitudinalDataset,
    PatientSequence,
    by_study,
    load_sequence,
    patient_sequences,
)
from inference.training.datasets.nyumets import read_nyumets
from inference.training.datasets.plain import read_plain
from inference.training.datasets.records import Quality, StudyRecord
from inference.training.datasets.ucsf import read_ucsf
from tests.inference.datasets import samples
from tracking.timepoint import MRSequence, Tissue

SECRET = "DOE_JANE_19561103"
SPATIAL = ("image", "label", "known", "possible")
SPACING_MM = 3.0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Leave the other cores alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def record(patient: str = "p1", visit: int = 0, **fields: Any) -> StudyRecord:
    """A study whose files need not exist."""
    images = {MRSequence.T1C: Path(patient) / str(visit) / "t1c.nii.gz"}
    labelled = {"labels": Path("labels.nii.gz"), "scheme": WHOLE_LESION, "quality": Quality.GOLD}
    return StudyRecord(
        **({"data_set": "x", "patient_id": patient, "visit": visit, "images": images} | labelled | fields)
    )


UNLABELLED: dict[str, Any] = {"labels": None, "scheme": None, "quality": Quality.UNLABELLED}


def visits(sequence: PatientSequence) -> list[int]:
    return [study.visit for study in sequence.studies]


def item(records: tuple[StudyRecord, ...], **options: Any) -> dict[str, Any]:
    options = {"qualities": {Quality.GOLD}, "spacing_mm": SPACING_MM} | options
    return LongitudinalDataset(records, **options)[0]


def test_defect_4_a_sequence_is_of_one_patient() -> None:
    mixed = [record(patient, visit) for visit in (2, 0, 1) for patient in ("p2", "p1", "p3")]
    mixed.append(record("p1", 7, data_set="y"))  # the same name in another data set is somebody else
    sequences = patient_sequences(mixed, qualities={Quality.GOLD})
    assert [(s.studies[0].patient, visits(s)) for s in sequences] == [
        (("x", "p1"), [0, 1, 2]),
        (("x", "p2"), [0, 1, 2]),
        (("x", "p3"), [0, 1, 2]),
        (("y", "p1"), [7]),
    ]
    assert [sequence.number for sequence in sequences] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="has studies of 2 patients"):
        PatientSequence(number=0, studies=(record("p1"), record("p2")), days=(None, None))
    with pytest.raises(ValueError, match="not in order of time"):
        PatientSequence(number=0, studies=(record(visit=2), record(visit=1)), days=(None, None))


def test_defect_10_of_more_studies_than_the_limit_the_newest_are_kept() -> None:
    eleven = [record(visit=visit, day=10 * visit) for visit in (3, 1, 10, 4, 11, 5, 9, 2, 6, 8, 7)]
    (sequence,) = patient_sequences(eleven, qualities={Quality.GOLD})
    assert visits(sequence) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert sequence.days == (30, 40, 50, 60, 70, 80, 90, 100)  # since the first study of all, which is not among them


def test_qualities_choose_the_labels_and_keep_the_images() -> None:
    old_gold = [record("p1", 0), *(record("p1", n, **UNLABELLED) for n in range(1, 9))]
    silver = [record("p2", 0, quality=Quality.SILVER), record("p2", 1)]
    assert [s.studies[0].patient_id for s in patient_sequences(old_gold + silver, qualities={Quality.GOLD})] == ["p2"]
    (both,) = patient_sequences(silver, qualities={Quality.SILVER})
    assert visits(both) == [0, 1]
    assert patient_sequences([record("p1", 0, **UNLABELLED)], qualities=set(Quality)) == ()


def test_a_patient_without_t1c_is_left_out() -> None:
    assert patient_sequences([record(images={MRSequence.T2: Path("t2")})], qualities={Quality.GOLD}) == ()
    with pytest.raises(ValueError, match="No patient has a T1c and labels of gold, silver"):
        LongitudinalDataset([record(**UNLABELLED)], qualities={Quality.GOLD, Quality.SILVER})


def test_an_item_holds_the_studies_in_order_on_one_grid(tmp_path: Path) -> None:
    samples.nyumets(tmp_path)
    records = read_nyumets(tmp_path, table=tmp_path / "imaging.csv", time_series=tmp_path / "timeseries.csv")
    one = item(records)
    studies, shape = 3, one["image"].shape[1:]
    assert one["image"].shape == (4 * studies, *shape)
    assert all(one[name].shape == (studies, *shape) for name in ("label", "known", "possible"))
    assert all(isinstance(one[name], MetaTensor) for name in SPATIAL)
    assert one["image"].dtype == torch.float32
    assert one["days"].tolist() == [0, 33, 120]
    assert one["quality"].tolist() == [0, 0, Quality.GOLD]  # the silver one is not shown
    assert one["patient"] == 0
    # The oldest has T1c and FLAIR alone.
    assert one["present"].tolist() == [[True, False, False, True], [True] * 4, [True] * 4]
    filled = by_study(one["image"][None])[0].flatten(2).abs().sum(-1) > 0
    assert filled.tolist() == one["present"].tolist()
    assert one["known"][:2].sum() == 0
    assert (one["possible"][:2] == NOTHING_KNOWN).all()
    assert one["label"][2].sum() == pytest.approx(samples.ball(samples.LESION_MM, 10).sum(), rel=0.1)
    both = item(records, qualities={Quality.GOLD, Quality.SILVER})
    assert both["quality"].tolist() == [0, Quality.SILVER, Quality.GOLD]
    assert both["label"].flatten(1).sum(1).tolist() == [0, *[int(one["label"][2].sum())] * 2]


def test_the_newest_t1c_is_prepared_exactly_as_inference_does(tmp_path: Path) -> None:
    records = read_brats_mets(samples.brats_mets(tmp_path, patients={"00001": 2}))
    one = item(records)
    t1c = read_volume(records[1].images[MRSequence.T1C])
    image, brain = to_model_grid(t1c, t1c.with_array(t1c.array != 0), spacing_mm=SPACING_MM)
    expected = normalise(image.array, brain.array)
    np.testing.assert_allclose(by_study(one["image"][None])[0, 1, 0].numpy(), expected, atol=1e-3)


def test_lesions_lie_where_they_are_in_every_study_whatever_its_grid(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["1", "2"]})
    # The older study on another grid: other axes, other spacing, another field of view.
    affine = np.array([[0, 0, -2.0, 60], [-2.5, 0, 0, 62], [0, 3.5, 0, -58], [0, 0, 0, 1]])
    other = {"shape": (50, 34, 60), "affine": affine}
    samples.write(tmp_path / "p1" / "1" / "t1c.nii.gz", samples.image(5, **other), affine)
    samples.write(
        tmp_path / "p1" / "1" / "labels.nii.gz", samples.ball(samples.LESION_MM, 8, **other).astype(np.uint8), affine
    )
    records = read_plain(tmp_path, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD)
    one = item(records, spacing_mm=2.0)
    ras = np.asarray(one["label"].affine)
    for study in range(2):
        places = np.argwhere(one["label"][study].numpy()) @ ras[:3, :3].T + ras[:3, 3]
        np.testing.assert_allclose(places.mean(0), samples.LESION_MM, atol=1.0)
        t1c = by_study(one["image"][None])[0, study, 0].numpy()
        inside = one["label"][study].numpy() > 0
        assert t1c[inside].mean() > np.median(t1c[(np.abs(t1c) < 2) & ~inside]) + 2
    # No value between two others has come up where voxels lie between voxels: 9 is no lesion, 6 is one, 15 unknown.
    assert set(one["possible"].unique().tolist()) <= {6, 9, NOTHING_KNOWN}
    # The axes are those of inference: head, back, left.
    np.testing.assert_allclose(ras[:3, :3], [[0, 0, -2], [0, -2, 0], [2, 0, 0]], atol=1e-9)
    assert one["image"].meta["affine"] is not None


def test_beyond_a_study_s_field_of_view_nothing_is_known(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["1", "2"]})
    for name in ("t1c", "labels"):  # the lower half of the older study was not scanned
        path = tmp_path / "p1" / "1" / f"{name}.nii.gz"
        volume = read_volume(path).array[:, :, 18:]
        affine = samples.AFFINE.copy()
        affine[2, 3] += 18 * samples.SPACING_MM
        samples.write(path, volume, affine)
    one = item(read_plain(tmp_path, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD))
    known = one["known"].flatten(2).float().mean(2)  # (study, from the feet up)
    half = int(torch.argmax((known[0] > 0).int()))
    assert 10 < half < 20
    assert known[0, :half].max() == 0
    assert known[0, half:].min() == 1
    assert known[1].min() == 1


def test_targets_of_several_schemes(tmp_path: Path) -> None:
    brats = read_brats_mets(samples.brats_mets(tmp_path / "brats", patients={"00001": 1}))
    tissue = item(brats, target=Target.TISSUE)
    counts = torch.bincount(tissue["label"].flatten().as_tensor().long(), minlength=4)
    assert (counts[1:] > 0).all()
    lesion = item(brats, target=Target.LESION)
    assert lesion["label"].sum() == counts[Tissue.ENHANCING] + counts[Tissue.NECROSIS]
    assert 0 < (lesion["known"] == 0).sum() < 100  # the cavity
    ucsf = read_ucsf(samples.ucsf(tmp_path / "ucsf"))
    both = item(ucsf, target=Target.TISSUE)
    assert (both["known"][1] <= both["known"][0]).all()
    assert both["label"][1].max() == Tissue.ENHANCING
    assert both["known"][1].float().mean() < 0.01  # of its background, edema is not told


def test_unknown_label_values_name_the_file(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["1"]})
    samples.write(tmp_path / "p1" / "1" / "labels.nii.gz", np.full(samples.SHAPE, 9, np.uint8))
    records = read_plain(tmp_path, data_set="x", scheme=OURS, quality=Quality.GOLD)
    with pytest.raises(ValueError, match=r"p1/1/labels\.nii\.gz has the label 9, which means nothing in node"):
        item(records)


def test_voxels_that_are_no_number_are_refused(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["1"]})
    samples.write(tmp_path / "p1" / "1" / "flair.nii.gz", np.full(samples.SHAPE, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"flair\.nii\.gz has voxels that are no number; write it again"):
        item(read_plain(tmp_path, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD))


def test_where_no_brain_is_found_a_mask_is_asked_for(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["1"]})
    folder = tmp_path / "p1" / "1"
    samples.write(folder / "t1c.nii.gz", np.full((54, 60, 56), 20, np.float32), samples.AFFINE)
    with pytest.raises(ValueError, match=r"t1c\.nii\.gz: the image is blank.*; or give a brain mask"):
        item(read_plain(tmp_path, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD))
    head = samples.image(0) + 50  # nothing is 0
    samples.write(folder / "t1c.nii.gz", np.pad(head, 10, constant_values=20), samples.AFFINE)
    shifted = samples.AFFINE.copy()
    shifted[:3, 3] += 10 * samples.SPACING_MM
    samples.write(folder / "brain.nii.gz", samples.brain().astype(np.uint8), shifted)
    one = item(read_plain(tmp_path, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD))
    whole = read_volume(folder / "t1c.nii.gz")
    assert np.prod(one["image"].shape[1:]) < 0.5 * np.prod(whole.spatial_shape)  # cut to the brain's box
    assert one["image"][0].abs().max() > 0


def test_in_a_whole_head_the_brain_is_found_as_in_inference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.plain(tmp_path, studies={"p1": ["1"]})
    head = np.pad(samples.image(0) + 50, 10, constant_values=20)
    samples.write(tmp_path / "p1" / "1" / "t1c.nii.gz", head, samples.AFFINE)
    (record,) = read_plain(tmp_path, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD)
    box = np.zeros(head.shape, bool)
    box[20:30, 22:40, 20:40] = True
    asked: list[object] = []
    monkeypatch.setattr(volumes, "find_brain", lambda image, **_: asked.append(image) or image.with_array(box))
    found = volumes.brain_of(record)
    assert found.array.dtype == np.uint8
    np.testing.assert_array_equal(found.array, box)
    item((record,))
    assert len(asked) == 1  # it takes long: what was found is kept


def test_monai_transforms_treat_all_studies_alike(tmp_path: Path) -> None:
    samples.plain(tmp_path, studies={"p1": ["1", "2"], "p2": ["1", "2", "3"]})
    for study in ("1", "2"):  # the same study twice must stay the same twice
        for kind in ("t1c", "t1", "t2", "flair"):
            samples.write(tmp_path / "p1" / study / f"{kind}.nii.gz", samples.image(1))
        samples.write(tmp_path / "p1" / study / "labels.nii.gz", samples.ball(samples.LESION_MM, 8).astype(np.uint8))
    transform = Compose(
        [
            RandFlipd(SPATIAL, prob=0.5, spatial_axis=2),
            SpatialPadd(SPATIAL, 16),
            RandSpatialCropd(SPATIAL, 16, random_size=False),
        ]
    )
    set_determinism(5)
    records = read_plain(tmp_path, data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD)
    data = LongitudinalDataset(records, qualities={Quality.GOLD}, spacing_mm=SPACING_MM, transform=transform)
    batches = list(DataLoader(data, batch_size=1))
    set_determinism(None)
    assert [tuple(batch["image"].shape) for batch in batches] == [(1, 8, 16, 16, 16), (1, 12, 16, 16, 16)]
    studies = by_study(batches[0]["image"])
    assert studies.shape == (1, 2, len(CHANNELS), 16, 16, 16)
    assert torch.equal(studies[:, 0], studies[:, 1])
    assert torch.equal(batches[0]["label"][:, 0], batches[0]["label"][:, 1])
    assert batches[1]["quality"].tolist() == [[3, 3, 3]]
    assert torch.isnan(batches[1]["days"]).all()


def test_workers_read_the_same_items(tmp_path: Path) -> None:
    records = read_plain(
        samples.plain(tmp_path, studies={"p1": ["1"]}), data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD
    )
    data = LongitudinalDataset(records, qualities={Quality.GOLD}, spacing_mm=SPACING_MM)
    (batch,) = DataLoader(data, batch_size=1, num_workers=1)
    assert torch.equal(batch["image"][0], data[0]["image"])


def test_defect_12_no_patient_s_name_leaves_the_doors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    samples.plain(tmp_path / "data", studies={SECRET: ["2024-03-05", "2024-06-01"]})
    before = sorted(tmp_path.rglob("*"))
    records = read_plain(tmp_path / "data", data_set="x", scheme=WHOLE_LESION, quality=Quality.GOLD)
    data = LongitudinalDataset(records, qualities={Quality.GOLD}, spacing_mm=SPACING_MM)
    (batch,) = DataLoader(data, batch_size=1)
    printed = capsys.readouterr()
    told = [repr(records), str(data.sequences), repr(data), caplog.text, printed.out, printed.err]
    told += [repr({name: getattr(value, "meta", value) for name, value in one.items()}) for one in (data[0], batch)]
    assert not [text for text in told if SECRET in text]
    assert sorted(tmp_path.rglob("*")) == before  # nothing was written


def test_functions_can_be_used_without_the_class(tmp_path: Path) -> None:
    records = read_brats_mets(samples.brats_mets(tmp_path, patients={"00001": 1}))
    (sequence,) = patient_sequences(records, qualities={Quality.GOLD})
    one = load_sequence(sequence, qualities={Quality.GOLD}, target=Target.LESION, spacing_mm=SPACING_MM)
    assert torch.equal(one["image"], item(records)["image"])
