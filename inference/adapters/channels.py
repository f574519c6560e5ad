"""What a plug-in sees: its channels in its order, orientation and spacing; and the way back to the study's own grid."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from inference.adapters.manifest import PluginError, PluginManifest
from inference.inputs import PRIOR_MASK
from tracking.geometry import isotropic_grid, resample_like
from tracking.timepoint import Tissue


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelImages:
    """A model's input.

    Attributes
    ----------
    images
        float32 (channels, i, j, k).
    grid
        Where the voxels lie; its array is the first channel.
    """

    images: NDArray[np.float32]
    grid: Volume


def model_images(
    channels: Mapping[str, Volume], brain: Volume, manifest: PluginManifest, *, orientation: str
) -> ModelImages:
    """Bring a study's images into the form that a plug-in's manifest asks for.

    Parameters
    ----------
    channels, brain
        As `inference.tissue_model.TissueModel` gets them.
    orientation
        Where the axes run to if the manifest does not say, for example ``"HPL"``.

    Raises
    ------
    PluginError
        If a channel is missing that is not optional, or lies on another grid.
    """
    volumes = [_channel(source, channels, brain, manifest) for source in manifest.channels]
    volumes = [volume.to_patient_orientation(manifest.orientation or orientation) for volume in volumes]
    if manifest.spacing_mm is not None:
        grid = isotropic_grid(volumes[0], manifest.spacing_mm)
        volumes = [
            resample_like(volume, grid, interpolation="nearest" if source == PRIOR_MASK else "linear")
            for source, volume in zip(manifest.channels, volumes, strict=True)
        ]
    return ModelImages(images=np.stack([v.array for v in volumes]).astype(np.float32), grid=volumes[0])


def to_study_grid(
    probabilities: Mapping[Tissue, NDArray[np.float32]], grid: Volume, brain: Volume
) -> dict[Tissue, Volume]:
    """Bring probabilities (i, j, k) from a model's grid onto the study's, float32; 0 where the model saw nothing."""
    return {
        tissue: resample_like(grid.with_array(probability), brain, interpolation="linear")
        for tissue, probability in probabilities.items()
    }


def _channel(source: str, channels: Mapping[str, Volume], brain: Volume, manifest: PluginManifest) -> Volume:
    if source not in channels:
        if source in manifest.optional_channels:
            return brain.with_array(np.zeros(brain.spatial_shape, np.float32))
        raise PluginError(
            f"{manifest.name} needs {source}, which this study has not; it has {', '.join(sorted(channels))}. "
            "Use another model, or add it to optional_channels if the model was trained to do without"
        )
    image = channels[source]
    if image.spatial_shape != brain.spatial_shape or not np.allclose(image.affine, brain.affine, atol=1e-3):
        raise PluginError(f"{source} lies on another grid than the brain mask: resample it onto the T1c first")
    array = image.array.astype(np.float32)
    if manifest.skull_stripped and source != PRIOR_MASK:
        array = np.where(brain.array, array, np.float32(0))
    return image.with_array(array)
