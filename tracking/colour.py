"""A lesion's colour follows from its tracking identifier alone, so it is the same in every image, curve and study."""

import colorsys
import zlib

from tracking.identity import lesion_number

GOLDEN_RATIO = (5**0.5 - 1) / 2  # of the colour circle from one lesion to the next: neighbours in number differ most
SATURATIONS, VALUES = (0.95, 0.72, 0.85), (0.95, 0.85, 1.0)


def lesion_colour_rgb(tracking_id: str) -> tuple[int, int, int]:
    """Return the colour of a lesion (red, green, blue; 0 to 255): bright, and the same at every date.

    Parameters
    ----------
    tracking_id
        ``L1``, ``L2`` and on have colours as far apart as can be; a name of another form has any.
    """
    number = lesion_number(tracking_id)
    if number is None:
        number = zlib.crc32(tracking_id.encode())
    kind = number % len(VALUES)
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN_RATIO % 1, SATURATIONS[kind], VALUES[kind])
    return round(255 * red), round(255 * green), round(255 * blue)
