"""Where in the brain a lesion lies, in words, by the majority of its voxels on a label map with SynthSeg's numbers.

The label map is passed in: a template's, carried along by registration, or one made for the patient. Without it the
place is not known, and is said so. The labels know lobes not at all, and cortex from white matter only as well as
the map fits, so a place also tells how large a part of the lesion agrees with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from tracking.measurement.label_map import FloatArray

REACH_MM = 5.0  # how far beside labelled brain a lesion may lie and still be named after it


class Side(StrEnum):
    """Side of the patient."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a lesion.

    Attributes
    ----------
    side, region
        None when not known. Brain stem and the middle ventricles have no side.
    infratentorial
        Cerebellum, brain stem or fourth ventricle; None when not known.
    share
        Part of the lesion's labelled voxels that lie in this region, 0 to 1.
    """

    side: Side | None = None
    region: str | None = None
    infratentorial: bool | None = None
    share: float = 0.0

    def __str__(self) -> str:
        if self.region is None:
            return "not known"
        return self.region if self.side in (None, Side.MIDLINE) else f"{self.side} {self.region}"


NOT_KNOWN = Place()

# Numbers as in FreeSurfer's colour table, which SynthSeg keeps: (left, right).
PAIRED: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "cerebral white matter": ((2, 25), (41, 57)),
    "cerebral cortex": ((3,), (42,)),
    "lateral ventricle": ((4, 5, 136, 137), (43, 44, 163, 164)),
    "cerebellar white matter": ((7,), (46,)),
    "cerebellar cortex": ((8,), (47,)),
    "thalamus": ((10,), (49,)),
    "caudate nucleus": ((11,), (50,)),
    "putamen": ((12,), (51,)),
    "pallidum": ((13,), (52,)),
    "hippocampus": ((17,), (53,)),
    "amygdala": ((18,), (54,)),
    "nucleus accumbens": ((26,), (58,)),
    "ventral diencephalon": ((28,), (60,)),
}
MIDLINE: Mapping[str, tuple[int, ...]] = {
    "third ventricle": (14,),
    "fourth ventricle": (15,),
    "brain stem": (16,),
    "septum pellucidum": (72,),
    "optic chiasm": (85,),
}
INFRATENTORIAL = frozenset({"cerebellar white matter", "cerebellar cortex", "brain stem", "fourth ventricle"})


def _places_by_label() -> dict[int, Place]:
    named = [(label, Side.MIDLINE, region) for region, labels in MIDLINE.items() for label in labels]
    for region, sides in PAIRED.items():
        for side, labels in zip((Side.LEFT, Side.RIGHT), sides, strict=True):
            named += [(label, side, region) for label in labels]
    return {
        label: Place(side=side, region=region, infratentorial=region in INFRATENTORIAL, share=1.0)
        for label, side, region in named
    }


PLACES = _places_by_label()


def locate(points_mm: FloatArray, atlas: Volume | None) -> Place:
    """Name the place of a lesion.

    Parameters
    ----------
    points_mm
        Centres of its voxels, (n, 3), LPS mm.
    atlas
        Label map with SynthSeg's numbers in the same patient space, on any grid. None: not known.

    Returns
    -------
    Place
        The label of most of the voxels; if none of them lies in labelled brain, the label nearest to their middle,
        up to 5 mm away, with a share of 0; else not known.

    Raises
    ------
    ValueError
        If the label map does not hold integers.
    """
    if atlas is None:
        return NOT_KNOWN
    if not np.issubdtype(atlas.array.dtype, np.integer):
        raise ValueError(f"An atlas must hold integer labels, but its type is {atlas.array.dtype}.")
    votes = _place_votes(_labels_at(atlas, points_mm))
    if votes:
        place, count = max(votes.items(), key=lambda vote: vote[1])
        return Place(
            side=place.side,
            region=place.region,
            infratentorial=place.infratentorial,
            share=count / sum(votes.values()),
        )
    return _nearest(atlas, points_mm.mean(axis=0))


def _place_votes(labels: NDArray[np.integer]) -> dict[Place, int]:
    votes: dict[Place, int] = {}
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if int(label) in PLACES:
            votes[PLACES[int(label)]] = votes.get(PLACES[int(label)], 0) + int(count)
    return votes


def _labels_at(atlas: Volume, points_mm: FloatArray) -> NDArray[np.integer]:
    """Return the labels of the voxels that the points lie in; points outside have none."""
    index = np.rint(points_mm @ atlas.inverse_affine[:3, :3].T + atlas.inverse_affine[:3, 3]).astype(int)
    inside = ((index >= 0) & (index < atlas.spatial_shape)).all(axis=1)
    return np.asarray(atlas.array[tuple(index[inside].T)])


def _nearest(atlas: Volume, centre_mm: FloatArray) -> Place:
    """Look at all atlas voxels within reach of a point, the nearest first."""
    middle = atlas.inverse_affine[:3, :3] @ centre_mm + atlas.inverse_affine[:3, 3]
    reach = REACH_MM / np.asarray(atlas.spacing)
    low = np.clip(np.ceil(middle - reach), 0, atlas.spatial_shape).astype(int)
    high = np.clip(np.floor(middle + reach) + 1, low, atlas.spatial_shape).astype(int)
    index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    distance_mm = np.linalg.norm((index - middle) * np.asarray(atlas.spacing), axis=1)
    for place in np.argsort(distance_mm, kind="stable"):
        label = int(atlas.array[tuple(index[place])])
        if distance_mm[place] <= REACH_MM and label in PLACES:
            found = PLACES[label]
            return Place(side=found.side, region=found.region, infratentorial=found.infratentorial)
    return NOT_KNOWN
