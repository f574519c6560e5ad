"""Where the parts of a patient's brain lie: the shipped label map, carried to the T1c by registration.

The map is painted as a T1c would show it and laid over the patient's brain: scaled along its axes by the two brain
masks, turned and shifted, then bent a little. That is exact enough for words, never for volumes: one person's furrows
are not another's. What is said of a place is only what other heads than the map's were found to bear out
(`benchmarks.places`).
"""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from highdicom import Volume
from numpy.typing import ArrayLike, NDArray

from inference.threads import torch_threads
from tracking.measurement import Place, Side
from tracking.measurement.anatomy import PLACES
from tracking.registration.engine import RegistrationError
from tracking.registration.greedy import GreedyEngine
from tracking.registration.preparation import Head, centre_of_mass_mm, coarser, crop_to_brain, image_pair, prepare
from tracking.registration.quality import Quality, assess
from tracking.registration.steps import MAXIMUM_ROTATION_DEG, TAPER_MM
from tracking.registration.transform import Transform
from tracking.timepoint import MRSequence, Timepoint

FloatArray = NDArray[np.floating]
Heads = tuple[Head, Head]  # the patient's, the map's

SPACING_MM = 3.0
RIGID_SPACING_MM = 4.0
BELOW_BRAIN_MM = 15
SCALE_LIMITS = (0.6, 1.6)
ENGINE = GreedyEngine(rigid_iterations="100x100x50", deformable_iterations="40x20", smoothing="2.5vox 1vox")
MAP_TO_LPS = np.array([(0.0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1)])  # the map counts (S, P, L)

# Before bending, brains that lie right overlap with a Dice of 0.92 or more, others (the wrong way round, half a head)
# with 0.88 or less: seven generated heads, whole, cut and turned in 82 ways, and 61 real ones, of which one of 0.898
# is lost. Two people differ more than two studies of one, so volumes may change more than in
# `tracking.registration.steps`; only folds are refused.
MINIMUM_BRAIN_DICE = 0.9
JACOBIAN_LIMITS = (0.1, 10.0)

NEAR_MIDLINE_MM = 5.0
SURE_SHARE = 0.7
HEMISPHERE, CEREBELLUM, POSTERIOR_FOSSA = "cerebral hemisphere", "cerebellum", "posterior fossa"
NEAR_MIDLINE = "near the midline"
COARSE = {
    "cerebral white matter": HEMISPHERE,
    "cerebral cortex": HEMISPHERE,
    "lateral ventricle": HEMISPHERE,
    "cerebellar white matter": CEREBELLUM,
    "cerebellar cortex": CEREBELLUM,
    "fourth ventricle": POSTERIOR_FOSSA,  # a carried one is right one time in five
}


@dataclass(frozen=True, kw_only=True, eq=False)
class CarriedAtlas:
    """The label map in a patient's space, or why there is none.

    Attributes
    ----------
    labels
        int16 SynthSeg labels on the grid of the T1c, 0 away from the brain; None if the map does not lie well enough
        on the brain to name places by.
    quality
        How well it lies; None if the engine failed.
    remark
        One sentence for the radiologist where there are no labels, else empty.
    """

    labels: Volume | None
    quality: Quality | None
    remark: str = ""


def atlas_for(study: Timepoint, *, threads: int = 1) -> CarriedAtlas:
    """Carry the shipped label map to a study's T1c.

    Parameters
    ----------
    study
        With T1c and brain mask; lesions take no part in the comparison if they are known.
    threads
        Processor threads.

    Raises
    ------
    ValueError
        If the study has no brain mask, or an image with values that are not finite.
    """
    fixed = prepare(study, SPACING_MM)
    labels, template = _template(threads)
    moving = prepare(template, SPACING_MM)
    try:
        linear = _linear(fixed, moving, threads)
        quality = assess(fixed, moving, linear)
        if complaint := _complaint(quality):
            return CarriedAtlas(labels=None, quality=quality, remark=_remark(complaint))
        transform, quality = _bent((fixed, moving), linear, quality, threads=threads) or (linear, quality)
    except RegistrationError as error:
        return CarriedAtlas(labels=None, quality=None, remark=_remark(str(error)))
    return CarriedAtlas(labels=_carried(labels, study, transform), quality=quality)


