"""Where a point of one study lies in another: always from the fixed to the moving study, in LPS mm."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from highdicom import Volume
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from tracking.geometry import INTERPOLATORS, from_sitk_array, to_sitk

FloatArray = NDArray[np.float64]

INVERSE_TOLERANCE_MM = 0.01
INVERSE_ITERATIONS = 50
GRADIENT_STEP_MM = 1.0
SMALLEST_DETERMINANT = 1e-6  # of a matrix that can be inverted: a head is never scaled by a hundredth


@dataclass(frozen=True, kw_only=True, eq=False)
class DisplacementField:
    """How far each point of the fixed space is moved; zero outside the grid.

    Attributes
    ----------
    vectors_mm
        Shape (i, j, k, 3), LPS mm.
    affine
        From index (i, j, k) to LPS mm in the fixed space.
    """

    vectors_mm: NDArray[np.float32]
    affine: FloatArray

    def at(self, points_mm: FloatArray) -> FloatArray:
        """Displacement at points of the fixed space, both of shape (n, 3), by linear interpolation."""
        inverse = np.linalg.inv(self.affine)
        indices = (points_mm @ inverse[:3, :3].T + inverse[:3, 3]).T
        parts = [map_coordinates(self.vectors_mm[..., axis], indices, order=1, output=float) for axis in range(3)]
        return np.stack(parts, axis=-1)

    def gradient_at(self, points_mm: FloatArray) -> FloatArray:
        """Return the derivative of ``x + displacement(x)`` at points (n, 3): shape (n, 3, 3), central differences."""
        steps = np.eye(3) * GRADIENT_STEP_MM
        columns = [(self.at(points_mm + step) - self.at(points_mm - step)) / (2 * GRADIENT_STEP_MM) for step in steps]
        return np.eye(3) + np.stack(columns, axis=-1)

    def jacobian_at(self, points_mm: FloatArray) -> FloatArray:
        """Local change of volume from fixed to moving at points (n, 3): 1 where nothing is stretched, < 0 in a fold."""
        determinant: FloatArray = np.linalg.det(self.gradient_at(points_mm))
        return determinant

    def tapered(self, margin_mm: float) -> "DisplacementField":
        """Return the field on a larger grid on which it falls to zero linearly over ``margin_mm``.

        Without it a point just outside the grid would jump.
        """
        spacing_mm = np.linalg.norm(self.affine[:3, :3], axis=0)
        width = np.ceil(margin_mm / spacing_mm).astype(int)
        padding = [(int(w), int(w)) for w in width]
        vectors_mm = np.pad(self.vectors_mm, [*padding, (0, 0)], mode="linear_ramp")
        affine = self.affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ width
        return DisplacementField(vectors_mm=vectors_mm, affine=affine)

    def to_sitk(self) -> sitk.Image:
        """Return the field as a SimpleITK vector image (64-bit)."""
        image = sitk.GetImageFromArray(
            np.ascontiguousarray(self.vectors_mm.transpose(2, 1, 0, 3).astype(np.float64)), isVector=True
        )
        spacing_mm = np.linalg.norm(self.affine[:3, :3], axis=0)
        image.SetSpacing(spacing_mm.tolist())
        image.SetOrigin(self.affine[:3, 3].tolist())
        image.SetDirection((self.affine[:3, :3] / spacing_mm).ravel().tolist())
        return image

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> "DisplacementField":
        """Build the field from a SimpleITK vector image of LPS displacements."""
        array = sitk.GetArrayFromImage(image).astype(np.float32).transpose(2, 1, 0, 3)
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        return cls(vectors_mm=np.ascontiguousarray(array), affine=affine)


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """The place in the moving study of a point ``x`` of the fixed study: ``matrix · (x + displacement(x))``.

    Attributes
    ----------
    matrix
        Homogeneous 4 × 4, LPS mm to LPS mm.
    displacement
        None for a rigid transform.

    Raises
    ------
    ValueError
        If the matrix is not a finite, invertible homogeneous 4 × 4.
    """

    matrix: FloatArray
    displacement: DisplacementField | None = None

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, float)
        whole = matrix.shape == (4, 4) and np.allclose(matrix[3], (0, 0, 0, 1))
        if not whole or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < SMALLEST_DETERMINANT:
            raise ValueError(
                f"A transform needs an invertible 4 x 4 matrix whose last row is 0, 0, 0, 1; this is {self.matrix!r}."
            )
        object.__setattr__(self, "matrix", matrix)

    def to_moving(self, points_mm: ArrayLike) -> FloatArray:
        """Map points (n, 3) of the fixed study to the moving study."""
        points = np.asarray(points_mm, float).reshape(-1, 3)
        if self.displacement is not None:
            points = points + self.displacement.at(points)
        return points @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def to_fixed(self, points_mm: ArrayLike) -> FloatArray:
        """Map points (n, 3) of the moving study to the fixed study.

        The displacement is inverted by Newton's method for each point, so that mapping back and forth agrees to
        0.01 mm wherever the field does not fold.
        """
        inverse = np.linalg.inv(self.matrix)
        points = np.asarray(points_mm, float).reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3]
        return points if self.displacement is None else _invert(self.displacement, points)

    def warp(self, moving: Volume, fixed: Volume, *, interpolation: str = "linear", fill: float = 0.0) -> Volume:
        """Sample a volume of the moving study on a grid of the fixed study.

        Parameters
        ----------
        moving, fixed
            What to sample, and the grid to sample it on.
        interpolation
            ``"nearest"`` for labels, ``"linear"`` or ``"cubic"`` for images.
        fill
            Value where ``moving`` has no data.

        Returns
        -------
        Volume
            On the grid of ``fixed``; the array type of ``moving`` for nearest, else float32.
        """
        nearest = interpolation == "nearest"
        image = to_sitk(moving, keep_type=nearest)
        sampled = sitk.Resample(image, to_sitk(fixed), self.to_sitk(), INTERPOLATORS[interpolation], fill)
        array = from_sitk_array(sampled)
        return fixed.with_array(array.astype(moving.array.dtype) if nearest else array)

    def to_sitk(self) -> sitk.Transform:
        """Return the transform for SimpleITK's resampling (from the output's to the input's points)."""
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(self.matrix[:3, :3].ravel().tolist())
        affine.SetTranslation(self.matrix[:3, 3].tolist())
        if self.displacement is None:
            return affine
        composite = sitk.CompositeTransform(3)
        composite.AddTransform(affine)
        composite.AddTransform(
            sitk.DisplacementFieldTransform(self.displacement.to_sitk())
        )  # last added, first applied
        return composite


def _invert(field: DisplacementField, target_mm: FloatArray) -> FloatArray:
    """Solve ``x + field(x) = target`` for each row; the best iterate is kept where a step does not help."""
    best = target_mm - field.at(target_mm)
    error = _residual(field, best, target_mm)
    step = np.ones(len(best))
    for _ in range(INVERSE_ITERATIONS):
        open_rows = np.linalg.norm(error, axis=1) > INVERSE_TOLERANCE_MM
        if not open_rows.any():
            break
        full = np.linalg.solve(field.gradient_at(best[open_rows]), error[open_rows][..., None])[..., 0]
        trial = best[open_rows] - step[open_rows, None] * full
        trial_error = _residual(field, trial, target_mm[open_rows])
        better = np.linalg.norm(trial_error, axis=1) < np.linalg.norm(error[open_rows], axis=1)
        rows = np.flatnonzero(open_rows)
        best[rows[better]], error[rows[better]] = trial[better], trial_error[better]
        step[rows] = np.where(better, 1.0, step[rows] / 2)
    return best


def _residual(field: DisplacementField, points_mm: FloatArray, target_mm: FloatArray) -> FloatArray:
    return points_mm + field.at(points_mm) - target_mm
