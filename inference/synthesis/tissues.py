"""From SynthSeg labels to the tissues of a head, and to the masks that say where things are.

Label maps are indexed (i, j, k) with i from inferior to superior, on cubic 1 mm voxels.
"""

from dataclasses import dataclass
from enum import IntEnum
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from inference.synthesis.axes import blur, nearness

LARGEST_LABEL = 530
SHIPPED_MAP = "head_labels.nii.gz"


class HeadTissue(IntEnum):
    """Tissues that differ on MR images."""

    AIR = 0
    WHITE = 1
    CORTEX = 2
    DEEP_GREY = 3
    PALLIDUM = 4
    CEREBELLAR_WHITE = 5
    CEREBELLAR_CORTEX = 6
    BRAINSTEM = 7
    WHITE_SPOT = 8
    FLUID = 9
    PLEXUS = 10
    ARTERY = 11
    VEIN = 12
    DURA = 13
    EYE = 14
    LENS = 15
    NERVE = 16
    MUSCLE = 17
    FAT = 18
    MUCOSA = 19
    SKIN = 20
    BONE = 21
    MARROW = 22


SYNTHSEG = {
    HeadTissue.WHITE: (2, 41),
    HeadTissue.CORTEX: (3, 42, 17, 18, 53, 54),
    HeadTissue.DEEP_GREY: (10, 11, 12, 26, 49, 50, 51, 58),
    HeadTissue.PALLIDUM: (13, 52),
    HeadTissue.CEREBELLAR_WHITE: (7, 46),
    HeadTissue.CEREBELLAR_CORTEX: (8, 47),
    HeadTissue.BRAINSTEM: (16, 28, 60, 85, 512),
    HeadTissue.WHITE_SPOT: (25, 57),
    HeadTissue.FLUID: (4, 5, 14, 15, 24, 30, 43, 44, 62, 72),
    HeadTissue.PLEXUS: (136, 137, 163, 164),
    HeadTissue.ARTERY: (502,),
    HeadTissue.VEIN: (514,),
    HeadTissue.EYE: (506,),
    HeadTissue.NERVE: (530,),
    HeadTissue.MUSCLE: (507, 508),
    HeadTissue.MUCOSA: (509,),
    HeadTissue.SKIN: (511,),
    HeadTissue.BONE: (515,),
    HeadTissue.MARROW: (516,),
}
VENTRICLES = (4, 5, 14, 15, 43, 44, 72, 136, 137, 163, 164)
LEFT, RIGHT = (2, 3), (41, 42)
CEREBELLUM = (7, 8, 46, 47)
INFRATENTORIAL = (*CEREBELLUM, 16)
BRAIN_TISSUES = tuple(range(HeadTissue.WHITE, HeadTissue.WHITE_SPOT + 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """Where things are in a head on a 1 mm grid; all masks bool (i, j, k).

    Attributes
    ----------
    brain
        Brain with the fluid of its furrows and ventricles.
    tissue
        Grey and white matter.
    junction
        Border of grey and white matter above the tentorium.
    infratentorial
        Cerebellum and brainstem.
    ventricles
        Fluid inside the brain.
    white
        Intensity of white matter.
    """

    brain: Tensor
    tissue: Tensor
    junction: Tensor
    infratentorial: Tensor
    ventricles: Tensor
    white: float


def load_label_map(path: Path | None = None) -> Tensor:
    """Return a SynthSeg label map, int16 (i, j, k): inferior → superior, anterior → posterior, right → left.

    Parameters
    ----------
    path
        NIfTI file with 1 mm voxels; the head that ships with the package when None.
    """
    shipped = Path(str(resources.files("inference") / "data" / SHIPPED_MAP))
    image = nib.as_closest_canonical(nib.load(path or shipped))
    labels = np.asarray(image.dataobj).astype(np.int16)
    return torch.from_numpy(np.ascontiguousarray(labels[::-1, ::-1].transpose(2, 1, 0)))


def is_any(labels: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Return where ``labels`` (i, j, k) has one of the wanted values."""
    table = torch.zeros(LARGEST_LABEL + 1, dtype=torch.bool, device=labels.device)
    table[list(wanted)] = True
    return table[labels.long()]


def crop_to_head(labels: Tensor, *, below_brain_mm: int = 35, margin_mm: int = 4) -> Tensor:
    """Return the part of a label map (1 mm voxels) that holds the head down to just below the brain.

    Raises
    ------
    ValueError
        If the map has no brain.
    """
    brain = is_any(labels, (*LEFT, *RIGHT, *CEREBELLUM)).any(2).any(1).nonzero().flatten()
    if not len(brain):
        raise ValueError("The label map has no brain labels; give a SynthSeg map with the labels of tissues.py.")
    head = labels[max(0, int(brain[0]) - below_brain_mm) :]
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        used = (head > 0).amax(others).nonzero().flatten()
        low = 0 if axis == 0 else max(0, int(used[0]) - margin_mm)
        head = head.narrow(axis, low, min(head.shape[axis], int(used[-1]) + 1 + margin_mm) - low)
    return head


def tissue_map(labels: Tensor) -> Tensor:
    """Return the `HeadTissue` of every voxel, uint8 (i, j, k).

    What the labels lump together is taken apart by position: fat under the skin and around the eyes, dura between
    bone and brain, falx and tentorium between the halves of the brain, the lens, the septum between the ventricles.
    """
    table = torch.zeros(LARGEST_LABEL + 1, dtype=torch.uint8, device=labels.device)
    for tissue, values in SYNTHSEG.items():
        table[list(values)] = int(tissue)
    tissues = table[labels.long()]
    _split_scalp(tissues)
    _fill_diploe(tissues)
    _fill_orbits(tissues)
    _add_membranes(tissues, labels)
    ahead = _anterior_sign(tissues)
    _split_plexus(tissues, ahead)
    _add_lenses(tissues, ahead)
    return tissues


def _split_scalp(tissues: Tensor) -> None:
    """Make everything soft within a few millimetres below the skin fat, and the outermost layer skin."""
    scalp = (tissues == HeadTissue.SKIN) | (tissues == HeadTissue.MUSCLE)
    outside = _open_air(tissues)
    touches_air = blur(outside.float(), 1.2)
    tissues[(tissues == HeadTissue.SKIN) & (touches_air < 0.14)] = HeadTissue.FAT
    tissues[scalp & (tissues == HeadTissue.MUSCLE) & (nearness(outside, 4.0) > 0.06)] = HeadTissue.FAT


def _fill_diploe(tissues: Tensor) -> None:
    """Put marrow between the two dense tables of the skull, where it is thick enough."""
    skull = (tissues == HeadTissue.BONE) | (tissues == HeadTissue.MARROW)
    tissues[skull & (blur(skull.float(), 1.6) > 0.84)] = HeadTissue.MARROW


def _open_air(tissues: Tensor) -> Tensor:
    """Return air outside the head: what lies beyond the first and last tissue of every row or column."""
    filled = (tissues > 0).float()
    before = [filled.cummax(a).values * filled.flip(a).cummax(a).values.flip(a) for a in (1, 2)]
    return (before[0] * before[1]) == 0


def _fill_orbits(tissues: Tensor) -> None:
    """Replace unlabelled soft tissue around the eyes and optic nerves by fat."""
    eyes = (tissues == HeadTissue.EYE) | (tissues == HeadTissue.NERVE)
    if bool(eyes.any()):
        tissues[(tissues == HeadTissue.MUSCLE) & (nearness(eyes, 5.0) > 0.012)] = HeadTissue.FAT


def _add_membranes(tissues: Tensor, labels: Tensor) -> None:
    """Turn the fluid next to bone, between the hemispheres and above the cerebellum into thin dura."""
    fluid = labels == 24
    bone = blur((tissues == HeadTissue.BONE).float(), 1.0) > 0.28
    left, right = (nearness(is_any(labels, side), 3.0) for side in (LEFT, RIGHT))
    below = nearness(is_any(labels, CEREBELLUM), 3.0)
    falx = ((left - right).abs() < 0.025) & (left + right > 0.12) & (below < 0.05)
    tentorium = ((left + right - below).abs() < 0.03) & (below > 0.08)
    tissues[fluid & (bone | falx | tentorium)] = HeadTissue.DURA


def _anterior_sign(tissues: Tensor) -> int:
    """Return +1 when the face lies at high j, −1 when it lies at low j."""
    behind = (tissues == HeadTissue.CEREBELLAR_CORTEX).any(2).any(0).nonzero().float().mean()
    middle = (tissues == HeadTissue.DEEP_GREY).any(2).any(0).nonzero().float().mean()
    return 1 if float(middle) > float(behind) else -1


def _split_plexus(tissues: Tensor, ahead: int) -> None:
    """Keep plexus behind the thalamus' front and off the midline; elsewhere these labels hold septum and fornix."""
    deep = tissues == HeadTissue.DEEP_GREY
    front = deep.any(2).any(0).nonzero().float().mean()
    middle = deep.any(1).any(0).nonzero().float().mean()
    rows = torch.arange(tissues.shape[1], device=tissues.device)[None, :, None]
    columns = torch.arange(tissues.shape[2], device=tissues.device)[None, None, :]
    septum = ((rows - front) * ahead > 2) | ((columns - middle).abs() < 5)
    tissues[(tissues == HeadTissue.PLEXUS) & septum] = HeadTissue.WHITE


def _add_lenses(tissues: Tensor, ahead: int) -> None:
    """Put a lens behind the front of each eyeball."""
    eyes = tissues == HeadTissue.EYE
    middle = tissues.shape[2] // 2
    for side in (slice(0, middle), slice(middle, None)):
        inside = eyes[:, :, side].nonzero().float()
        if len(inside) < 500:
            continue
        centre = inside.mean(0)
        centre[1] += ahead * 8.0
        lens = ((inside - centre) / torch.tensor([4.5, 2.2, 4.5], device=inside.device)).norm(dim=1) < 1
        i, j, k = inside[lens].long().unbind(1)
        tissues[:, :, side][i, j, k] = HeadTissue.LENS


def anatomy_of(labels: Tensor, tissues: Tensor, *, white: float) -> Anatomy:
    """Return the masks of a label map and its tissue map, both (i, j, k) on a 1 mm grid."""
    inner = is_any(tissues, (*BRAIN_TISSUES, HeadTissue.PLEXUS)) & (labels != 512)
    ventricles = is_any(labels, VENTRICLES)
    near = nearness(inner | ventricles, 3.0) > 0.3
    around = is_any(tissues, (HeadTissue.FLUID, HeadTissue.DURA, HeadTissue.VEIN))
    grey = blur((tissues == HeadTissue.CORTEX).float(), 1.5)
    return Anatomy(
        brain=inner | ventricles | (near & around),
        tissue=inner & ~ventricles,
        junction=(tissues == HeadTissue.WHITE) & (grey > 0.2) & ~ventricles,
        infratentorial=is_any(labels, INFRATENTORIAL),
        ventricles=ventricles,
        white=white,
    )
