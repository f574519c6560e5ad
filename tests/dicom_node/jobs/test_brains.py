"""A brain is looked for once per image; what is kept is the mask itself."""

import os
from pathlib import Path

import numpy as np
import pytest
from highdicom import Volume

from dicom_node.errors import InvalidStudyError
from dicom_node.jobs import brains
from dicom_node.jobs.brains import brain_of
from tests.dicom_node.studies.heads import head


@pytest.fixture
def t1c() -> Volume:
    return head(contrast_agent=True)


def test_the_second_look_gives_the_same_mask_without_looking(
    t1c: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = brain_of(t1c, cache_folder=tmp_path, threads=1)
    assert first.array.any()
    monkeypatch.delattr(brains, "find_brain")
    second = brain_of(t1c, cache_folder=tmp_path, threads=1)
    assert np.array_equal(first.array, second.array)
    assert np.array_equal(first.affine, second.affine)
    with pytest.raises(NameError):  # one voxel differs, so it is another image
        brain_of(
            t1c.with_array(t1c.array + (np.indices(t1c.spatial_shape).sum(0) == 0)), cache_folder=tmp_path, threads=1
        )


def test_an_image_without_a_brain_is_refused_and_not_kept(t1c: Volume, tmp_path: Path) -> None:
    with pytest.raises(InvalidStudyError, match="blank"):
        brain_of(t1c.with_array(np.zeros(t1c.spatial_shape, np.float32)), cache_folder=tmp_path, threads=1)
    assert not list(tmp_path.iterdir())


def test_the_oldest_masks_give_way(t1c: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brains, "MOST_KEPT", 2)
    for age in range(3):
        path = tmp_path / f"brain_{age}.npz"
        path.write_bytes(b"")
        os.utime(path, (1000 - age, 1000 - age))
    brain_of(t1c, cache_folder=tmp_path, threads=1)
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "brain_0.npz").exists()
