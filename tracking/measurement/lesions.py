"""What every later step needs of a lesion: its centre, volume per tissue, and the two axes of RANO-BM."""

from collections.abc import Mapping

from highdicom import Volume

from tracking.lesion import Lesion
from tracking.measurement.diameters import in_plane_axes
from tracking.measurement.label_map import LabelledBox, check_labels, labelled_boxes, same_grid
from tracking.measurement.tissues import split_edema
from tracking.timepoint import Tissue


def measure_lesions(
    labels: Volume, confidence: Mapping[int, float] | None = None, *, tissues: Volume | None = None
) -> tuple[Lesion, ...]:
    """Measure every lesion of a label volume in its native space.

    Parameters
    ----------
    labels
        Integers, index order (i, j, k) with i the image plane: 0 background, n the lesion with number n.
    confidence
        How sure the model is of lesions, 0 to 1, by their numbers; None: of none, as no model found them.
    tissues
        `Tissue` values on the same grid. Inside a lesion a voxel is necrosis where they say so, else enhancing; edema
        outside is given to the nearest lesion of its component (see `split_edema`). Without them the whole lesion
        counts as `Tissue.ENHANCING`, and necrosis and edema are missing: not known, rather than none.

    Returns
    -------
    tuple of Lesion
        In order of their numbers; numbers without a voxel are left out.

    Raises
    ------
    ValueError
        If the labels are not integers, or the other volumes lie on another grid.
    """
    check_labels(labels)
    if tissues is not None:
        same_grid(tissues, labels, "Tissues")
    edema_mm3 = split_edema(labels, tissues).volume_mm3 if tissues is not None else {}
    return tuple(
        _measure(labels, part, confidence, tissues, edema_mm3.get(part.number, 0.0)) for part in labelled_boxes(labels)
    )


def _measure(
    labels: Volume,
    part: LabelledBox,
    confidence: Mapping[int, float] | None,
    tissues: Volume | None,
    edema_mm3: float,
) -> Lesion:
    longest, perpendicular = in_plane_axes(part.mask, part.corner, labels.affine)
    volume_mm3 = {Tissue.ENHANCING: float(part.mask.sum() * labels.voxel_volume)}
    if tissues is not None:
        necrosis_mm3 = float((tissues.array[part.box][part.mask] == Tissue.NECROSIS).sum() * labels.voxel_volume)
        volume_mm3[Tissue.ENHANCING] -= necrosis_mm3
        volume_mm3 |= {Tissue.NECROSIS: necrosis_mm3, Tissue.EDEMA: edema_mm3}
    return Lesion(
        number=part.number,
        centroid_mm=part.centroid_mm,
        volume_mm3=volume_mm3,
        longest_diameter=longest,
        perpendicular_diameter=perpendicular,
        confidence=None if confidence is None else confidence.get(part.number),
    )
