"""UIDs are derived, never drawn: the same input with the same model gives the same UIDs, so a re-send is harmless."""

import re
import uuid

from pydicom.uid import RE_VALID_UID

_NAMESPACE = uuid.UUID("6f3b8f0e-52c4-5d0a-9a57-0f2f3c1f7b11")  # this project's; another one would change every UID


def derive_uid(*parts: str) -> str:
    """Return the UID that belongs to these words, under the root for UUIDs (PS3.5 B.2).

    Parameters
    ----------
    *parts
        What identifies the thing, for example ``"SEG"``, the study UID and the model's checksum. Order and
        boundaries count: ``("a", "bc")`` and ``("ab", "c")`` are two things.

    Returns
    -------
    str
        ``"2.25."`` and the decimal value of a name-based UUID; at most 44 characters.

    Raises
    ------
    ValueError
        Without any part, or with an empty one: such a UID would stand for too much.
    """
    if not parts or not all(parts):
        raise ValueError(f"A UID is derived from one or more non-empty words, but these were given: {parts!r}.")
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


def is_uid(text: str) -> bool:
    """Tell whether ``text`` is a well-formed UID of at most 64 characters (PS3.5 9.1)."""
    return len(text) <= 64 and re.fullmatch(RE_VALID_UID, text) is not None
