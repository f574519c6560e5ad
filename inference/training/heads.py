"""Which heads a training may see: subjects are split once, here, and by centre."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import nibabel as nib
import numpy as np
import torch
from highdicom import Volume
from torch import Generator, Tensor

from inference.preprocessing import brain_box, crop, to_fixed_orientation
from inference.synthesis.training_heads import TrainingHead, from_label_map, from_real_head
from tracking.geometry import isotropic_grid, resample_like

VALIDATION_CENTRES = ("FG", "EZ")
# 17 is the head of the demo's patient.
VALIDATION_LABEL_MAPS = ("training_seg_17", "training_seg_19", "training_seg_20")
SPACING_DOUBT = 0.15
MARGIN_MM = 12


class HeadSource(Protocol):
    """Something that heads with known lesions can be made from."""

    def make(self, generator: Generator) -> TrainingHead:
        """Make one head; the same generator state gives the same head."""


@dataclass(frozen=True, kw_only=True)
class RealHead:
    """A patient's T1c with brain mask and the region of a glioma, in which nothing is known.

    Attributes
    ----------
    stem
        Path without ``_t1c.nii.gz``, ``_brain.nii.gz``, ``_flair_abnormality.nii.gz``.
    spacing_doubt
        The voxel spacing is estimated: each axis is scaled by up to this share.
    """

    stem: Path
    spacing_doubt: float = SPACING_DOUBT

    def make(self, generator: Generator) -> TrainingHead:
        """Return the head with synthetic lesions, index order of `inference.preprocessing.ORIENTATION`."""
        scale = 1 + self.spacing_doubt * (2 * torch.rand(3, generator=generator).numpy() - 1)
        t1c, brain, abnormality = (_rescaled(self._read(kind), scale) for kind in ("t1c", "brain", "flair_abnormality"))
        i, j, k = (int(np.ceil(MARGIN_MM / spacing)) for spacing in t1c.spacing)
        box = brain_box(brain.array > 0, margin=(i, j, k))
        grid = isotropic_grid(crop(t1c, box), 1.0)
        image = resample_like(t1c, grid, interpolation="linear")
        masks = [resample_like(mask, grid, interpolation="nearest") for mask in (brain, abnormality)]
        return from_real_head(_tensor(image), _tensor(masks[0]) > 0, _tensor(masks[1]) > 0, generator=generator)

    def _read(self, kind: str) -> Volume:
        return _read(self.stem.with_name(f"{self.stem.name}_{kind}.nii.gz"))


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """A label map of a whole head at 1 mm from which images are drawn."""

    path: Path

    def make(self, generator: Generator) -> TrainingHead:
        """Return a head with synthetic image and lesions, index order of `inference.preprocessing.ORIENTATION`."""
        labels = _read(self.path)
        box = brain_box(labels.array > 0, margin=(2, 2, 2))
        return from_label_map(torch.from_numpy(crop(labels, box).array.astype(np.int16)), generator=generator)


def training_sources(data: Path) -> list[list[HeadSource]]:
    """Return the kinds of sources for training: real heads of centres CS and DU, and 17 label maps."""
    real: list[HeadSource] = [RealHead(stem=stem) for stem in _stems(data) if not _is_validation(stem)]
    maps: list[HeadSource] = [
        LabelMap(path=path) for path in _label_maps(data) if _name(path) not in VALIDATION_LABEL_MAPS
    ]
    return [real, maps]


def validation_heads(data: Path) -> list[RealHead]:
    """Return the real heads of the centres that no training sees, with their spacing taken as it is."""
    return [RealHead(stem=stem, spacing_doubt=0) for stem in _stems(data) if _is_validation(stem)]


def validation_label_maps(data: Path) -> list[LabelMap]:
    """Return the label maps that no training sees."""
    return [LabelMap(path=path) for path in _label_maps(data) if _name(path) in VALIDATION_LABEL_MAPS]


def _stems(data: Path) -> list[Path]:
    found = sorted((data / "heads").glob("*_t1c.nii.gz"))
    if not found:
        raise FileNotFoundError(f"no heads in {data / 'heads'}: give the folder that holds heads/ and label_maps/")
    return [path.with_name(path.name.removesuffix("_t1c.nii.gz")) for path in found]


def _label_maps(data: Path) -> list[Path]:
    return sorted((data / "label_maps").glob("*.nii.gz"))


def _name(path: Path) -> str:
    return path.name.removesuffix(".nii.gz")


def _is_validation(stem: Path) -> bool:
    return stem.name.split("_")[1] in VALIDATION_CENTRES


def _read(path: Path) -> Volume:
    return to_fixed_orientation(Volume.from_nibabel(nib.load(path)))


def _rescaled(volume: Volume, scale: np.ndarray) -> Volume:
    affine = volume.affine.copy()
    affine[:3, :3] *= scale  # columns are the steps along i, j and k
    return Volume(volume.array, affine, "PATIENT")


def _tensor(volume: Volume) -> Tensor:
    return torch.from_numpy(volume.array.astype(np.float32))
