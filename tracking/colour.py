"""A lesion's colour follows from its tracking UID alone, so it is the same in every image, curve and study."""

import colorsys
import hashlib


def lesion_colour_rgb(tracking_uid: str) -> tuple[int, int, int]:
    """Return the colour of a lesion (red, green, blue; 0 to 255): bright, and the same at every date."""
    digest = hashlib.sha256(tracking_uid.encode("ascii")).digest()
    hue = int.from_bytes(digest[:4], "big") / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75 + digest[4] / 1020, 0.8 + digest[5] / 1275)
    return round(255 * red), round(255 * green), round(255 * blue)
