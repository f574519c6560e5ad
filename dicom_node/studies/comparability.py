"""How well two studies compare: what both headers say is always told, and every difference that matters by itself."""

from dicom_node.studies.physics import Contrast, SequenceFamily, SeriesPhysics

THICKNESS_RATIO = 1.25
FIELD_DIFFERENCE_T = 0.3
IN_PLANE_RATIO = 1.5
NOT_STATED = "not stated"


def compare_acquisitions(current: SeriesPhysics, prior: SeriesPhysics) -> tuple[str, ...]:
    """Compare the T1c series of two studies.

    Parameters
    ----------
    current, prior
        How the two series were acquired.

    Returns
    -------
    tuple of str
        What both headers say, then one sentence per difference that matters for volumes.
    """
    sentences = [
        _ratio("slice thickness", current.slice_thickness_mm, prior.slice_thickness_mm, THICKNESS_RATIO),
        _ratio("slice spacing", current.slice_spacing_mm, prior.slice_spacing_mm, THICKNESS_RATIO),
        _ratio("in-plane pixel spacing", current.pixel_spacing_mm, prior.pixel_spacing_mm, IN_PLANE_RATIO),
        _field_strength(current.field_strength_t, prior.field_strength_t),
        _family(current.family, prior.family),
        _orientation(current.orientation, prior.orientation),
        _contrast(current.contrast, prior.contrast),
    ]
    return (_both(current, prior), *(sentence for sentence in sentences if sentence))


def _both(current: SeriesPhysics, prior: SeriesPhysics) -> str:
    """Put the two acquisitions side by side; a value that a header lacks is named as such."""
    pairs = {
        "slice thickness": (_mm(current.slice_thickness_mm), _mm(prior.slice_thickness_mm)),
        "slice spacing": (_mm(current.slice_spacing_mm), _mm(prior.slice_spacing_mm)),
        "pixel spacing": (_mm(current.pixel_spacing_mm), _mm(prior.pixel_spacing_mm)),
        "field strength": (_tesla(current.field_strength_t), _tesla(prior.field_strength_t)),
        "sequence": (str(current.family), str(prior.family)),
        "slices": (current.orientation or NOT_STATED, prior.orientation or NOT_STATED),
        "contrast agent": (str(current.contrast), str(prior.contrast)),
    }
    told = "; ".join(f"{name} {now if now == then else f'{now} / {then}'}" for name, (now, then) in pairs.items())
    return f"Acquired now / in the prior study: {told}."


def _mm(value: float | None) -> str:
    return NOT_STATED if not value else f"{value:.3g} mm"


def _tesla(value: float | None) -> str:
    return NOT_STATED if value is None else f"{value:.3g} T"


def _ratio(what: str, current: float | None, prior: float | None, limit: float) -> str:
    if not current or not prior:
        return ""
    if max(current / prior, prior / current) <= limit:
        return ""
    return f"The {what} differs: {current:.3g} mm now, {prior:.3g} mm in the prior study; volumes compare less exactly."


def _field_strength(current: float | None, prior: float | None) -> str:
    if current is None or prior is None or abs(current - prior) < FIELD_DIFFERENCE_T:
        return ""
    return f"The field strength differs: {current:.3g} T now, {prior:.3g} T in the prior study."


def _family(current: SequenceFamily, prior: SequenceFamily) -> str:
    if current is prior:
        if current is SequenceFamily.UNKNOWN:
            return "The headers of both studies do not tell the sequence family."
        return ""
    if SequenceFamily.UNKNOWN in (current, prior):
        where = "this study" if current is SequenceFamily.UNKNOWN else "the prior study"
        return f"The header of {where} does not tell the sequence family; it may differ."
    return f"The sequence family differs: {current} now, {prior} in the prior study."


def _orientation(current: str, prior: str) -> str:
    if not current or not prior or current == prior:
        return ""
    return f"The slices are {current} now and {prior} in the prior study."


def _contrast(current: Contrast, prior: Contrast) -> str:
    unknown = [name for name, one in (("this study", current), ("the prior study", prior)) if one is Contrast.UNKNOWN]
    if not unknown:
        return "" if current is prior else f"Contrast agent was {current} now and {prior} in the prior study."
    return f"It is not certain whether contrast agent was given in {' and in '.join(unknown)}."
