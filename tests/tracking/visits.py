"""Visits written by hand: lesions as cubes of one number, dates as days since the first visit."""

from datetime import date, timedelta

from tracking.visit import Presence, Sighting, Visit

FIRST_DAY = date(2024, 1, 1)


def sighting(name: str, longest_mm: float | None, **changes: object) -> Sighting:
    """A round lesion with this diameter; 0 is absent, None not shown."""
    size: dict[str, object] = {"presence": Presence.NOT_SHOWN if longest_mm is None else Presence.ABSENT}
    if longest_mm:
        size = {
            "longest_diameter_mm": longest_mm,
            "perpendicular_diameter_mm": longest_mm,
            "volume_mm3": 0.5 * longest_mm**3,
            "slice_count": 5,
            "plane_count": 3,
        }
    known = {"tracking_uid": f"2.25.{name}", "tracking_id": name}
    return Sighting(**(known | size | changes))  # type: ignore[arg-type]  # names of fields


def merged(name: str, host: str) -> Sighting:
    return sighting(name, 0, presence=Presence.MERGED, merged_into=f"2.25.{host}")


def visit(day: int, *sightings: Sighting, slice_spacing_mm: float = 1.0, inadequate: tuple[str, ...] = ()) -> Visit:
    return Visit(
        day=FIRST_DAY + timedelta(days=day),
        slice_spacing_mm=slice_spacing_mm,
        sightings=sightings,
        inadequate=inadequate,
    )


def sizes(day: int, *, slice_spacing_mm: float = 1.0, **longest_mm: float | None) -> Visit:
    """A visit of round lesions by name."""
    return visit(day, *(sighting(*item) for item in longest_mm.items()), slice_spacing_mm=slice_spacing_mm)
