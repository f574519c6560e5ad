"""How far a volume may move without any change of the lesion; the one place where measurement error is defined.

Model. The edge of a lesion lies, from one scan to the next, within a standard deviation of ``e``; for a sphere of
diameter ``d`` the natural logarithm of the volume then has ``σ = 6 e / d``. Two studies differ beyond measurement error
if ``|Δ ln V| > 1.96 √(σ₁² + σ₂²)``; with equal slices that is the usual ``2.77 σ`` (Bland and Altman).

Constants. ``e`` is 0.3 mm on 1 mm voxels, and 0.1 mm more for each mm that the slices are farther apart. That growth
was measured on re-scans of unchanged lesions with partial volume (`benchmarks/rescans.py`): a reader or network that is
0.3 mm off on 1 mm voxels is off by as much of the grey scale on thicker ones. Measured, median over lesions of 3 to
18 mm: 0.31 mm with slices of 1 mm, 0.40 with 2, 0.46 with 3, 0.73 with 5 and 0.88 with 7. With these limits at most
3.3 % of unchanged lesions are called changed, in any pair of these studies. What no limit of change can express: with
slices of 5 mm, two of three lesions of 3 mm are not seen at all.
"""

import math

EDGE_ERROR_MM = 0.3
REFERENCE_SPACING_MM = 1.0
EDGE_GROWTH = 0.1
LIMIT_95 = 1.96


def edge_error_mm(slice_spacing_mm: float) -> float:
    """Return one standard deviation of a lesion's edge between two segmentations, mm.

    Parameters
    ----------
    slice_spacing_mm
        Distance between the centres of neighbouring slices; below 1 mm counts as 1 mm.

    Raises
    ------
    ValueError
        If it is not positive.
    """
    if slice_spacing_mm <= 0:
        raise ValueError(f"Lengths must be positive, but the slice spacing is {slice_spacing_mm} mm.")
    return EDGE_ERROR_MM + EDGE_GROWTH * max(slice_spacing_mm - REFERENCE_SPACING_MM, 0.0)


def minimum_detectable_change_percent(
    diameter_mm: float, slice_spacing_mm: float, *, prior_slice_spacing_mm: float | None = None
) -> float:
    """Smallest relative increase of volume that is beyond the error of two measurements, per cent.

    Parameters
    ----------
    diameter_mm
        Diameter of the smaller of the two measurements.
    slice_spacing_mm
        Distance between slices of one study.
    prior_slice_spacing_mm
        That of the other study; None: the same.

    Returns
    -------
    float
        For example 429 (× 5.3) at 3 mm and 28 (× 1.28) at 20 mm, with slices of 1 mm.

    Raises
    ------
    ValueError
        If a length is not positive.
    """
    if diameter_mm <= 0:
        raise ValueError(f"Lengths must be positive, but the diameter is {diameter_mm} mm.")
    other_mm = slice_spacing_mm if prior_slice_spacing_mm is None else prior_slice_spacing_mm
    edge_mm = math.hypot(edge_error_mm(slice_spacing_mm), edge_error_mm(other_mm))
    return 100 * math.expm1(LIMIT_95 * 6 * edge_mm / diameter_mm)


def within_measurement_error(
    prior_mm3: float, current_mm3: float, slice_spacing_mm: float, *, prior_slice_spacing_mm: float | None = None
) -> bool:
    """Whether two volumes of a lesion differ by no more than two measurements of an unchanged lesion would.

    Parameters
    ----------
    prior_mm3, current_mm3
        Both larger than 0.
    slice_spacing_mm, prior_slice_spacing_mm
        Of the current and the prior study; with one given, both have it.
    """
    smaller_mm3, larger_mm3 = sorted((prior_mm3, current_mm3))
    limit = minimum_detectable_change_percent(
        equivalent_diameter_mm(smaller_mm3), slice_spacing_mm, prior_slice_spacing_mm=prior_slice_spacing_mm
    )
    return 100 * (larger_mm3 / smaller_mm3 - 1) <= limit


def volume_interval_mm3(volume_mm3: float, slice_spacing_mm: float) -> tuple[float, float]:
    """Return the 95 % interval of one measured volume, mm³; both ends are 0 for a volume of 0."""
    if volume_mm3 <= 0:
        return 0.0, 0.0
    factor = math.exp(LIMIT_95 * 6 * edge_error_mm(slice_spacing_mm) / equivalent_diameter_mm(volume_mm3))
    return volume_mm3 / factor, volume_mm3 * factor


def equivalent_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the sphere of this volume, mm."""
    return math.cbrt(6 * volume_mm3 / math.pi)
