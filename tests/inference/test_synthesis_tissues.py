"""The shipped head: what its labels are, how it lies, and what becomes of them."""

from collections.abc import Iterator
from importlib import resources

import pytest
import torch
from torch import Tensor

from inference.synthesis.tissues import (
    SYNTHSEG,
    Anatomy,
    HeadTissue,
    anatomy_of,
    crop_to_head,
    load_label_map,
    tissue_map,
)
from inference.threads import torch_threads

DATA = resources.files("inference") / "data"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep to one processor thread: on a busy machine two that wait for each other take many times as long."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def labels() -> Tensor:
    return load_label_map()


@pytest.fixture(scope="module")
def tissues(labels: Tensor) -> Tensor:
    return tissue_map(labels)


@pytest.fixture(scope="module")
def anatomy(labels: Tensor, tissues: Tensor) -> Anatomy:
    return anatomy_of(labels, tissues, white=1.0)


def middle(mask: Tensor) -> list[float]:
    return mask.nonzero().float().mean(0).tolist()


def test_the_shipped_map_has_the_documented_labels_but_no_fifth_ventricle(labels: Tensor) -> None:
    documented = {0} | {value for values in SYNTHSEG.values() for value in values}
    assert set(labels.unique().tolist()) == documented - {72}


def test_the_shipped_map_is_small_and_carries_its_notice() -> None:
    assert len((DATA / "head_labels.nii.gz").read_bytes()) <= 1_600_000
    notice = (DATA / "NOTICE-synthseg.txt").read_text()
    assert "SynthSeg" in notice
    assert "Apache License, Version 2.0" in notice


def test_the_head_lies_as_promised(labels: Tensor) -> None:
    cortex, cerebellum, eyes = (middle(torch.isin(labels, torch.tensor(v))) for v in ((3, 42), (8, 47), (506,)))
    assert cerebellum[0] < cortex[0]  # i: from inferior to superior
    assert eyes[1] < cortex[1] < cerebellum[1]  # j: from anterior to posterior
    assert middle(labels == 42)[2] < middle(labels == 3)[2]  # k: from right to left


def test_a_ray_from_the_brain_to_the_air_passes_skull_and_scalp(labels: Tensor, tissues: Tensor) -> None:
    i, j, k = (int(c) for c in middle(torch.isin(labels, torch.tensor((2, 41)))))
    for ray in (tissues[i:, j, k], tissues[i, j:, k], tissues[i, j, k:], tissues[i, j, :k].flip(0)):
        bone = (ray == HeadTissue.BONE).nonzero().flatten()
        scalp = torch.isin(ray, torch.tensor([HeadTissue.FAT, HeadTissue.SKIN])).nonzero().flatten()
        assert 30 < int(bone[0]) < int(scalp[-1])
        assert int(ray[-1]) in (HeadTissue.AIR, HeadTissue.SKIN)


def test_every_tissue_is_there(tissues: Tensor) -> None:
    assert set(tissues.unique().tolist()) == {int(tissue) for tissue in HeadTissue}


def test_masks_lie_inside_each_other(anatomy: Anatomy) -> None:
    for part in (anatomy.tissue, anatomy.junction, anatomy.ventricles):
        assert not bool((part & ~anatomy.brain).any())
    assert 1_000_000 < int(anatomy.brain.sum()) < 2_000_000  # mm³
    assert 20_000 < int(anatomy.junction.sum()) < 500_000
    assert not bool((anatomy.tissue & anatomy.ventricles).any())


def test_cropping_keeps_the_brain_and_a_map_without_brain_is_refused(labels: Tensor) -> None:
    brain = torch.isin(labels, torch.tensor((2, 3, 7, 8, 41, 42, 46, 47)))
    cropped = crop_to_head(labels, below_brain_mm=10)
    assert cropped.shape[0] < labels.shape[0]
    assert int(torch.isin(cropped, torch.tensor((2, 3, 7, 8, 41, 42, 46, 47))).sum()) == int(brain.sum())
    with pytest.raises(ValueError, match="no brain labels"):
        crop_to_head(torch.zeros((20, 20, 20), dtype=torch.int16))
