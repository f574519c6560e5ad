"""A plug-in is what its manifest says: which folder, which channels in which order, which label is which tissue."""

import hashlib
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from inference.labels import TISSUES_OF_LABEL
from inference.manifest import check_point, hint_for
from inference.weights import WeightsError
from tracking.timepoint import Tissue

Source = Literal["T1c", "T1", "T2", "FLAIR", "subtraction", "prior_mask"]
AXES: Final = {"R": 0, "L": 0, "A": 1, "P": 1, "H": 2, "F": 2}
WORDS: Final[dict[str, tuple[Tissue, ...]]] = TISSUES_OF_LABEL | {"background": ()}


class PluginError(WeightsError):
    """A plug-in or its manifest cannot be used."""


def _tissues(value: object) -> object:
    """Turn a label's meaning in a manifest, one word or a list of words, into the tissues it stands for."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or any(isinstance(word, Tissue) for word in words):
        return value
    if unknown := [word for word in words if word not in WORDS]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(WORDS)}")
    return tuple(sorted({tissue for word in words for tissue in WORDS[word]}))


Meaning = Annotated[tuple[Tissue, ...], BeforeValidator(_tissues)]


@dataclass(frozen=True, kw_only=True)
class PluginManifest(ABC):
    """What a plug-in is and what it expects.

    Attributes
    ----------
    name, version
        Shown in SEG, SR and reports.
    folder
        Where the model lies; relative to the manifest.
    channels
        Sources of the input channels in the model's order.
    labels
        Tissues by the model's label (its name, or its number): ``enhancing``, ``necrosis``, ``edema``, ``lesion``
        (enhancing and necrosis, not told apart), ``background``, or a list of them where the model has regions, such as
        ``["lesion", "edema"]`` for the whole tumour. Each label but the background is named.
    training_data, licence
        For the report and the model card.
    optional_channels
        Those that are zeros where a study has not got them; the model was trained for that.
    threshold, least_confidence, minimum_volume_mm3
        What counts as a lesion; see `inference.manifest.Manifest`.
    sha256
        Checksum of the model's files, see `checksum`; empty: whatever lies in the folder is used. A plug-in that has
        been opened knows its checksum always.
    orientation
        Where the axes of the model's arrays run to, three of the letters L, R, A, P, H, F. None: as usual, ``"HPL"``
        for nnU-Net (``"HAR"`` if its plans name the reorienting reader), ``"RAH"`` for bundles. Of the files that a
        model was trained on, those of dcm2niix mostly run ``"HAL"`` to nnU-Net and ``"LAH"`` to a bundle.
    spacing_mm
        Edge of cubic voxels that the images are brought to first; None: the model does that itself.
    skull_stripped
        The model was trained on images that are 0 outside the brain.
    trusted
        The person who wrote the manifest trusts the folder as they trust a program; see `monai_bundle` and `nnunet`.
    """

    name: str
    version: str
    folder: Path
    channels: tuple[Source, ...]
    labels: Mapping[str, Meaning]
    training_data: str
    licence: str
    optional_channels: tuple[Source, ...] = ()
    threshold: float = 0.5
    least_confidence: float = 0.0
    minimum_volume_mm3: float = 0.0
    sha256: str = ""
    orientation: str | None = None
    spacing_mm: float | None = None
    skull_stripped: bool = False
    trusted: bool = False

    kind: ClassVar[str]
    # Nothing is known of how its probabilities lie: the highest one counts.
    confidence: ClassVar[None] = None
    remembers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_point(self.threshold, self.least_confidence)
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels must name each source once, not {list(self.channels)}")
        if strange := sorted(set(self.optional_channels) - set(self.channels)):
            raise ValueError(f"optional_channels names {strange[0]!r}, which is no channel of this model")
        if not any(self.labels.values()):
            raise ValueError("labels must name at least one tissue")
        if self.orientation is not None and not _is_orientation(self.orientation):
            raise ValueError(f"orientation must be three directions such as 'HPL' or 'RAH', not {self.orientation!r}")
        if self.spacing_mm is not None and self.spacing_mm <= 0:
            raise ValueError(f"spacing_mm must be more than 0, not {self.spacing_mm}")

    @abstractmethod
    def files(self) -> list[Path]:
        """Return the files that decide what the model does, sorted."""


@dataclass(frozen=True, kw_only=True)
class NnUNetManifest(PluginManifest):
    """A results folder of nnU-Net v2: what its training left, with ``plans.json``, ``dataset.json`` and ``fold_…``.

    Attributes
    ----------
    folds
        Members of the ensemble, numbers or ``"all"``; none: every numbered fold with a checkpoint.
    checkpoint
        File name within each fold.
    mirroring
        Average over mirrored images, as nnU-Net does: better, and eight times slower.
    """

    folds: tuple[int | Literal["all"], ...] = ()
    checkpoint: str = "checkpoint_final.pth"
    mirroring: bool = True

    kind: ClassVar[str] = "nnunet"

    def used_folds(self) -> tuple[int | str, ...]:
        """Return the folds that are used."""
        if self.folds:
            return self.folds
        found = [path.parent.name.removeprefix("fold_") for path in self.folder.glob(f"fold_*/{self.checkpoint}")]
        return tuple(sorted(int(name) for name in found if name.isdigit()))

    def files(self) -> list[Path]:
        """Return plans, data set description and checkpoints."""
        weights = [self.folder / f"fold_{fold}" / self.checkpoint for fold in self.used_folds()]
        if not weights:
            raise PluginError(
                f"no fold_N/{self.checkpoint} in {self.folder}: name the results folder of one trainer and "
                "configuration, such as nnUNetTrainer__nnUNetPlans__3d_fullres"
            )
        return sorted([self.folder / "plans.json", self.folder / "dataset.json", *weights])


@dataclass(frozen=True, kw_only=True)
class BundleManifest(PluginManifest):
    """A MONAI bundle: a folder with ``configs`` and ``models``.

    Attributes
    ----------
    activation
        What turns the network's output into probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` where the
        network does so itself.
    checkpoint
        The weights' file within the folder.
    configuration
        The configuration's file within the folder, JSON or YAML.
    input_keys
        Under which keys the bundle's preprocessing takes the images: one key for all channels together, or one for
        each. What it hands to the network is called ``image``.
    """

    activation: Literal["softmax", "sigmoid", "none"]
    checkpoint: str = "models/model.pt"
    configuration: str = "configs/inference.json"
    input_keys: tuple[str, ...] = ("image",)

    kind: ClassVar[str] = "monai_bundle"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.input_keys) not in {1, len(self.channels)}:
            raise ValueError(f"input_keys must be one key or one for each channel, not {list(self.input_keys)}")

    def files(self) -> list[Path]:
        """Return weights, configurations and scripts."""
        code = [path for path in self.folder.rglob("*") if path.suffix in {".json", ".yaml", ".yml", ".py"}]
        return sorted({*code, self.folder / self.checkpoint, self.folder / self.configuration})


KINDS: Final[dict[str, type[NnUNetManifest] | type[BundleManifest]]] = {
    "nnunet": NnUNetManifest,
    "monai_bundle": BundleManifest,
}
AnyManifest = TypeVar("AnyManifest", bound=PluginManifest)


def read_plugin_manifest(path: Path) -> NnUNetManifest | BundleManifest:
    """Read a plug-in's manifest: TOML, ``kind`` (``"nnunet"`` or ``"monai_bundle"``) and one key per field.

    Raises
    ------
    PluginError
        If the file is missing, no TOML, lacks a key, has an unknown one or a value that cannot be.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PluginError(f"no plug-in manifest at {path}: {error.strerror}; name another file") from error
    except tomllib.TOMLDecodeError as error:
        raise PluginError(f"the plug-in manifest {path} is no valid TOML: {error}") from error
    kind = content.pop("kind", None)
    if kind not in KINDS:
        raise PluginError(f"the plug-in manifest {path} has kind {kind!r}: choose one of {', '.join(KINDS)}")
    if unknown := sorted(set(content) - {field.name for field in fields(KINDS[kind])}):
        raise PluginError(
            f"the plug-in manifest {path} has keys that {kind} has not: {', '.join(unknown)}{hint_for(unknown)}"
        )
    try:
        manifest: NnUNetManifest | BundleManifest = TypeAdapter(KINDS[kind]).validate_python(content)
    except ValidationError as error:
        raise PluginError(f"the plug-in manifest {path} is not usable: {_problems(error)}") from error
    return replace(manifest, folder=path.parent / manifest.folder)


