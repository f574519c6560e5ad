"""Who a lesion is: names that follow from the study and the place alone, so that a repeated run gives them again."""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence

from tracking.lesion import Lesion, Point
from tracking.track import KnownLesion

# Any fixed value does; it must never change, or the same lesion would get another name.
NAMESPACE = uuid.UUID("6f0d5f0a-52d6-4b7e-9d0f-3f6c7b8f1c2e")
TRACKING_ID = re.compile(r"L(\d+)")


def new_tracking_uid(study_uid: str, centroid_mm: Point, *, repetition: int = 0) -> str:
    """Return the tracking UID of a lesion first seen in this study at this place.

    Parameters
    ----------
    study_uid
        Study Instance UID of the study that showed it first.
    centroid_mm
        LPS mm, used to 0.1 mm.
    repetition
        Counts lesions of one study with the same centroid (a ring around another lesion).

    Returns
    -------
    str
        ``2.25.`` and the decimal form of a name-based UUID (PS3.5 B.2), at most 44 characters.
    """
    place = ",".join(f"{coordinate + 0.0:.1f}" for coordinate in centroid_mm).replace("-0.0", "0.0")
    return f"2.25.{uuid.uuid5(NAMESPACE, f'{study_uid}|{place}|{repetition}').int}"


def baseline_identities(
    study_uid: str, lesions: Sequence[Lesion], *, taken: Iterable[str] = ()
) -> tuple[KnownLesion, ...]:
    """Name the lesions of a study in their order: ``L1``, ``L2`` and on after the highest number that is taken.

    Parameters
    ----------
    study_uid
        Study Instance UID of the study that shows the lesions first.
    lesions
        Lesions without an identity.
    taken
        Tracking identifiers that the patient's lesions already have.
    """
    numbers = _free_numbers(taken)
    places: dict[str, int] = {}
    known = []
    for lesion in lesions:
        first = new_tracking_uid(study_uid, lesion.centroid_mm)
        places[first] = places.get(first, -1) + 1
        uid = new_tracking_uid(study_uid, lesion.centroid_mm, repetition=places[first])
        known.append(
            KnownLesion(
                tracking_uid=uid,
                tracking_id=f"L{next(numbers)}",
                lesion=lesion,
                last_centroid_mm=lesion.centroid_mm,
            )
        )
    return tuple(known)


def tracking_order(tracking_id: str) -> tuple[int, str]:
    """Key that sorts ``L2`` before ``L10``, and names of other forms last."""
    number = lesion_number(tracking_id)
    return (2**63 if number is None else number, tracking_id)


def lesion_number(tracking_id: str) -> int | None:
    """Return 7 for ``L7``; None for a name of another form."""
    found = TRACKING_ID.fullmatch(tracking_id)
    return int(found[1]) if found else None


def _free_numbers(taken: Iterable[str]) -> Iterator[int]:
    number = max((lesion_number(tracking_id) or 0 for tracking_id in taken), default=0)
    while True:
        number += 1
        yield number
