"""How far reported courses are from true ones: mean absolute errors of volumes, counts and their changes.

A change is always taken within one course, from its own earlier visit to its own later one; to subtract one course's
earlier value from both would hide every error in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracking.visit import Visit, in_order


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteErrors:
    """Means over visits (values) and over pairs of consecutive visits (changes; None with a single visit).

    Attributes
    ----------
    total_volume_mm3, total_volume_change_mm3
        Of all lesions together.
    tumour_volume_mm3, tumour_volume_change_mm3
        Of each lesion: all that one of the two courses ever has, 0 where it is not seen. None without a lesion.
    count, count_change
        Of the number of lesions.
    """

    total_volume_mm3: float
    total_volume_change_mm3: float | None
    tumour_volume_mm3: float | None
    tumour_volume_change_mm3: float | None
    count: float
    count_change: float | None


def mean_absolute_errors(
    reported: Sequence[Visit], true: Sequence[Visit], same: Mapping[str, str] | None = None
) -> MeanAbsoluteErrors:
    """Compare what was reported of a patient with the truth.

    Parameters
    ----------
    reported, true
        Visits on the same days.
    same
        By tracking UID of the report, that of the true lesion; what is not named is its own. None: the UIDs agree.

    Raises
    ------
    ValueError
        If the two do not have the same days, or there is none.
    """
    ours, truth = in_order(reported), in_order(true)
    if [visit.day for visit in ours] != [visit.day for visit in truth] or not truth:
        raise ValueError(
            f"{len(ours)} reported visits are to be compared with {len(truth)} true ones; give at least one, and both"
            " on the same days."
        )
    total = _errors([[visit.total_volume_mm3] for visit in ours], [[visit.total_volume_mm3] for visit in truth])
    count = _errors([[len(visit.present)] for visit in ours], [[len(visit.present)] for visit in truth])
    tumour = _errors(*_tumour_volumes(ours, truth, same or {}))
    return MeanAbsoluteErrors(
        total_volume_mm3=total.value or 0.0,
        total_volume_change_mm3=total.change,
        tumour_volume_mm3=tumour.value,
        tumour_volume_change_mm3=tumour.change,
        count=count.value or 0.0,
        count_change=count.change,
    )


@dataclass(frozen=True, kw_only=True)
class _Errors:
    value: float | None
    change: float | None


def _errors(reported: Sequence[Sequence[float]], true: Sequence[Sequence[float]]) -> _Errors:
    """Return the mean absolute errors of a table (visit, quantity) and of its changes from visit to visit."""
    ours, truth = np.array(reported, float), np.array(true, float)
    return _Errors(value=_mean(ours - truth), change=_mean(np.diff(ours, axis=0) - np.diff(truth, axis=0)))


def _mean(errors: NDArray[np.float64]) -> float | None:
    return float(np.abs(errors).mean()) if errors.size else None


def _tumour_volumes(
    ours: Sequence[Visit], truth: Sequence[Visit], same: Mapping[str, str]
) -> tuple[list[list[float]], list[list[float]]]:
    """Return two tables (visit, lesion) of volumes, with a column for every lesion of either course."""
    reported = [_by_name(visit, same) for visit in ours]
    true = [_by_name(visit, {}) for visit in truth]
    names = sorted({name for volumes in (*reported, *true) for name in volumes})
    return (
        [[volumes.get(name, 0.0) for name in names] for volumes in reported],
        [[volumes.get(name, 0.0) for name in names] for volumes in true],
    )


def _by_name(visit: Visit, same: Mapping[str, str]) -> dict[str, float]:
    volumes: dict[str, float] = {}
    for lesion in visit.present:
        name = same.get(lesion.tracking_uid, lesion.tracking_uid)
        volumes[name] = volumes.get(name, 0.0) + lesion.volume_mm3  # two parts of one true lesion
    return volumes
