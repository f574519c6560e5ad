"""The story of registration: starts, rigid, deformable; each step must prove itself, or the one before it stands."""

from dataclasses import dataclass, replace

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from tracking.registration.engine import Engine, RegistrationError
from tracking.registration.preparation import Head, centre_of_mass_mm, coarser, image_pair, prepare
from tracking.registration.quality import Quality, assess
from tracking.registration.result import Registration, RegistrationKind
from tracking.registration.transform import Transform
from tracking.registration.uncertainty import UNMEASURED_SIGMA_MM, Residuals, measure_residuals
from tracking.timepoint import MRSequence, Timepoint

SPACING_MM = 2.0  # 1 mm gains 0.05 mm for 3.5 times the work
COARSE_SPACING_MM = 4.0  # enough for the rigid step: 0.1 mm from the result at 2 mm
TAPER_MM = 12.0

# Limits from generated pairs: true pairs with up to 12 mm of inner deformation leave a rigid residual of 1.5 to 3.5 mm,
# two different patients one of 6.3 mm or more.
MAXIMUM_RIGID_RESIDUAL_MM = 5.0
MINIMUM_COVERAGE = 0.5
MINIMUM_BRAIN_DICE = 0.8
MAXIMUM_ROTATION_DEG = 60.0
JACOBIAN_LIMITS = (0.3, 3.0)
SIGMA_FLOOR_MM = 0.4


_UNMEASURED = Residuals(centres_mm=np.empty((0, 3)), lengths_mm=np.empty(0), overall_mm=UNMEASURED_SIGMA_MM)

Heads = tuple[Head, Head]  # fixed, moving


@dataclass(frozen=True, kw_only=True, eq=False)
class _Step:
    """A transform that may be used, and what the images say of it."""

    kind: RegistrationKind
    transform: Transform
    quality: Quality
    residuals: Residuals

    @property
    def residual_mm(self) -> float:
        """What is off, over the whole brain."""
        return self.residuals.overall_mm


def register(fixed: Timepoint, moving: Timepoint, *, engine: str | Engine = "greedy", threads: int = 1) -> Registration:
    """Bring the moving (prior) study to the fixed (current) one by their T1c images inside the brain.

    Two rigid starts are tried (positions as they stand, and brain on brain), then the better one is refined by a
    deformable step in which the lesions of both studies take no part. A step that fails or makes things worse
    is dropped with a remark.

    Parameters
    ----------
    fixed, moving
        Studies with T1c and brain mask; lesions are used if present.
    engine
        ``"greedy"``, ``"ants"``, or an engine of one's own.
    threads
        Processor threads for the engine.

    Raises
    ------
    ValueError
        If the engine is unknown, or a study lacks a brain mask or has values that are not finite.
    """
    chosen = make_engine(engine) if isinstance(engine, str) else engine
    heads = prepare(fixed, SPACING_MM), prepare(moving, SPACING_MM)
    before = assess(*heads, Transform(matrix=np.eye(4)))
    best, remarks = _best_step(chosen, heads, threads=threads, same_frame=_same_frame(fixed, moving))
    return Registration(
        fixed_study_uid=fixed.study_uid,
        moving_study_uid=moving.study_uid,
        engine=chosen.name,
        kind=best.kind,
        transform=best.transform,
        before=before,
        after=best.quality,
        sigma_mm=_sigma_mm(best, fixed.images[MRSequence.T1C], moving.images[MRSequence.T1C]),
        residuals=best.residuals,
        remarks=tuple(remarks),
    )


