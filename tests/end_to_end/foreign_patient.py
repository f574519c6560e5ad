"""A patient that no part of this project generated: a real head with balls painted in, written as DICOM by GDCM.

The head is real (its tumour is a glioma and stays where it is), the planes are oblique, contrast is not labelled, the
headers follow another vendor's habits, and a localizer lies beside the series that count.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

RESCALE = 8  # the heads are stored with 8 bits; scanners give about 11


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A bright ball painted into the head, centre in mm of the head's own space, and its radius at each visit."""

    name: str
    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """How the patient lay and what was scanned."""

    index: int
    study_uid: str
    frame_uid: str
    study_date: str
    rotation_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    slice_spacing_mm: float


def pose(visit: Visit, centre: tuple[float, ...]) -> sitk.Euler3DTransform:
    """Map scanner space of this visit to the head's own space."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre)
    transform.SetRotation(*np.deg2rad(visit.rotation_deg).tolist())
    transform.SetTranslation(visit.shift_mm)
    return transform


def paint(head: sitk.Image, balls: tuple[Ball, ...], visit: Visit, brightness: float) -> sitk.Image:
    """Blend balls of ``brightness`` into ``head``, with an edge about one voxel wide."""
    array = sitk.GetArrayFromImage(head).astype(np.float32)
    z, y, x = np.indices(array.shape, dtype=np.float32)
    spacing, origin = head.GetSpacing(), head.GetOrigin()
    direction = np.asarray(head.GetDirection()).reshape(3, 3)
    offsets = np.stack([x * spacing[0], y * spacing[1], z * spacing[2]], axis=-1)
    points = offsets @ direction.T.astype(np.float32) + np.asarray(origin, np.float32)
    for ball in balls:
        radius = ball.radii_mm[visit.index]
        if radius:
            distance = np.linalg.norm(points - np.asarray(ball.centre_mm, np.float32), axis=-1)
            weight = np.clip((radius - distance) / 0.7 + 0.5, 0, 1)
            array = array * (1 - weight) + brightness * weight
    painted = sitk.GetImageFromArray(array)
    painted.CopyInformation(head)
    return painted


def scanner_grid(head: sitk.Image, visit: Visit) -> sitk.Image:
    """Return the empty oblique grid on which this visit's images are acquired."""
    centre = head.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in head.GetSize()])
    tilt = sitk.Euler3DTransform()
    tilt.SetRotation(np.deg2rad(7.0 + 3 * visit.index), np.deg2rad(-4.0), np.deg2rad(2.0))
    direction = np.asarray(tilt.GetMatrix()).reshape(3, 3)
    extent = [size * spacing for size, spacing in zip(head.GetSize(), head.GetSpacing(), strict=True)]
    spacing = (1.0, 1.0, visit.slice_spacing_mm)
    size = [240, 240, int(extent[2] / visit.slice_spacing_mm)]
    half = direction @ (np.asarray(size) * spacing / 2)
    grid = sitk.Image(size, sitk.sitkFloat32)
    grid.SetSpacing(spacing)
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin((np.asarray(centre) - half).tolist())
    return grid


def truth_mm(ball: Ball, visit: Visit, head: sitk.Image) -> tuple[float, float, float]:
    """Centre of ``ball`` in the scanner space of ``visit`` (LPS mm)."""
    centre = head.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in head.GetSize()])
    point = pose(visit, centre).GetInverse().TransformPoint(ball.centre_mm)
    return (point[0], point[1], point[2])


def acquire(image: sitk.Image, grid: sitk.Image, visit: Visit, seed: int) -> sitk.Image:
    """Sample ``image`` on ``grid`` as the patient lay at this visit, add Rician noise, give 12-bit integers."""
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    sampled = sitk.Resample(image, grid, pose(visit, centre), sitk.sitkLinear, 0.0)
    rng = np.random.default_rng(seed)
    array = sitk.GetArrayFromImage(sampled) * RESCALE
    noisy = np.hypot(array + rng.normal(0, 12, array.shape), rng.normal(0, 12, array.shape))
    result = sitk.GetImageFromArray(np.clip(noisy, 0, 4095).astype(np.uint16))
    result.CopyInformation(grid)
    return result


def write_series(image: sitk.Image, folder: Path, visit: Visit, number: int, tags: dict[str, str]) -> None:
    """Write ``image`` slice by slice with GDCM, one file an instance."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    common = {
        "0008|0060": "MR",
        "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
        "0008|0020": visit.study_date,
        "0008|0030": "101500",
        "0008|0070": "GE MEDICAL SYSTEMS",
        "0010|0010": "DOE^JANE",
        "0010|0020": "HOSPITAL-0815",
        "0010|0030": "19600102",
        "0010|0040": "F",
        "0020|000d": visit.study_uid,
        "0020|000e": f"{visit.study_uid}.{number}",
        "0020|0052": visit.frame_uid,
        "0020|0011": str(number),
        "0020|0037": "\\".join(f"{direction[i]:.9f}" for i in (0, 3, 6, 1, 4, 7)),
        "0018|0050": f"{visit.slice_spacing_mm:g}",
        "0018|0088": f"{visit.slice_spacing_mm:g}",
        "0018|0087": "3",
        **tags,
    }
    for k in range(image.GetDepth()):
        plane = image[:, :, k]
        position = image.TransformIndexToPhysicalPoint((0, 0, k))
        each = {
            "0008|0018": f"{visit.study_uid}.{number}.{k + 1}",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{p:.6f}" for p in position),
        }
        for key, value in {**common, **each}.items():
            plane.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"IM{k + 1:04d}"))
        writer.SetImageIO("GDCMImageIO")
        writer.Execute(plane)
