"""MONAI bundles as predictors: network, preprocessing and inferer come from the bundle's own configuration.

A bundle's configuration is a program: whatever it names under ``_target_`` is imported and called, and what begins with
``$`` is evaluated. Refusing the second would not make the first safe, so there is no half-trust here: a manifest must
say ``trusted = true``, and with ``sha256`` that trust holds for exactly these files. Weights are read as tensors only.

The bundle's dataset, handlers, evaluator and postprocessing are not used: images are handed over in memory, and
probabilities, not labels, are taken back. Its loading transforms are left out for the same reason.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from inference.adapters.channels import ModelImages, model_images, to_study_grid
from inference.adapters.manifest import BundleManifest, PluginError, label_outputs, verified
from inference.adapters.tissues import TissueRule, apply_rules, tissue_rules
from inference.threads import torch_threads
from tracking.timepoint import Tissue

if TYPE_CHECKING:
    from monai.data.meta_tensor import MetaTensor
    from torch import Tensor, nn

# NIfTI files as nibabel reads them mostly run to the right, front and head.
USUAL_ORIENTATION: Final = "RAH"
LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
NETWORK_INPUT: Final = "image"
PARTS: Final = ("network_def", "preprocessing", "inferer")


@dataclass(frozen=True, kw_only=True, eq=False)
class BundleModel:
    """A MONAI bundle that is ready to run; see `inference.tissue_model.TissueModel`.

    Attributes
    ----------
    manifest
        What it is and what it expects.
    network
        In evaluation mode, with the bundle's weights.
    preprocessing, inferer
        From the bundle's configuration; the first without what loads files.
    rules
        How tissues follow from its outputs.
    threads
        Processor threads the network may use; None: one per core.
    """

    manifest: BundleManifest
    network: "nn.Module"
    preprocessing: Any
    inferer: Any
    rules: tuple[TissueRule, ...]
    threads: int | None = None

    def tissue_probabilities(self, channels: Mapping[str, Volume], brain: Volume) -> dict[Tissue, Volume]:
        """Return the probability of each tissue that the model knows; see `TissueModel`."""
        import torch  # late: torch takes seconds to load

        given = model_images(channels, brain, self.manifest, orientation=USUAL_ORIENTATION)
        device = next(self.network.parameters()).device
        with torch_threads(self.threads), torch.inference_mode():
            image = self._prepared(given)
            answer = self.inferer(image.as_tensor()[None].to(device), self.network)
            outputs = self._probabilities(answer, image)
        grid = Volume(
            np.zeros(outputs.shape[1:], np.uint8),
            LPS_TO_RAS @ image.affine.numpy(),
            "PATIENT",
            frame_of_reference_uid=brain.frame_of_reference_uid,
        )
        return to_study_grid(apply_rules(self.rules, outputs), grid, brain)

    def _prepared(self, given: ModelImages) -> "MetaTensor":
        """Run the bundle's preprocessing on images in memory."""
        import torch
        from monai.data.meta_tensor import MetaTensor

        affine = torch.from_numpy(LPS_TO_RAS @ given.grid.affine)
        keys = self.manifest.input_keys
        parts = [given.images] if len(keys) == 1 else [image[np.newaxis] for image in given.images]
        prepared = self.preprocessing(
            {
                key: MetaTensor(torch.from_numpy(part.copy()), affine=affine)
                for key, part in zip(keys, parts, strict=True)
            }
        )
        image = prepared.get(NETWORK_INPUT)
        if not isinstance(image, MetaTensor):
            raise PluginError(
                f"the preprocessing of {self.manifest.name} gives no {NETWORK_INPUT!r} with its place in space: set "
                "input_keys, or name another bundle"
            )
        return image

    def _probabilities(self, answer: object, image: "MetaTensor") -> NDArray[np.float32]:
        """Return the network's answer as probabilities (outputs, i, j, k)."""
        import torch

        if not isinstance(answer, torch.Tensor) or answer.shape[2:] != image.shape[1:]:
            found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            raise PluginError(
                f"the network of {self.manifest.name} answers with {found} to an image of {tuple(image.shape)}: only "
                "bundles that segment at the resolution of their input can be used"
            )
        needed = 1 + max(output for rule in self.rules for output in (*rule.add, *rule.subtract))
        if answer.shape[1] < needed:
            raise PluginError(
                f"the network of {self.manifest.name} has {answer.shape[1]} outputs, but the manifest's labels need "
                f"{needed}: correct them"
            )
        result = _activated(answer[0].float(), self.manifest.activation)
        return np.asarray(result.cpu().numpy(), np.float32)