def make_engine(name: str) -> Engine:
    """Return the engine with this name; each is imported only when asked for.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name == "greedy":
        from tracking.registration.greedy import GreedyEngine

        return GreedyEngine()
    if name == "ants":  # importing ANTs takes seconds and hundreds of MB
        from tracking.registration.ants import AntsEngine

        return AntsEngine()
    raise ValueError(f"There is no registration engine {name!r}; choose 'greedy' or 'ants'.")


def _best_step(engine: Engine, heads: Heads, *, threads: int, same_frame: bool) -> tuple[_Step, list[str]]:
    """Return the furthest step that passed its checks, and what to tell about those that did not."""
    remarks: list[str] = []
    rigid = _rigid_step(engine, heads, threads, remarks)
    if rigid is None or same_frame:
        start = _start_step(heads, same_frame=same_frame)
        rigid = min((start, rigid or start), key=lambda step: step.residual_mm)
    if complaint := _rigid_complaint(rigid):
        remarks.append(f"Registration of the prior study failed ({complaint}): verify every match with the prior.")
        start = _start_step(heads, same_frame=same_frame)
        return replace(start, kind=RegistrationKind.NONE, residuals=_UNMEASURED), remarks
    return _deformable_step(engine, heads, rigid, threads, remarks) or rigid, remarks


def _start_step(heads: Heads, *, same_frame: bool) -> _Step:
    """Return what is left when every engine fails: positions as they stand in one frame, else brain on brain."""
    if same_frame:
        return _step(heads, Transform(matrix=np.eye(4)), RegistrationKind.IDENTITY)
    return _step(heads, Transform(matrix=_brain_on_brain(heads)), RegistrationKind.RIGID)


def _rigid_step(engine: Engine, heads: Heads, threads: int, remarks: list[str]) -> _Step | None:
    """Try both starts on coarse voxels and keep the better result; None if the engine fails on both."""
    coarse = coarser(heads[0], COARSE_SPACING_MM), coarser(heads[1], COARSE_SPACING_MM)
    found: list[tuple[float, Transform]] = []
    for start in (np.eye(4), _brain_on_brain(heads)):
        try:
            pair = image_pair(*coarse, Transform(matrix=start), without_lesions=True)
            moved = Transform(matrix=start @ engine.rigid(pair, threads=threads))
        except RegistrationError as error:
            remarks.append(f"Rigid registration failed from one of two starts: {error}")
            continue
        quality = assess(*coarse, moved)
        found.append((quality.correlation if quality.coverage >= MINIMUM_COVERAGE else -1.0, moved))
    if not found:
        return None
    return _step(heads, max(found, key=lambda item: item[0])[1], RegistrationKind.RIGID)


def _deformable_step(engine: Engine, heads: Heads, rigid: _Step, threads: int, remarks: list[str]) -> _Step | None:
    """Refine a rigid step; None if that fails or makes it worse, with a remark, or if it gains nothing."""
    try:
        pair = image_pair(*heads, rigid.transform, without_lesions=True)
        field = engine.deformable(pair, threads=threads).tapered(TAPER_MM)
    except RegistrationError as error:
        remarks.append(f"Deformable registration failed, rigid registration is used: {error}")
        return None
    refined = _step(heads, replace(rigid.transform, displacement=field), RegistrationKind.DEFORMABLE)
    if complaint := _deformable_complaint(rigid, refined):
        remarks.append(f"Deformable registration was dropped ({complaint}), rigid registration is used.")
        return None
    return refined if refined.residual_mm < rigid.residual_mm else None  # a still head needs no deformation


def _step(heads: Heads, transform: Transform, kind: RegistrationKind) -> _Step:
    return _Step(
        kind=kind,
        transform=transform,
        quality=assess(*heads, transform),
        residuals=measure_residuals(*heads, transform),
    )


def _rigid_complaint(step: _Step) -> str:
    """Say what is wrong with a rigid step; empty if nothing is."""
    quality = step.quality
    if quality.coverage < MINIMUM_COVERAGE:
        return f"it covers {100 * quality.coverage:.0f} % of the brain"
    if quality.brain_dice < MINIMUM_BRAIN_DICE:
        return f"the brains overlap with a Dice of {quality.brain_dice:.2f}"
    if quality.rotation_deg > MAXIMUM_ROTATION_DEG:
        return f"it would be turned by {quality.rotation_deg:.0f} degrees"
    if step.residual_mm > MAXIMUM_RIGID_RESIDUAL_MM:
        return f"parts of the brains stay {step.residual_mm:.1f} mm apart"
    return ""


def _deformable_complaint(rigid: _Step, refined: _Step) -> str:
    """Say why a deformable step is worse than the rigid one before it; empty if it is not."""
    low, high = refined.quality.jacobian
    if low < JACOBIAN_LIMITS[0] or high > JACOBIAN_LIMITS[1]:
        return f"it changes volumes locally by a factor of {low:.2f} to {high:.2f}"
    if refined.quality.correlation < rigid.quality.correlation - 0.01:
        return f"correlation fell from {rigid.quality.correlation:.2f} to {refined.quality.correlation:.2f}"
    if refined.quality.brain_dice < rigid.quality.brain_dice - 0.02:
        return f"brain overlap fell from {rigid.quality.brain_dice:.2f} to {refined.quality.brain_dice:.2f}"
    return ""


def _sigma_mm(step: _Step, *images: Volume) -> float:
    """Join the measured residual, a floor, and how finely the voxels place a point (a step wide is 1/√12 of it)."""
    sampling_mm2 = sum(max(image.spacing) ** 2 for image in images) / 12
    return float(np.sqrt(step.residual_mm**2 + SIGMA_FLOOR_MM**2 + sampling_mm2))


def _brain_on_brain(heads: Heads) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = centre_of_mass_mm(heads[1].brain) - centre_of_mass_mm(heads[0].brain)
    return matrix


def _same_frame(fixed: Timepoint, moving: Timepoint) -> bool:
    uids = [timepoint.images[MRSequence.T1C].frame_of_reference_uid for timepoint in (fixed, moving)]
    return uids[0] is not None and uids[0] == uids[1]
