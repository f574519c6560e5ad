"""Where a place of one study lies in another, for pictures only: the node's own registration is not asked here."""

import SimpleITK as sitk
from highdicom import Volume

from dicom_node.results.findings import Point
from tracking.geometry import from_sitk_array, isotropic_grid, resample_like, to_sitk

GRID_MM = 4.0


class Alignment:
    """Two heads aligned rigidly (six degrees of freedom, mutual information; Mattes et al. 2003).

    Parameters
    ----------
    source, target
        T1c of both studies, LPS mm; each may have a frame of reference of its own.
    """

    def __init__(self, source: Volume, target: Volume) -> None:
        self._transform = _align(_coarse(source), _coarse(target))

    def to_target(self, place_mm: Point) -> Point:
        """Return where a point of the source's patient space lies in the target's, good to a few millimetres."""
        x, y, z = self._transform.TransformPoint([float(mm) for mm in place_mm])
        return float(x), float(y), float(z)


def _coarse(volume: Volume) -> sitk.Image:
    """Sample on a coarse grid after smoothing, so that nothing finer than the grid is left."""
    sigma_mm = GRID_MM / 2
    smooth = sitk.SmoothingRecursiveGaussian(to_sitk(volume), sigma_mm)
    grid = isotropic_grid(volume, GRID_MM)
    return to_sitk(resample_like(volume.with_array(from_sitk_array(smooth)), grid))


def _align(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Return the transform from points of ``fixed`` to points of ``moving``."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # so that the same images give the same picture
    method.SetMetricAsMattesMutualInformation(32)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=1e-3, numberOfIterations=200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method.SetInitialTransform(start, inPlace=False)
    found: sitk.Transform = method.Execute(fixed, moving)
    return found
