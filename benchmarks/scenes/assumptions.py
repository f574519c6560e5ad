"""What the scenes take for granted about patients and scanners; several sets, so that none is fitted."""

from dataclasses import dataclass, replace

from benchmarks.scenes.misalignment import ErrorKind

Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """How a patient's lesions behave and are seen.

    Attributes
    ----------
    studies
        Fewest and most studies of a patient.
    spacing_mm
        Slice spacing and pixel spacings.
    forms
        ``"balls"``, ``"bumpy"`` (noise-warped ellipsoids), or ``"real"`` (both, and real ones where there are any).
    error
        Kind of registration error; its size is chosen for each scene.
    drifting
        The error of each study adds to that of the one before, instead of being drawn by itself.
    correlation_mm
        Distance over which a smooth error changes.
    log_change
        Standard deviation of the logarithm of the volume ratio between two studies.
    resolving, returning
        Chance of a lesion to vanish before the next study, and of a vanished one to be back in the next.
    appearing
        New lesions per lesion and interval; at least a third of a lesion per interval.
    beside_resolved
        Part of the new ones that appear next to a lesion that has just resolved.
    crowding
        Part of the lesions that lie close to another.
    merging, splitting
        Chance in an interval of a close pair to merge, and of a lesion with a waist to break.
    missed
        Chance of a lesion not to be detected.
    spurious
        False detections per study.
    edge_noise_mm
        How far the outline is off, one standard deviation.
    turned
        Studies in different positions of the head, so that registration has something to undo.
    """

    studies: tuple[int, int] = (2, 6)
    spacing_mm: Vector = (1.0, 1.0, 1.0)
    forms: str = "bumpy"
    error: ErrorKind = ErrorKind.SMOOTH
    drifting: bool = False
    correlation_mm: float = 40.0
    log_change: float = 0.9
    resolving: float = 0.10
    returning: float = 0.30
    appearing: float = 0.12
    beside_resolved: float = 0.4
    crowding: float = 0.25
    merging: float = 0.2
    splitting: float = 0.4
    missed: float = 0.05
    spurious: float = 0.5
    edge_noise_mm: float = 0.3
    turned: bool = True


USUAL = Assumptions()
WORLDS = {
    "usual": USUAL,
    "real forms": replace(USUAL, forms="real"),
    "thick slices": replace(USUAL, spacing_mm=(3.0, 0.5, 0.5)),
    "balls, one shift": replace(USUAL, forms="balls", error=ErrorKind.SHIFT, turned=False, edge_noise_mm=0.0),
    "scattered error": replace(USUAL, forms="real", error=ErrorKind.SCATTER, turned=False),
    "short waves": replace(USUAL, correlation_mm=18.0, drifting=True),
    "busy": replace(USUAL, forms="real", crowding=0.5, merging=0.35, splitting=0.6, missed=0.1, spurious=1.5),
}
