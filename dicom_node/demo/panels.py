"""Each lesion beside itself: the same place in the prior and the current study, at the same scale and window."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from highdicom import Volume

from dicom_node.demo.alignment import Alignment
from dicom_node.demo.followup import Row, StudyResult
from dicom_node.demo.pictures import (
    Outline,
    Slice,
    Window,
    outlines,
    place_in_slice,
    slice_index_at,
    slice_picture,
    window_of,
)
from dicom_node.results.findings import Point
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence

ZOOM_MM = 44.0


@dataclass(frozen=True, kw_only=True)
class ColouredOutline:
    """An outline and the colour of its lesion; ``true`` for the truth's outline."""

    outline: Outline
    colour: str
    true: bool


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One place in one study.

    Attributes
    ----------
    study_date
        ISO date, for the caption.
    slice_id
        Name of the picture in `Album.slices`.
    centre_mm
        Place in the slice: right and down from its top left corner.
    outlines
        Of this lesion and of its neighbours in the slice.
    aligned
        The place was carried over from another study, since nothing is known at it in this one.
    """

    study_date: str
    slice_id: str
    centre_mm: tuple[float, float]
    outlines: tuple[ColouredOutline, ...]
    aligned: bool


@dataclass(frozen=True, kw_only=True)
class LesionPanels:
    """A row of the table with its pictures, one per study; none where no study knows its place."""

    row: Row
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Album:
    """All pictures of a report; a slice that shows several lesions is stored once."""

    lesions: tuple[LesionPanels, ...]
    slices: dict[str, Slice]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Study:
    """A study prepared for drawing."""

    number: int
    result: StudyResult
    image: Volume
    found: Volume | None
    window: Window


def album_of(results: Sequence[StudyResult]) -> Album:
    """Draw every line of the last study's table in all studies, on the T1c."""
    studies = [_prepare(number, result) for number, result in enumerate(results)]
    slices: dict[str, Slice] = {}
    align = cache(lambda source, target: Alignment(studies[source].image, studies[target].image))
    lesions = tuple(
        LesionPanels(row=row, panels=tuple(_panels(row, studies, align, slices))) for row in results[-1].rows
    )
    return Album(lesions=lesions, slices=slices)


def _panels(
    row: Row, studies: Sequence[_Study], align: Callable[[int, int], Alignment], slices: dict[str, Slice]
) -> Iterator[Panel]:
    places = {study.number: place for study in studies if (place := _place(row, study.result)) is not None}
    if not places:
        return
    latest = max(places)
    for study in studies:
        if study.number in places:
            yield _panel(study, places[study.number], slices, aligned=False)
        else:
            moved = align(latest, study.number).to_target(places[latest])
            yield _panel(study, moved, slices, aligned=True)


def _prepare(number: int, result: StudyResult) -> _Study:
    image = result.truth.images[MRSequence.T1C]
    labels = result.findings.labels
    found = resample_like(labels, image, interpolation="nearest") if labels is not None else None
    return _Study(number=number, result=result, image=image, found=found, window=window_of(image))


def _panel(study: _Study, place: Point, slices: dict[str, Slice], *, aligned: bool) -> Panel:
    index = slice_index_at(study.image, place)
    slice_id = f"study{study.number}-slice{index}"
    if slice_id not in slices:
        slices[slice_id] = slice_picture(study.image, index, study.window)
    return Panel(
        study_date=study.result.truth.study_date.isoformat(),
        slice_id=slice_id,
        centre_mm=place_in_slice(study.image, place),
        outlines=_outlines(study, index),
        aligned=aligned,
    )


def _place(row: Row, result: StudyResult) -> Point | None:
    """Return where the lesion of this row is, or was, in a study: by its finding, else by the truth."""
    finding = result.findings.by_uid(row.finding.tracking_uid) if row.finding else None
    if finding and finding.centroid_mm is not None:
        return finding.centroid_mm
    true = [lesion.centroid_mm for lesion in result.truth.lesions if set(lesion.names) & set(row.names)]
    if not true:
        return None
    x, y, z = np.mean(true, axis=0)
    return float(x), float(y), float(z)


def _outlines(study: _Study, index: int) -> tuple[ColouredOutline, ...]:
    colours = {finding.number: finding.colour for finding in study.result.findings.segmented}
    found = outlines(study.found, index, list(colours)) if study.found is not None else ()
    numbers = [lesion.number for lesion in study.result.truth.lesions]
    true = outlines(study.result.truth.labels, index, numbers)
    return (
        *(ColouredOutline(outline=line, colour=colours[line.number], true=False) for line in found),
        *(ColouredOutline(outline=line, colour="#ffffff", true=True) for line in true),
    )