def load_bundle(manifest: BundleManifest, *, threads: int | None = None) -> BundleModel:
    """Open a MONAI bundle. This runs what its configuration says.

    Parameters
    ----------
    manifest
        Names the folder, its channels and labels, and that it is trusted.
    threads
        Processor threads it may use; None: one per core.

    Raises
    ------
    PluginError
        If the bundle is not trusted, files are missing or changed, or bundle and manifest do not belong together.
    """
    if not manifest.trusted:
        raise PluginError(
            f"opening the MONAI bundle {manifest.name} runs what its configuration names, as a program would: read "
            f"{manifest.folder / manifest.configuration} and add trusted = true to the manifest if you trust it"
        )
    manifest = verified(manifest)
    parts, names = _configured(manifest)
    exclusive = manifest.activation == "softmax"
    return BundleModel(
        manifest=manifest,
        network=_with_weights(parts["network_def"], manifest),
        preprocessing=_without_loading(parts.get("preprocessing", _unchanged)),
        inferer=parts["inferer"],
        rules=tissue_rules(label_outputs(manifest, names), exclusive=exclusive),
        threads=threads,
    )


def _configured(manifest: BundleManifest) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what the configuration builds, and the outputs by label without the background."""
    from monai.bundle.config_parser import ConfigParser  # late: loads torch

    parser = ConfigParser()
    metadata = manifest.folder / "configs" / "metadata.json"
    try:
        with _importable(manifest.folder):
            parser.read_config(manifest.folder / manifest.configuration)
            if metadata.is_file():
                parser.read_meta(metadata)
            parser["bundle_root"] = str(manifest.folder)
            parts = {name: parser.get_parsed_content(name) for name in PARTS if name in parser}
            names = _label_names(parser.get("_meta_") or {}, manifest)
    # A configuration is code, and fails in all the ways of code that does not find what it needs.
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError, ImportError, OSError) as error:
        raise PluginError(f"the configuration of {manifest.name} fails: {error}") from error
    if missing := [name for name in ("network_def", "inferer") if name not in parts]:
        raise PluginError(
            f"the configuration {manifest.configuration} of {manifest.name} has no {missing[0]!r}: name a bundle that "
            "is made for inference"
        )
    return parts, names


def _label_names(metadata: Mapping[str, Any], manifest: BundleManifest) -> dict[str, int]:
    """Return the outputs by label: as the bundle's metadata name them, or else by the numbers in the manifest."""
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    named = {name: int(output) for o in outputs.values() for output, name in o.get("channel_def", {}).items()}
    if not named:
        return {label: int(label) for label in manifest.labels if label.isdigit()}
    return {name: output for name, output in named.items() if name.lower() != "background"}


def _with_weights(network: "nn.Module", manifest: BundleManifest) -> "nn.Module":
    """Return the bundle's network with its weights, in evaluation mode, on the GPU where there is one."""
    import torch

    from inference.networks.checkpoints import CheckpointError, load_weights

    try:
        load_weights(network, manifest.folder / manifest.checkpoint)
    except CheckpointError as error:
        raise PluginError(f"{manifest.name}: {error}") from error
    return network.to(torch.device("cuda" if torch.cuda.is_available() else "cpu")).eval()


def _without_loading(preprocessing: Any) -> Any:
    """Leave out what reads files and puts their channels first: images are handed over with channels first."""
    from monai.transforms.compose import Compose
    from monai.transforms.io.array import LoadImage
    from monai.transforms.io.dictionary import LoadImaged
    from monai.transforms.utility.array import EnsureChannelFirst
    from monai.transforms.utility.dictionary import EnsureChannelFirstd

    if isinstance(preprocessing, Compose):
        kept = (_without_loading(transform) for transform in preprocessing.transforms)
        preprocessing.transforms = tuple(transform for transform in kept if transform is not _unchanged)
    elif isinstance(preprocessing, LoadImage | LoadImaged | EnsureChannelFirst | EnsureChannelFirstd):
        return _unchanged
    return preprocessing


def _unchanged(data: dict[str, Any]) -> dict[str, Any]:
    return data


def _activated(logits: "Tensor", activation: str) -> "Tensor":
    if activation == "softmax":
        return logits.softmax(dim=0)
    return logits.sigmoid() if activation == "sigmoid" else logits


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a bundle's configuration name the scripts beside it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