def place_in_words(place: Place, centre_mm: ArrayLike, labels: Volume) -> Place:
    """Return as much of a place as a carried atlas can tell.

    Grey and white matter and the lateral ventricles become the hemisphere, or the cerebellum: which of them a lesion
    lies in is right three times in four only. A deep nucleus is named if most of the lesion lies in it. The side is
    left open near the midline.

    Parameters
    ----------
    place
        By `tracking.measurement.locate` with these labels.
    centre_mm
        Centre of the lesion, (3,), LPS mm.
    labels
        The carried atlas.
    """
    if place.region is None:
        return place
    region = COARSE.get(place.region, place.region)
    if place.side is Side.MIDLINE:
        return replace(place, region=region)
    if region not in COARSE.values() and place.share < SURE_SHARE:
        region = HEMISPHERE
    if {Side.LEFT, Side.RIGHT} <= _sides_near(centre_mm, labels):
        return replace(place, side=Side.MIDLINE, region=f"{region} {NEAR_MIDLINE}")
    return replace(place, region=region)


def _sides_near(centre_mm: ArrayLike, labels: Volume) -> set[Side | None]:
    """Return the sides of the labels within 5 mm of a point."""
    middle = _mapped(np.asarray(centre_mm, float), labels.inverse_affine)
    reach = NEAR_MIDLINE_MM / np.asarray(labels.spacing)
    low = np.clip(np.floor(middle - reach), 0, labels.spatial_shape).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, low, labels.spatial_shape).astype(int)
    index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    near = index[np.linalg.norm((index - middle) * labels.spacing, axis=1) <= NEAR_MIDLINE_MM]
    return {PLACES[int(label)].side for label in np.unique(labels.array[tuple(near.T)]) if int(label) in PLACES}


def _template(threads: int) -> tuple[Volume, Timepoint]:
    """Return the shipped labels, and the head that they are painted as."""
    import torch  # late: torch takes seconds to load, and so does what needs it

    from inference.synthesis.contrast import TIMINGS, brightness
    from inference.synthesis.tissues import LARGEST_LABEL, SYNTHSEG, anatomy_of, crop_to_head, load_label_map

    with torch_threads(threads):
        labels = crop_to_head(load_label_map(), below_brain_mm=BELOW_BRAIN_MM)
        table = torch.zeros(LARGEST_LABEL + 1, dtype=torch.uint8)
        for tissue, values in SYNTHSEG.items():
            table[list(values)] = int(tissue)
        tissues = table[labels.long()]
        image = brightness(TIMINGS[MRSequence.T1C])[tissues.long()]
        brain = anatomy_of(labels, tissues, white=1.0).brain
    volumes = [Volume(tensor.contiguous().numpy(), MAP_TO_LPS, "PATIENT") for tensor in (labels, image, brain)]
    study = Timepoint(
        study_uid="of the shipped label map",
        study_date=date.min,
        images={MRSequence.T1C: volumes[1]},
        brain=volumes[2],
    )
    return volumes[0], study


def _linear(fixed: Head, moving: Head, threads: int) -> Transform:
    """Find the rigid motion from fixed to moving and the scale of each of the map's axes.

    The map takes the patient's size before it is turned: brains of one size find each other from further away.
    """
    start = np.eye(4)
    start[:3, 3] = centre_of_mass_mm(moving.brain) - centre_of_mass_mm(fixed.brain)
    scales = _axis_scales(fixed, moving, start)
    alike = _with_map(moving, np.linalg.inv(scales))
    pair = image_pair(
        coarser(fixed, RIGID_SPACING_MM),
        coarser(alike, RIGID_SPACING_MM),
        Transform(matrix=start),
        without_lesions=True,
    )
    matrix = scales @ start @ ENGINE.rigid(pair, threads=threads)
    return Transform(matrix=_axis_scales(fixed, moving, matrix) @ matrix)