def verified(manifest: AnyManifest) -> AnyManifest:
    """Check that a plug-in's files are there and are those its manifest means; nothing is loaded.

    Returns
    -------
    PluginManifest
        The same with the checksum of the files.

    Raises
    ------
    PluginError
        If a file is missing or the checksum is not the manifest's.
    """
    files = manifest.files()
    if missing := [path for path in files if not path.is_file()]:
        raise PluginError(f"{manifest.name} lacks {missing[0]}: restore the file or correct its manifest")
    found = checksum(files, manifest.folder)
    if manifest.sha256 and found != manifest.sha256:
        raise PluginError(
            f"the files of {manifest.name} in {manifest.folder} have checksum {found}, the manifest wants "
            f"{manifest.sha256}: a file is damaged or of another version; restore it, or change sha256 if that is meant"
        )
    return replace(manifest, sha256=found)


def checksum(files: Iterable[Path], folder: Path) -> str:
    """Return one checksum for several files, the same as ``sha256sum FILE … | sha256sum`` gives within the folder."""
    lines = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.update(f"{digest}  {path.relative_to(folder).as_posix()}\n".encode())
    return lines.hexdigest()


def label_outputs(manifest: PluginManifest, names: Mapping[str, int]) -> dict[int, tuple[Tissue, ...]]:
    """Find a model's outputs for the labels in its manifest.

    Parameters
    ----------
    names
        Output by label, as the model's own files name them, without the background. A manifest may name a label by
        the number of its output too.

    Returns
    -------
    dict
        Tissues by output.

    Raises
    ------
    PluginError
        If the manifest names a label that the model has not, or leaves one of the model's out.
    """
    outputs = {label: names.get(label, int(label) if label.isdigit() else -1) for label in manifest.labels}
    for label, output in outputs.items():
        if label != "background" and output not in names.values():
            raise PluginError(
                f"{manifest.name} has no label {label!r} (it has {', '.join(names)}): correct its manifest's labels"
            )
    for label, output in names.items():
        if output not in outputs.values():
            raise PluginError(
                f"the manifest of {manifest.name} does not say what its label {label!r} is: add it to labels, as "
                "'background' if it is no tumour"
            )
    return {outputs[label]: tissues for label, tissues in manifest.labels.items() if label != "background"}


def _is_orientation(letters: str) -> bool:
    """Tell whether each of the patient's three axes is named once."""
    return sorted(AXES.get(letter, -1) for letter in letters) == [0, 1, 2]


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {_lowered(e)}".removeprefix(": ") for e in error.errors())


def _lowered(problem: Any) -> str:
    message: str = problem["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
