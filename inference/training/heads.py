"""Which heads a training may see: subjects are split once, here, and by centre."""

import re
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
from tracking.timepoint import MRSequence

VALIDATION_CENTRES = ("FG", "EZ")
# 17 is the head of the demo's patient.
VALIDATION_LABEL_MAPS = ("training_seg_17", "training_seg_19", "training_seg_20")
SPACING_DOUBT = 0.15
MARGIN_MM = 12
DATE = re.compile(r"_\d{8}$")
MASKS = ("brain", "flair_abnormality")


class HeadSource(Protocol):
    """Something that heads with known lesions can be made from."""

    @property
    def patient(self) -> str:
        """Who it is: heads of one patient are never on both sides of a training."""

    def make(self, generator: Generator, *, visits: int = 1) -> tuple[TrainingHead, ...]:
        """Make one head at one or several visits, oldest first; the same generator state gives the same head."""


@dataclass(frozen=True, kw_only=True)
class RealHead:
    """A patient's T1c with brain mask and the region of a glioma, in which nothing is known.

    Attributes
    ----------
    stem
        Path without ``_t1c.nii.gz``, ``_t1.nii.gz``, ``_flair.nii.gz``, ``_brain.nii.gz``,
        ``_flair_abnormality.nii.gz``.
    as_it_is
        Keep the spacing, which is estimated and otherwise scaled by up to `SPACING_DOUBT` along each axis, and the
        brightness of the vessels.
    sequences
        Which to read beside the T1c, where there are files.
    """

    stem: Path
    as_it_is: bool = False
    sequences: tuple[MRSequence, ...] = ()

    @property
    def patient(self) -> str:
        """The name without the date of the study."""
        return DATE.sub("", self.stem.name)

    def make(self, generator: Generator, *, visits: int = 1) -> tuple[TrainingHead, ...]:
        """Return the head with synthetic lesions, index order of `inference.preprocessing.ORIENTATION`."""
        doubt = 0.0 if self.as_it_is else SPACING_DOUBT
        scale = 1 + doubt * (2 * torch.rand(3, generator=generator).numpy() - 1)
        volumes = {kind: _rescaled(_read(path), scale) for kind, path in self._files().items()}
        brain = volumes["brain"]
        i, j, k = (int(np.ceil(MARGIN_MM / spacing)) for spacing in brain.spacing)
        box = brain_box(brain.array > 0, margin=(i, j, k))
        grid = isotropic_grid(crop(brain, box), 1.0)
        masks = {kind: resample_like(volumes.pop(kind), grid, interpolation="nearest") for kind in MASKS}
        images = {MRSequence(kind): resample_like(v, grid, interpolation="linear") for kind, v in volumes.items()}
        return from_real_head(
            {sequence: _tensor(image) for sequence, image in images.items()},
            _tensor(masks["brain"]) > 0,
            _tensor(masks["flair_abnormality"]) > 0,
            generator=generator,
            visits=visits,
            same_vessels=self.as_it_is,
        )

    def _files(self) -> dict[str, Path]:
        """Return masks, T1c and those further sequences that this patient has."""
        further = [str(sequence) for sequence in self.sequences if self._path(sequence).exists()]
        return {kind: self._path(kind) for kind in (str(MRSequence.T1C), *further, *MASKS)}

    def _path(self, kind: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}_{kind.lower()}.nii.gz")


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """A label map of a whole head at 1 mm from which images are drawn."""

    path: Path
    sequences: tuple[MRSequence, ...] = ()

    @property
    def patient(self) -> str:
        """The name of the map: each is of another head."""
        return self.path.name

    def make(self, generator: Generator, *, visits: int = 1) -> tuple[TrainingHead, ...]:
        """Return a head with synthetic images and lesions, index order of `inference.preprocessing.ORIENTATION`."""
        labels = _read(self.path)
        box = brain_box(labels.array > 0, margin=(2, 2, 2))
        wanted = (MRSequence.T1C, *(sequence for sequence in self.sequences if sequence != MRSequence.T1C))
        return from_label_map(
            torch.from_numpy(crop(labels, box).array.astype(np.int16)),
            generator=generator,
            visits=visits,
            sequences=wanted,
        )


def training_sources(data: Path, sequences: tuple[MRSequence, ...] = ()) -> list[list[HeadSource]]:
    """Return the kinds of sources for training: real heads of centres CS and DU, and 17 label maps.

    Parameters
    ----------
    data
        Folder with ``heads/`` and ``label_maps/``.
    sequences
        What is wanted beside the T1c.
    """
    real: list[HeadSource] = [
        RealHead(stem=stem, sequences=sequences) for stem in _stems(data) if not _is_validation(stem)
    ]
    maps: list[HeadSource] = [
        LabelMap(path=path, sequences=sequences)
        for path in _label_maps(data)
        if _name(path) not in VALIDATION_LABEL_MAPS
    ]
    return [real, maps]


def validation_heads(data: Path) -> list[RealHead]:
    """Return the real heads of the centres that no training sees, as they are."""
    return [RealHead(stem=stem, as_it_is=True) for stem in _stems(data) if _is_validation(stem)]


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
