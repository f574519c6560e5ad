"""nnU-Net v2 results folders as predictors: nnU-Net's own code prepares the images and runs the network.

Its checkpoints are read as weights and plain values only, so that opening one runs no code. Its plans name classes that
nnU-Net imports and calls: others than its own networks and torch's layers need ``trusted = true`` in the manifest.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
from highdicom import Volume

from inference.adapters.channels import model_images, to_study_grid
from inference.adapters.manifest import NnUNetManifest, PluginError, label_outputs, verified
from inference.adapters.tissues import TissueRule, apply_rules, tissue_rules
from inference.threads import torch_threads
from tracking.timepoint import Tissue

# nnU-Net's arrays are (z, y, x) of the files it was trained on. Such files mostly come from DICOM with x towards the
# left and y towards the back; nibabel's reorienting reader turns all to right, front and head.
ORIENTATIONS: Final = {"NibabelIOWithReorient": "HAR"}
USUAL_ORIENTATION: Final = "HPL"
OWN_NETWORK: Final = re.compile(r"dynamic_network_architectures\.architectures\.\w+\.[A-Z]\w*")
TORCH_LAYER: Final = re.compile(r"torch\.nn\.(modules\.\w+\.)?[A-Z]\w*")
PRIMUS: Final = "nnunetv2.training.nnUNetTrainer.primus.primus_trainers"
ONLY_WEIGHTS: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@dataclass(frozen=True, kw_only=True, eq=False)
class NnUNetModel:
    """A trained nnU-Net that is ready to run; see `inference.tissue_model.TissueModel`.

    Attributes
    ----------
    manifest
        What it is and what it expects.
    predictor
        nnU-Net's own, with the weights of all folds.
    rules
        How tissues follow from its outputs.
    orientation
        Where the axes of its arrays run to, unless the manifest says otherwise.
    threads
        Processor threads the network may use; None: one per core.
    """

    manifest: NnUNetManifest
    predictor: Any
    rules: tuple[TissueRule, ...]
    orientation: str
    threads: int | None = None

    def tissue_probabilities(self, channels: Mapping[str, Volume], brain: Volume) -> dict[Tissue, Volume]:
        """Return the probability of each tissue that the model knows; see `TissueModel`."""
        given = model_images(channels, brain, self.manifest, orientation=self.orientation)
        properties = {"spacing": [float(step) for step in given.grid.spacing]}
        with torch_threads(self.threads), redirect_stdout(sys.stderr):
            _, outputs = self.predictor.predict_single_npy_array(
                given.images, properties, save_or_return_probabilities=True
            )
        return to_study_grid(apply_rules(self.rules, np.asarray(outputs, np.float32)), given.grid, brain)


def load_nnunet(manifest: NnUNetManifest, *, threads: int | None = None) -> NnUNetModel:
    """Open a results folder.

    Parameters
    ----------
    manifest
        Names the folder, its channels and labels.
    threads
        Processor threads it may use; None: one per core.

    Raises
    ------
    PluginError
        If nnU-Net is not installed, files are missing or changed, or folder and manifest do not belong together.
    """
    if find_spec("nnunetv2") is None:
        raise PluginError(
            f"{manifest.name} is an nnU-Net, and nnU-Net is not installed: pip install 'brainmets-dicom-node[nnunet]'"
        )
    manifest = verified(manifest)
    dataset, plans = (_read_json(manifest, name) for name in ("dataset.json", "plans.json"))
    _check_channels(manifest, dataset)
    _check_networks(manifest, plans)
    names, exclusive = _label_names(dataset)
    rules = tissue_rules(label_outputs(manifest, names), exclusive=exclusive)
    return NnUNetModel(
        manifest=manifest,
        predictor=_open(manifest),
        rules=rules,
        orientation=ORIENTATIONS.get(plans.get("image_reader_writer", ""), USUAL_ORIENTATION),
        threads=threads,
    )


def _open(manifest: NnUNetManifest) -> Any:
    """Return nnU-Net's predictor with the weights of all folds."""
    import torch  # late: both take seconds to load, and reading a manifest needs neither

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with redirect_stdout(sys.stderr), _only_weights(), _primus_optional():
            nnunet = import_module("nnunetv2.inference.predict_from_raw_data")  # optional, and without type information
            predictor = nnunet.nnUNetPredictor(
                use_mirroring=manifest.mirroring,
                perform_everything_on_device=device.type == "cuda",
                device=device,
                allow_tqdm=False,
            )
            predictor.initialize_from_trained_model_folder(
                str(manifest.folder), manifest.used_folds(), manifest.checkpoint
            )
    except UnpicklingError as error:
        raise PluginError(
            f"a {manifest.checkpoint} of {manifest.name} is damaged, or holds objects beside weights and plain values, "
            "which could run code: train with nnU-Net itself, or name another checkpoint"
        ) from error
    except (RuntimeError, LookupError, OSError, EOFError, ImportError) as error:
        reason = str(error) or type(error).__name__
        raise PluginError(f"nnU-Net cannot open {manifest.folder} ({reason}): restore the folder") from error
    if predictor.configuration_manager.previous_stage_name is not None:
        raise PluginError(f"{manifest.name} is the second stage of a cascade: name a folder that stands alone")
    return predictor


