"""Who owns which edema, against a plain search; that the volumes of tissues add up."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from highdicom import Volume
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import label

from tests.tracking.phantoms import empty_grid
from tracking.measurement import measure_lesions, region_volumes, split_edema
from tracking.timepoint import Tissue

SHAPES = Path(__file__).parents[4] / "shared" / "data" / "lesion_shapes"
SPACING_MM = (3.0, 1.0, 0.8)
VOXEL_MM3 = 2.4
N, E, O = Tissue.NECROSIS, Tissue.ENHANCING, Tissue.EDEMA  # noqa: E741  # a picture in letters


def row(labels: list[int], tissues: list[int]) -> tuple[Volume, Volume]:
    grid = empty_grid((3, 3, len(labels)), SPACING_MM)
    grid.array[1, 1] = labels
    drawn = np.zeros_like(grid.array)
    drawn[1, 1] = tissues
    return grid, grid.with_array(drawn)


def test_edema_goes_to_the_nearest_lesion_of_its_component() -> None:
    labels, tissues = row([1, 1, 0, 0, 0, 2, 0, 0, 0, 0], [E, N, O, O, O, E, 0, O, 0, O])
    split = split_edema(labels, tissues)
    assert split.owner[1, 1, [2, 4]].tolist() == [1, 2]
    assert sum(split.volume_mm3.values()) == pytest.approx(3 * VOXEL_MM3)
    assert split.unassigned_mm3 == pytest.approx(2 * VOXEL_MM3)  # near lesion 2, but healthy tissue is between


def test_tissues_of_each_lesion_and_their_regions() -> None:
    labels, tissues = row([1, 1, 1, 0, 0, 0, 2], [E, E, N, O, O, 0, E])
    first, second = measure_lesions(labels, tissues=tissues)
    assert first.volume_mm3 == pytest.approx({E: 2 * VOXEL_MM3, N: VOXEL_MM3, O: 2 * VOXEL_MM3})
    assert second.volume_mm3 == pytest.approx({E: VOXEL_MM3, N: 0.0, O: 0.0})
    regions = region_volumes(first)
    assert regions.enhancing_mm3 == pytest.approx(2 * VOXEL_MM3)
    assert regions.core_mm3 == pytest.approx(3 * VOXEL_MM3) == first.total_volume_mm3
    assert regions.whole_mm3 == pytest.approx(5 * VOXEL_MM3)
    assert (regions.necrosis_to_enhancing, regions.edema_to_enhancing) == pytest.approx((0.5, 1.0))


def test_what_is_not_labelled_is_unknown_and_not_none() -> None:
    labels, _ = row([1, 1, 1], [0, 0, 0])
    regions = region_volumes(measure_lesions(labels)[0])
    assert regions.core_mm3 == pytest.approx(3 * VOXEL_MM3)
    assert (regions.enhancing_mm3, regions.whole_mm3) == (None, None)
    assert (regions.necrosis_to_enhancing, regions.edema_to_enhancing) == (None, None)


def test_a_lesion_without_enhancement_has_no_ratio() -> None:
    labels, tissues = row([1, 1, 0], [N, N, O])
    regions = region_volumes(measure_lesions(labels, tissues=tissues)[0])
    assert regions.enhancing_mm3 == 0
    assert (regions.necrosis_to_enhancing, regions.edema_to_enhancing) == (None, None)


@pytest.mark.parametrize(
    ("labels", "tissues"), [([0, 0, 0], [O, O, 0]), ([1, 0, 0], [E, 0, 0]), ([0, 0, 0], [0, 0, 0])]
)
def test_lesions_or_edema_may_be_missing(labels: list[int], tissues: list[int]) -> None:
    split = split_edema(*row(labels, tissues))
    assert split.volume_mm3 == {}
    assert split.unassigned_mm3 == pytest.approx(tissues.count(O) * VOXEL_MM3)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, (3, 5, 6), elements=st.sampled_from([0, 0, 0, 1, 2, 7])),
    arrays(np.uint8, (3, 5, 6), elements=st.sampled_from([0, E, N, O, O])),
)
def test_edema_is_split_as_a_plain_search_does(lesions: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> None:
    grid = empty_grid((3, 5, 6), SPACING_MM)
    labels, tissues = grid.with_array(lesions.astype(np.uint16)), grid.with_array(drawn)
    split = split_edema(labels, tissues)
    edema = (drawn == O) & (lesions == 0)
    components, _ = label(edema | (lesions > 0), np.ones((3, 3, 3)))
    for voxel in np.argwhere(edema):
        candidates = np.argwhere((lesions > 0) & (components == components[tuple(voxel)]))
        owner = split.owner[tuple(voxel)]
        if not len(candidates):
            assert owner == 0
            continue
        distances_mm = np.linalg.norm((candidates - voxel) * SPACING_MM, axis=1)
        nearest = candidates[distances_mm <= distances_mm.min() + 1e-9]
        assert owner in {int(lesions[tuple(one)]) for one in nearest}
    total_mm3 = sum(split.volume_mm3.values()) + split.unassigned_mm3
    assert total_mm3 == pytest.approx(edema.sum() * VOXEL_MM3)
    measured = measure_lesions(labels, tissues=tissues)
    assert sum(one.total_volume_mm3 for one in measured) == pytest.approx((lesions > 0).sum() * VOXEL_MM3)


@pytest.mark.skipif(not SHAPES.exists(), reason="../shared/data/lesion_shapes is not there")
@pytest.mark.parametrize("name", ["BraTS-MET-00132-000-seg.nii.gz", "BraTS-MET-00217-000-seg.nii.gz"])
def test_regions_of_real_patients_add_up(name: str) -> None:
    """Expert label maps on 1 mm voxels: 1 non-enhancing core, 2 surrounding hyperintensity, 3 enhancing."""
    drawn = np.asarray(nib.load(SHAPES / name).dataobj).transpose(2, 1, 0)
    grid = empty_grid(drawn.shape)
    tissues = grid.with_array(np.choose(drawn, (0, N, O, E)).astype(np.uint8))
    components, count = label(np.isin(drawn, (1, 3)), np.ones((3, 3, 3)))
    regions = [region_volumes(one) for one in measure_lesions(grid.with_array(components), tissues=tissues)]
    assert len(regions) == count
    assert sum(one.enhancing_mm3 or 0 for one in regions) == pytest.approx((drawn == 3).sum())
    assert sum(one.core_mm3 for one in regions) == pytest.approx(np.isin(drawn, (1, 3)).sum())
    unassigned_mm3 = split_edema(grid.with_array(components), tissues).unassigned_mm3
    assert sum(one.whole_mm3 or 0 for one in regions) == pytest.approx((drawn > 0).sum() - unassigned_mm3)