def _axis_scales(fixed: Head, moving: Head, matrix: FloatArray) -> FloatArray:
    """Return the scales that make the brains equally wide along the map's axes, as far as the T1c reaches.

    Raises
    ------
    RegistrationError
        If the map's brain lies outside the T1c.
    """
    points = _brain_points_mm(moving)
    index = _mapped(_mapped(points, np.linalg.inv(matrix)), fixed.image.inverse_affine)
    seen = points[((index > -0.5) & (index < np.asarray(fixed.image.spatial_shape) - 0.5)).all(axis=1)]
    if not len(seen):
        raise RegistrationError("the two brains do not overlap")
    own = _mapped(_brain_points_mm(fixed), matrix)
    scale = np.clip(seen.std(axis=0) / np.maximum(own.std(axis=0), 1e-3), *SCALE_LIMITS)
    scales = np.eye(4)
    scales[:3, :3] = np.diag(scale)
    scales[:3, 3] = seen.mean(axis=0) - scale * own.mean(axis=0)
    return scales


def _brain_points_mm(head: Head) -> FloatArray:
    return _mapped(np.argwhere(head.brain.array).astype(float), head.brain.affine)


def _mapped(points: FloatArray, affine: FloatArray) -> FloatArray:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def _with_map(head: Head, matrix: FloatArray) -> Head:
    """Return a head with a linear map of its space written into its headers."""
    image, brain, lesions = (
        Volume(volume.array, matrix @ volume.affine, "PATIENT") for volume in (head.image, head.brain, head.lesions)
    )
    return Head(image=image, brain=brain, lesions=lesions)


def _complaint(quality: Quality) -> str:
    """Say what is wrong with the linear step; empty if nothing is."""
    if quality.brain_dice < MINIMUM_BRAIN_DICE:
        return f"the brains overlap with a Dice of {quality.brain_dice:.3f}, less than {MINIMUM_BRAIN_DICE}"
    if quality.rotation_deg > MAXIMUM_ROTATION_DEG:
        return f"it would have to be turned by {quality.rotation_deg:.0f} degrees"
    return ""


def _bent(heads: Heads, linear: Transform, before: Quality, *, threads: int) -> tuple[Transform, Quality] | None:
    """Bend the linear step; None if that folds or makes it worse. The linear step alone still names most places."""
    fixed, moving = heads
    near = Head(
        image=linear.warp(moving.image, fixed.image),
        brain=linear.warp(moving.brain, fixed.brain, interpolation="nearest"),
        lesions=linear.warp(moving.lesions, fixed.lesions, interpolation="nearest"),
    )
    pair = image_pair(fixed, near, Transform(matrix=np.eye(4)), without_lesions=True)
    bent = replace(linear, displacement=ENGINE.deformable(pair, threads=threads).tapered(TAPER_MM))
    quality = assess(fixed, moving, bent)
    folded = quality.jacobian[0] < JACOBIAN_LIMITS[0] or quality.jacobian[1] > JACOBIAN_LIMITS[1]
    worse = quality.brain_dice < MINIMUM_BRAIN_DICE or quality.correlation < before.correlation
    return None if folded or worse else (bent, quality)


def _carried(labels: Volume, study: Timepoint, transform: Transform) -> Volume:
    """Return the label map on the grid of the T1c; only the box of the brain is sampled."""
    t1c, brain = study.images[MRSequence.T1C], study.brain
    box = t1c if brain is None else crop_to_brain(t1c, brain)
    return transform.warp(labels, box, interpolation="nearest").match_geometry(t1c)


def _remark(reason: str) -> str:
    return f"Where in the brain lesions lie is not said: the atlas does not fit the T1c ({reason})."