@contextmanager
def _primus_optional() -> Iterator[None]:
    """Let nnU-Net look for trainers where timm is absent: it imports one after another, and those of Primus need timm.

    An entry of None makes Python report a module as missing, and nnU-Net passes over trainers that are missing.
    """
    if find_spec("timm") is not None or PRIMUS in sys.modules:
        yield
        return
    sys.modules[PRIMUS] = None  # type: ignore[assignment]  # documented, but the annotation says otherwise
    try:
        yield
    finally:
        del sys.modules[PRIMUS]


@contextmanager
def _only_weights() -> Iterator[None]:
    """Make torch read weights and plain values only, also where nnU-Net asks it for more."""
    from inference.networks.checkpoints import numpy_scalars_allowed  # late: loads torch

    before = os.environ.get(ONLY_WEIGHTS)
    os.environ[ONLY_WEIGHTS] = "1"
    try:
        with numpy_scalars_allowed():
            yield
    finally:
        if before is None:
            del os.environ[ONLY_WEIGHTS]
        else:
            os.environ[ONLY_WEIGHTS] = before


def _read_json(manifest: NnUNetManifest, name: str) -> dict[str, Any]:
    path = manifest.folder / name
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PluginError(f"{path} is no valid JSON ({error}): restore the file") from error
    return content


def _check_channels(manifest: NnUNetManifest, dataset: Mapping[str, Any]) -> None:
    names = list(dataset.get("channel_names", dataset.get("modality", {})).values())
    if len(names) != len(manifest.channels):
        raise PluginError(
            f"{manifest.name} was trained on {len(names)} channels ({', '.join(names)}), its manifest names "
            f"{len(manifest.channels)}: name the source of each, in this order"
        )


def _check_networks(manifest: NnUNetManifest, plans: Mapping[str, Any]) -> None:
    """Refuse what is not of nnU-Net's or torch's library: nnU-Net would import and call whatever the plans name."""
    for configuration in plans.get("configurations", {}).values():
        architecture = configuration.get("architecture", {})
        arguments = architecture.get("arch_kwargs", {})
        layers = [arguments[key] for key in architecture.get("_kw_requires_import", []) if arguments.get(key)]
        network = architecture.get("network_class_name")
        strange = [name for name in layers if not TORCH_LAYER.fullmatch(name)]
        strange += [network] if network and not OWN_NETWORK.fullmatch(network) else []
        if strange and not manifest.trusted:
            raise PluginError(
                f"the plans of {manifest.name} name {strange[0]}, which is code of neither nnU-Net nor torch: add "
                "trusted = true to its manifest if you trust it"
            )


def _label_names(dataset: Mapping[str, Any]) -> tuple[dict[str, int], bool]:
    """Return the outputs by label without the background, and whether they exclude each other."""
    labels = {name: value for name, value in dataset.get("labels", {}).items() if name != "ignore"}
    if any(isinstance(value, list) and len(value) > 1 for value in labels.values()):
        regions = [name for name, value in labels.items() if value not in (0, [0])]
        return {name: output for output, name in enumerate(regions)}, False
    values = {name: value[0] if isinstance(value, list) else value for name, value in labels.items()}
    return {name: value for name, value in values.items() if value != 0}, True
