"""What every later step needs of a lesion: its centre, volume per tissue, and the two axes of RANO-BM."""

from highdicom import Volume

from tracking.lesion import Lesion
from tracking.measurement.diameters import in_plane_axes
from tracking.measurement.label_map import LabelledBox, check_labels, labelled_boxes, same_grid
from tracking.measurement.tissues import split_edema
from tracking.timepoint import Tissue


def measure_lesions(
    labels: Volume, probability: Volume | None = None, *, tissues: Volume | None = None
) -> tuple[Lesion, ...]:
    """Measure every lesion of a label volume in its native space.

    Parameters
    ----------
    labels
        Integers, index order (i, j, k) with i the image plane: 0 background, n the lesion with number n.
    probability
        Probability of lesion on the same grid, 0 to 1.
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
    for other, name in ((probability, "Probabilities"), (tissues, "Tissues")):
        if other is not None:
            same_grid(other, labels, name)
    edema_mm3 = split_edema(labels, tissues).volume_mm3 if tissues is not None else {}
    return tuple(
        _measure(labels, part, probability, tissues, edema_mm3.get(part.number, 0.0)) for part in labelled_boxes(labels)
    )


def _measure(
    labels: Volume, part: LabelledBox, probability: Volume | None, tissues: Volume | None, edema_mm3: float
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
        mean_probability=None
        if probability is None
        else float(probability.array[part.box][part.mask].mean(dtype="float64")),
    )
