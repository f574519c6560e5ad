"""No patient is on both sides, whatever they are called; folds are the same each time."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.training.heads import HeadSource, LabelMap, RealHead
from inference.training.pool import HeadPool
from inference.training.sources import (
    SmallHead,
    Sources,
    add_validation_heads,
    blank_channels,
    find_sources,
    patient_folds,
    sequences_of,
    smoke_sources,
)
from tests.inference.training_pools import TINY, ball_pools
from tracking.timepoint import MRSequence


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the names of heads: ten patients of a centre to train on, the first scanned twice; two others."""
    names = [f"TCGA_DU_{n:04d}_19990101" for n in range(10)] + ["TCGA_DU_0000_20010203"]
    names += ["TCGA_FG_0001_19990101", "TCGA_EZ_0002_19990101"]
    for folder, files in (
        ("heads", [f"{name}_t1c.nii.gz" for name in names]),
        ("label_maps", [f"training_seg_{n:02d}.nii.gz" for n in range(1, 21)]),
    ):
        (tmp_path / folder).mkdir()
        for file in files:
            (tmp_path / folder / file).touch()
    return tmp_path


def patients(sources: Sources) -> tuple[set[str], set[str]]:
    learning = {source.patient for kind in sources.training for source in kind}
    return learning, {source.patient for source in sources.validation}


def test_every_patient_is_judged_by_once_and_never_learned_from_then(data: Path) -> None:
    judged: list[str] = []
    for fold in range(5):
        learning, judging = patients(find_sources(data, replace(TINY, folds=5, fold=fold)))
        assert not learning & judging
        assert len(learning | judging) == 10 + 17
        judged += sorted(judging)
    assert len(judged) == len(set(judged)) == 27
    assert not any("FG" in patient or "EZ" in patient for patient in judged)


def test_both_scans_of_a_patient_lie_in_one_fold(data: Path) -> None:
    kinds = find_sources(data, TINY).training
    first, second = (source for source in kinds[0] if "_0000_" in source.stem.name)  # type: ignore[attr-defined]
    assert first != second
    assert first.patient == second.patient == "TCGA_DU_0000"


def test_folds_depend_on_their_seed_alone_and_are_of_even_size(data: Path) -> None:
    kinds = find_sources(data, TINY).training
    folds = patient_folds(kinds, 5, seed=3)
    assert folds == patient_folds([list(reversed(kind)) for kind in kinds], 5, seed=3)
    assert folds != patient_folds(kinds, 5, seed=4)
    for prefix in ("TCGA", "training"):
        sizes = [sum(n == fold and name.startswith(prefix) for name, n in folds.items()) for fold in range(5)]
        assert max(sizes) - min(sizes) <= 1


def test_the_seed_of_the_weights_does_not_move_patients(data: Path) -> None:
    config = replace(TINY, folds=5, fold=2)
    assert patients(find_sources(data, config)) == patients(find_sources(data, replace(config, seed=9)))


def test_without_folds_centres_that_no_training_sees_are_shown(data: Path) -> None:
    learning, judging = patients(find_sources(data, TINY))
    assert len(learning) == 27
    assert judging == {"TCGA_FG_0001", "TCGA_EZ_0002", *(f"training_seg_{n}.nii.gz" for n in (17, 19, 20))}


@pytest.mark.parametrize("change", [{"objective": "ssl"}, {"pretrain": True}])
def test_who_decides_by_validation_sets_its_own_patients_aside(data: Path, change: dict[str, str]) -> None:
    learning, judging = patients(find_sources(data, replace(TINY, **change)))  # type: ignore[arg-type]
    assert not learning & judging
    assert len(learning | judging) == 27
    assert 4 <= len(judging) <= 7


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="1 patients cannot be split into 5 folds: set folds to 1 or less"):
        find_sources(None, replace(TINY, folds=5, fold=0))


def test_without_data_the_shipped_head_is_there() -> None:
    sources = find_sources(None, TINY)
    assert [[type(source) for source in kind] for kind in sources.training] == [[LabelMap]]
    assert isinstance(sources.training[0][0], LabelMap)
    assert sources.training[0][0].path.exists()


def test_manifests_say_what_was_learned_from(data: Path) -> None:
    real = find_sources(data, TINY)
    assert real.training_data.startswith("synthetic lesions in 11 real post-contrast glioma heads")
    assert "in 17 SynthSeg label maps; no labelled metastasis" in real.training_data
    assert real.licence.startswith("research use only")
    own = find_sources(None, TINY)
    assert own.training_data == "synthetic lesions in 1 SynthSeg label map; no labelled metastasis"
    assert own.licence == "the code is Apache-2.0"


def test_sequences_are_asked_for_where_a_channel_needs_them() -> None:
    assert sequences_of(("T1c", "prior_mask")) == ()
    assert set(sequences_of(("T1c", "subtraction", "FLAIR"))) == {MRSequence.T1, MRSequence.FLAIR}


def test_heads_to_be_judged_by_are_always_the_same(tmp_path: Path, ball_head: HeadSource) -> None:
    sources = [ball_head]
    first, again = (HeadPool(folder=tmp_path / name, capacity=2) for name in ("first", "again"))
    add_validation_heads(first, sources, count=2, seed=1)
    add_validation_heads(again, sources, count=1, seed=1)  # as if it had been stopped
    add_validation_heads(again, sources, count=2, seed=1)
    for number in range(2):
        ours, theirs = first.get(number), again.get(number)
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours[0].lesions, theirs[0].lesions)
    add_validation_heads(again, sources, count=2, seed=8)
    assert again.next_number() == 2


def test_channels_that_no_head_shows_are_named(tmp_path: Path, ball_head: HeadSource) -> None:
    pool = ball_pools(tmp_path, ball_head).training
    assert blank_channels(pool, ("T1c", "FLAIR", "prior_mask", "position_i")) == ["FLAIR"]


def test_pretended_patients_can_be_split_too() -> None:
    learning, judging = patients(smoke_sources(replace(TINY, folds=5, fold=1)))
    assert (len(learning), len(judging)) == (8, 2)


def test_a_small_head_has_all_that_a_head_has() -> None:
    head = SmallHead(number=0, sequences=(MRSequence.FLAIR,)).make(torch.Generator().manual_seed(1))[0]
    assert set(head.images) == {MRSequence.T1C, MRSequence.FLAIR}
    assert 32 < min(head.brain.shape) < max(head.brain.shape) < 90
    assert bool(head.brain.any())


def test_a_patient_is_a_head_without_its_date() -> None:
    assert RealHead(stem=Path("TCGA_CS_4941_19960909")).patient == "TCGA_CS_4941"
    assert RealHead(stem=Path("TCGA_CS_4941")).patient == "TCGA_CS_4941"
