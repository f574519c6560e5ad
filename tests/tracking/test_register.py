"""Registration against motions that are known at every point. Real heads with known motion: the slow tests."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from tests.tracking.phantoms import (
    CURRENT_UID,
    PRIOR_UID,
    Head,
    PointMap,
    brain_points,
    bulge,
    empty_grid,
    rigid,
)
from tracking.registration import Registration, RegistrationKind, register
from tracking.registration.engine import ImagePair, RegistrationError
from tracking.registration.greedy import GreedyEngine
from tracking.registration.transform import DisplacementField
from tracking.timepoint import MRSequence, Timepoint

LESIONS = [np.array([10.0, 20.0, 5.0]), np.array([-20.0, -15.0, 10.0])]


def pair(
    deform: PointMap = lambda points: points,
    turn_deg: tuple[float, float, float] = (6.0, -5.0, 8.0),
    shift_mm: tuple[float, float, float] = (7.0, -9.0, 12.0),
    moving_spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0),
    moving_seed: int = 1,
) -> tuple[Timepoint, Timepoint, PointMap]:
    """A head deformed and scanned, and the same head moved and scanned obliquely; and where each point truly goes."""
    forward, backward = rigid(turn_deg, shift_mm)
    shape = tuple(int(124 / step) for step in moving_spacing_mm)
    fixed = Head(1).study(empty_grid((48, 62, 52), (2.0, 2.0, 2.0)), deform, CURRENT_UID, bright=LESIONS)
    grid = empty_grid(shape, moving_spacing_mm, turn_deg=(9, -4, 3), centre_mm=shift_mm)  # type: ignore[arg-type]  # a tuple of three
    moving = Head(moving_seed).study(grid, backward, PRIOR_UID, bright=LESIONS[:1])
    return fixed, moving, lambda points: forward(deform(points))


def errors_mm(registration: Registration, fixed: Timepoint, truth: PointMap) -> NDArray[np.float64]:
    points = brain_points(fixed)
    found = registration.transform.to_moving(points)
    return np.asarray(np.linalg.norm(found - truth(points), axis=1))


BULGE = bulge((12.0, -8.0, 5.0), (4.0, -3.0, 2.0), 22.0)


@pytest.fixture(scope="module")
def deformed() -> tuple[Timepoint, Timepoint, PointMap, Registration]:
    fixed, moving, truth = pair(BULGE)
    return fixed, moving, truth, register(fixed, moving, threads=2)


def test_deformation_is_found_to_a_third_of_a_voxel(
    deformed: tuple[Timepoint, Timepoint, PointMap, Registration],
) -> None:
    fixed, _, truth, result = deformed
    error = errors_mm(result, fixed, truth)
    assert result.kind == RegistrationKind.DEFORMABLE
    assert result.remarks == ()
    assert error.mean() < 0.6
    assert np.percentile(error, 95) < 1.5
    assert result.after.correlation > result.before.correlation
    assert result.after.rotation_deg == pytest.approx(11.3, abs=0.8)


def test_sigma_tells_the_true_error(deformed: tuple[Timepoint, Timepoint, PointMap, Registration]) -> None:
    fixed, _, truth, result = deformed
    assert np.percentile(errors_mm(result, fixed, truth), 68) < result.sigma_mm < 1.5


def test_sigma_is_larger_where_the_registration_is_worse() -> None:
    fixed, moving, truth = pair(BULGE)
    result = register(fixed, moving, engine=RigidOnly(), threads=2)
    points = brain_points(fixed)
    error, told = errors_mm(result, fixed, truth), result.sigma_at(points)
    worst = error > np.percentile(error, 90)
    assert told[worst].mean() > 1.15 * told[~worst].mean()
    assert np.corrcoef(told, error)[0, 1] > 0.6


def test_points_go_there_and_back(deformed: tuple[Timepoint, Timepoint, PointMap, Registration]) -> None:
    fixed, _, truth, result = deformed
    points = brain_points(fixed)
    assert np.abs(result.map_points(result.transform.to_moving(points)) - points).max() < 0.02
    assert np.linalg.norm(result.map_points(truth(points)) - points, axis=1).mean() < 0.6


def test_a_mask_is_carried_to_its_place(deformed: tuple[Timepoint, Timepoint, PointMap, Registration]) -> None:
    fixed, moving, _, result = deformed
    assert moving.lesions is not None
    assert fixed.lesions is not None
    warped = result.warp(moving.lesions, fixed.lesions, interpolation="nearest")
    assert warped.array.dtype == np.uint16
    assert warped.geometry_equal(fixed.lesions)
    first, second = np.argwhere(warped.array == 1), np.argwhere(fixed.lesions.array == 1)
    assert np.linalg.norm(2.0 * (first.mean(axis=0) - second.mean(axis=0))) < 1.0


@pytest.mark.parametrize(
    ("case", "options", "mean_mm"),
    [
        ("still head", {"turn_deg": (0.0, 0.0, 0.0), "shift_mm": (0.0, 0.0, 0.0)}, 0.4),
        ("far away", {"shift_mm": (60.0, -90.0, 120.0), "turn_deg": (15.0, -12.0, 18.0)}, 0.4),
        ("5 mm slices", {"moving_spacing_mm": (5.0, 1.5, 1.5)}, 0.8),
    ],
)
def test_rigid_motion_is_found(case: str, options: dict[str, tuple[float, float, float]], mean_mm: float) -> None:
    fixed, moving, truth = pair(**options)  # type: ignore[arg-type]  # the keywords are those of `pair`
    result = register(fixed, moving, threads=2)
    assert result.kind != RegistrationKind.NONE
    assert errors_mm(result, fixed, truth).mean() < mean_mm


def test_another_head_is_refused() -> None:
    fixed, moving, _ = pair(moving_seed=2)
    result = register(fixed, moving, threads=2)
    assert result.kind == RegistrationKind.NONE
    assert result.sigma_mm >= 10
    assert "verify every match" in result.remarks[0]


class BrokenDeformable(GreedyEngine):
    """greedy whose deformable step fails as it does on images that it cannot read."""

    def deformable(self, pair: ImagePair, *, threads: int) -> DisplacementField:  # noqa: ARG002  it breaks them
        empty = sitk.Image(1, 1, 1, sitk.sitkFloat32)
        broken = ImagePair(fixed=empty, moving=empty, fixed_mask=empty, moving_mask=sitk.Image(2, 2, sitk.sitkUInt8))
        return super().deformable(broken, threads=threads)


class RigidOnly(GreedyEngine):
    """An engine that cannot deform."""

    def deformable(self, pair: ImagePair, *, threads: int) -> DisplacementField:  # noqa: ARG002  as the protocol has it
        raise RegistrationError("it cannot deform")


class WildDeformable(GreedyEngine):
    """An engine that succeeds with nonsense: a fold in the middle of the brain."""

    def deformable(self, pair: ImagePair, *, threads: int) -> DisplacementField:  # noqa: ARG002  as the protocol has it
        field = DisplacementField.from_sitk(sitk.TransformToDisplacementField(
            sitk.Transform(3, sitk.sitkIdentity), sitk.sitkVectorFloat64, pair.fixed.GetSize(),
            pair.fixed.GetOrigin(), pair.fixed.GetSpacing(), pair.fixed.GetDirection(),
        ))  # fmt: skip
        vectors = field.vectors_mm.copy()
        middle = tuple(size // 2 for size in vectors.shape[:3])
        vectors[middle[0] - 8 : middle[0], :, :, 2] = 30.0
        return replace(field, vectors_mm=vectors)


class BrokenEngine(BrokenDeformable):
    """An engine that always gives up."""

    def rigid(self, pair: ImagePair, *, threads: int) -> NDArray[np.float64]:  # noqa: ARG002  as the protocol has it
        raise RegistrationError("no memory")


@pytest.mark.parametrize(
    ("engine", "kind", "remark"),
    [
        (BrokenDeformable(), RegistrationKind.RIGID, "Deformable registration failed"),
        (WildDeformable(), RegistrationKind.RIGID, "Deformable registration was dropped"),
        (BrokenEngine(), RegistrationKind.NONE, "Registration of the prior study failed"),
    ],
)
def test_a_failing_engine_is_told_and_the_step_before_stands(
    engine: GreedyEngine, kind: RegistrationKind, remark: str
) -> None:
    fixed, moving, _ = pair(turn_deg=(25.0, -20.0, 15.0))
    result = register(fixed, moving, engine=engine, threads=2)
    assert result.kind == kind
    assert any(text.startswith(remark) for text in result.remarks)


def test_one_frame_of_reference_without_motion_stays_in_place() -> None:
    fixed, moving, _ = pair(turn_deg=(0.0, 0.0, 0.0), shift_mm=(0.0, 0.0, 0.0))
    result = register(in_frame(fixed, "1.2.9"), in_frame(moving, "1.2.9"), threads=2)
    points = brain_points(fixed)
    assert np.linalg.norm(result.transform.to_moving(points) - points, axis=1).mean() < 0.4


def test_one_frame_of_reference_does_not_hide_motion() -> None:
    fixed, moving, truth = pair()
    result = register(in_frame(fixed, "1.2.9"), in_frame(moving, "1.2.9"), threads=2)
    assert errors_mm(result, fixed, truth).mean() < 0.5


def in_frame(study: Timepoint, uid: str) -> Timepoint:
    image = study.images[MRSequence.T1C]
    framed = type(image)(image.array, image.affine, "PATIENT", frame_of_reference_uid=uid)
    return replace(study, images={MRSequence.T1C: framed})


def test_a_study_without_a_brain_mask_is_refused() -> None:
    fixed, moving, _ = pair()
    with pytest.raises(ValueError, match="has no brain mask"):
        register(replace(fixed, brain=None), moving)


def test_an_unknown_engine_is_refused() -> None:
    fixed, moving, _ = pair()
    with pytest.raises(ValueError, match="choose 'greedy' or 'ants'"):
        register(fixed, moving, engine="elastix")


@pytest.mark.slow
def test_ants_agrees() -> None:
    fixed, moving, truth = pair(BULGE)
    result = register(fixed, moving, engine="ants", threads=2)
    assert result.kind == RegistrationKind.DEFORMABLE, result.remarks
    assert errors_mm(result, fixed, truth).mean() < 0.5
