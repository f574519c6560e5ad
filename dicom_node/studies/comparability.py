"""How well two studies compare: every difference of acquisition that changes how large a lesion looks is told."""

from dicom_node.studies.physics import Contrast, SequenceFamily, SeriesPhysics

THICKNESS_RATIO = 1.25
FIELD_DIFFERENCE_T = 0.3
IN_PLANE_RATIO = 1.5


def compare_acquisitions(current: SeriesPhysics, prior: SeriesPhysics) -> tuple[str, ...]:
    """Compare the T1c series of two studies.

    Parameters
    ----------
    current, prior
        How the two series were acquired.

    Returns
    -------
    tuple of str
        One sentence per difference that matters for volumes; empty when the two compare well.
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
    return tuple(sentence for sentence in sentences if sentence)


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
