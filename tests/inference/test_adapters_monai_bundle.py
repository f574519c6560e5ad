"""MONAI bundles: written as the model zoo lays them out, with weights whose answer is known, opened as a user would.

Bundles of the model zoo are not tested: their weights do not come with this package.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.adapters.manifest import PluginError
from inference.adapters.plugins import load_plugin, verify_plugin
from tests.inference.test_adapters_channels import SITES, SOURCES, on_grid, study
from tracking.timepoint import Tissue

# MONAI speaks of readers that this project does not use, and of its own past.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodec", "ignore:.*Orientationd:FutureWarning")
NORMALISE = {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}


def convolution(weight: NDArray[np.float32], bias: Sequence[float]) -> dict[str, torch.Tensor]:
    """A state_dict of the bundle's network: one convolution of 3 × 3 × 3."""
    return {"weight": torch.from_numpy(weight), "bias": torch.tensor(bias)}


def thresholding(thresholds: Sequence[float], *, shift: tuple[int, int, int] = (0, 0, 0)) -> dict[str, torch.Tensor]:
    """Output n (from 1) is a steep function of channel n - 1, which passes 0 at its threshold."""
    weight = np.zeros((len(thresholds) + 1, len(thresholds), 3, 3, 3), np.float32)
    for channel, threshold in enumerate(thresholds):
        weight[channel + 1, channel, 1 - shift[0], 1 - shift[1], 1 - shift[2]] = 20 / threshold
    return convolution(weight, [0.0] + [-20.0] * len(thresholds))


def bundle(
    root: Path,
    weights: dict[str, Any],
    *,
    preprocessing: Sequence[dict[str, Any]] = (),
    labels: Sequence[str] = ("background", "enhancing", "necrosis", "edema"),
    **other: Any,
) -> Path:
    """Write a bundle with one convolution as its network."""
    state = weights.get("model", weights)
    outputs, inputs = state["weight"].shape[:2]
    configuration = {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "dataset_dir": "/nowhere",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "torch.nn.Conv3d",
            "in_channels": inputs,
            "out_channels": outputs,
            "kernel_size": 3,
            "padding": 1,
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                *preprocessing,
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": [16, 16, 16],
            "sw_batch_size": 2,
            "overlap": 0.5,
            "mode": "gaussian",
        },
        "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device", "network": "@network"},
        "run": ["$@evaluator.run()"],
    } | other
    definition = {str(index): label for index, label in enumerate(labels)}
    metadata = {"version": "0.1.0", "network_data_format": {"outputs": {"pred": {"channel_def": definition}}}}
    for name, content in (("inference", configuration), ("metadata", metadata)):
        path = root / "configs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (root / "models").mkdir(exist_ok=True)
    torch.save(weights, root / "models" / "model.pt")
    return root


LABELS = 'enhancing = "enhancing"\nnecrosis = "necrosis"\nedema = "edema"\n'


def write_manifest(
    folder: Path,
    lines: str = "",
    *,
    labels: str = LABELS,
    channels: Sequence[str] = SOURCES,
    activation: str = "sigmoid",
    trusted: bool = True,
) -> Path:
    path = folder.parent / "plugin.toml"
    path.write_text(
        'kind = "monai_bundle"\nname = "test"\nversion = "1"\ntraining_data = "none"\nlicence = "none"\n'
        f'folder = "{folder.name}"\nactivation = "{activation}"\nchannels = {list(channels)}\n'
        f"trusted = {str(trusted).lower()}\n{lines}\n[labels]\n{labels}"
    )
    return path


@pytest.fixture
def resegmenter(tmp_path: Path) -> Path:
    """A bundle with T1c, subtraction and prior mask in, one tissue out of each."""
    return bundle(tmp_path / "bundle", thresholding((200, 25, 0.5)))


@pytest.mark.parametrize("stored", ["HPL", "FAR", "RAH", "PHL"])
def test_every_channel_reaches_its_tissue_on_the_studys_own_grid(resegmenter: Path, stored: str) -> None:
    channels, brain = study(stored=stored)
    found = load_plugin(write_manifest(resegmenter), threads=1).tissue_probabilities(channels, brain)
    assert set(found) == {Tissue.ENHANCING, Tissue.NECROSIS, Tissue.EDEMA}
    for tissue, source in zip(found, SOURCES, strict=True):
        assert found[tissue].geometry_equal(brain)
        assert found[tissue].array.dtype == np.float32
        expected = on_grid(SITES[source], stored=stored).array
        np.testing.assert_array_equal(found[tissue].array > 0.5, expected, err_msg=source)


@pytest.mark.parametrize(
    ("preprocessing", "line", "shift"),
    [
        ([], "", (-1, 0, 0)),  # R, A, H: a step towards the right is one down from the left
        ([{"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"}], "", (1, 0, 0)),
        ([], 'orientation = "LPH"', (1, 0, 0)),
        ([{"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}], 'orientation = "LPH"', (-1, 0, 0)),
        ([{"_target_": "Orientationd", "keys": "image", "axcodes": "SPL"}], "", (0, 0, 1)),
    ],
)
@pytest.mark.parametrize("stored", ["HPL", "FAR"])
def test_the_network_sees_the_orientation_that_bundle_or_manifest_name(
    tmp_path: Path, stored: str, preprocessing: list[dict[str, Any]], line: str, shift: tuple[int, int, int]
) -> None:
    """The network moves the image by one voxel along its own axes; here that is always towards the left."""
    folder = bundle(
        tmp_path / "bundle",
        thresholding((200,), shift=shift),
        preprocessing=preprocessing,
        labels=("background", "enhancing"),
    )
    path = write_manifest(folder, line, labels='enhancing = "enhancing"', channels=["T1c"])
    channels, brain = study(stored=stored)
    found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)[Tissue.ENHANCING]
    expected = on_grid(np.roll(SITES["T1c"], 1, axis=2), stored=stored)
    np.testing.assert_array_equal(found.array > 0.5, expected.array)


SPACING = {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.0, 1.0], "mode": "bilinear"}
CROPPING = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "margin": 2}


@pytest.mark.parametrize(
    ("preprocessing", "line"),
    [
        ([{"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}, SPACING], ""),
        ([SPACING, CROPPING, {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [64, 64, 64]}], ""),
        ([], "spacing_mm = 1.0"),
    ],
    ids=["bundle's spacing", "cropped and padded", "manifest's spacing"],
)
def test_answers_on_another_grid_come_back_in_place(
    tmp_path: Path, preprocessing: list[dict[str, Any]], line: str
) -> None:
    folder = bundle(
        tmp_path / "bundle", thresholding((0.5,)), preprocessing=preprocessing, labels=("background", "lesion")
    )
    path = write_manifest(folder, line, labels='lesion = "lesion"', channels=["prior_mask"])
    channels, brain = study(stored="FAR")
    found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)[Tissue.ENHANCING]
    assert found.geometry_equal(brain)
    lesion, expected = found.array > 0.5, channels["prior_mask"].array > 0.5
    assert 2 * (lesion & expected).sum() / (lesion.sum() + expected.sum()) > 0.85
    np.testing.assert_allclose(np.argwhere(lesion).mean(0), np.argwhere(expected).mean(0), atol=0.5)


def test_the_bundles_preprocessing_is_run(tmp_path: Path) -> None:
    """Normalised, the site is more than two standard deviations above the mean, and nothing else is."""
    folder = bundle(tmp_path / "bundle", thresholding((2,)), preprocessing=[NORMALISE], labels=("background", "lesion"))
    channels, brain = study()
    path = write_manifest(folder, labels='lesion = "lesion"', channels=["T1c"])
    found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)[Tissue.ENHANCING]
    np.testing.assert_array_equal(found.array > 0.5, SITES["T1c"])


def test_channels_under_keys_of_their_own(tmp_path: Path) -> None:
    concatenation = {"_target_": "ConcatItemsd", "keys": ["mask", "t1c"], "name": "image"}
    folder = bundle(
        tmp_path / "bundle",
        thresholding((0.5, 200)),
        preprocessing=[{"_target_": "ScaleIntensityd", "keys": "mask", "minv": 0.0, "maxv": 1.0}, concatenation],
        labels=("background", "edema", "lesion"),
    )
    labels = 'edema = "edema"\nlesion = "lesion"'
    lines = 'input_keys = ["t1c", "mask"]'
    path = write_manifest(folder, lines, labels=labels, channels=["T1c", "prior_mask"])
    channels, brain = study()
    found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)
    np.testing.assert_array_equal(found[Tissue.ENHANCING].array > 0.5, SITES["T1c"])
    np.testing.assert_array_equal(found[Tissue.EDEMA].array > 0.5, SITES["prior_mask"])


@pytest.mark.parametrize(
    ("activation", "bias", "expected"),
    [
        ("softmax", [0.0, 1.0, 2.0], [0.2447, 0.6652]),
        ("sigmoid", [0.0, 1.0, 2.0], [0.7311, 0.8808]),
        ("none", [0.0, 0.25, 0.5], [0.25, 0.5]),
    ],
)
def test_activation(tmp_path: Path, activation: str, bias: list[float], expected: list[float]) -> None:
    folder = bundle(
        tmp_path / "bundle",
        convolution(np.zeros((3, 1, 3, 3, 3), np.float32), bias),
        labels=("Background", "enhancing", "edema"),
    )
    labels = 'enhancing = "enhancing"\n2 = "edema"'
    path = write_manifest(folder, labels=labels, channels=["T1c"], activation=activation)
    channels, brain = study()
    found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)
    assert [float(volume.array.mean()) for volume in found.values()] == pytest.approx(expected, abs=1e-4)


def test_weights_as_monais_trainer_saves_them(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle", {"model": thresholding((200, 25, 0.5)), "epoch": 7})
    found = load_plugin(write_manifest(folder), threads=1).tissue_probabilities(*study())
    np.testing.assert_array_equal(found[Tissue.NECROSIS].array > 0.5, SITES["subtraction"])


def test_configuration_in_yaml_with_a_script_beside_it_and_no_metadata(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle", thresholding((200,)))
    for name in ("inference.json", "metadata.json"):
        (folder / "configs" / name).unlink()
    (folder / "plugin_scripts.py").write_text(
        "from torch import nn\n\n\ndef make(channels):\n    return nn.Conv3d(channels, 2, 3, padding=1)\n"
    )
    (folder / "channels.txt").write_text("1")
    (folder / "configs" / "inference.yaml").write_text(
        "network_def:\n  _target_: plugin_scripts.make\n  channels: $int(open(@bundle_root + '/channels.txt').read())\n"
        "inferer:\n  _target_: SimpleInferer\n"
    )
    lines = 'configuration = "configs/inference.yaml"'
    path = write_manifest(folder, lines, labels='1 = "lesion"', channels=["T1c"])
    found = load_plugin(path, threads=1).tissue_probabilities(*study())
    np.testing.assert_array_equal(found[Tissue.ENHANCING].array > 0.5, SITES["T1c"])
    assert str(folder) not in sys.path


def test_nothing_runs_without_trust(tmp_path: Path, resegmenter: Path) -> None:
    bundle(
        resegmenter,
        thresholding((200, 25, 0.5)),
        inferer=f"$__import__('pathlib').Path('{tmp_path}/intruded').touch()",
    )
    path = write_manifest(resegmenter, trusted=False)
    with pytest.raises(PluginError, match="add trusted = true to the manifest if you trust it"):
        load_plugin(path)
    verify_plugin(path)
    assert not (tmp_path / "intruded").exists()


def test_trust_holds_for_these_files_only(resegmenter: Path) -> None:
    found = verify_plugin(write_manifest(resegmenter)).sha256
    path = write_manifest(resegmenter, f'sha256 = "{found}"')
    assert load_plugin(path).manifest.sha256 == found
    configuration = resegmenter / "configs" / "inference.json"
    configuration.write_text(configuration.read_text() + " ")
    with pytest.raises(PluginError, match=f"the manifest wants {found}"):
        load_plugin(path)


class Intruder:
    """Would write a file if it were unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_the_weights_is_not_run(tmp_path: Path, resegmenter: Path) -> None:
    torch.save({"model": thresholding((1, 1, 1)), "extra": Intruder(tmp_path / "intruded")}, tmp_path / "bad.pt")
    (tmp_path / "bad.pt").replace(resegmenter / "models" / "model.pt")
    with pytest.raises(PluginError, match="which could run code"):
        load_plugin(write_manifest(resegmenter))
    assert not (tmp_path / "intruded").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network_def": {"_target_": "NoSuchNet"}}, "the configuration of test fails: .*NoSuchNet"),
        ({"inferer": "$undefined_name"}, "the configuration of test fails"),
        ({"network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 3, "out_channels": 4, "kernel_size": 1}},
         "weight .* instead of"),
    ],
)  # fmt: skip
def test_configuration_that_fails_says_how(resegmenter: Path, change: dict[str, Any], message: str) -> None:
    bundle(resegmenter, thresholding((200, 25, 0.5)), **change)
    with pytest.raises(PluginError, match=message):
        load_plugin(write_manifest(resegmenter))


def test_bundle_without_an_inferer_is_refused(resegmenter: Path) -> None:
    path = resegmenter / "configs" / "inference.json"
    content = json.loads(path.read_text())
    del content["inferer"]
    path.write_text(json.dumps(content))
    with pytest.raises(PluginError, match="has no 'inferer'"):
        load_plugin(write_manifest(resegmenter))
    path.write_text("{")
    with pytest.raises(PluginError, match="the configuration of test fails"):
        load_plugin(write_manifest(resegmenter))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 3, "out_channels": 4, "kernel_size": 3}},
         "only bundles that segment at the resolution of their input"),
        ({"preprocessing": [{"_target_": "DeleteItemsd", "keys": "image"}]},
         "gives no 'image' with its place in space"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_placed_are_refused(resegmenter: Path, change: dict[str, Any], message: str) -> None:
    bundle(resegmenter, thresholding((200, 25, 0.5)), **change, inferer={"_target_": "SimpleInferer"})
    with pytest.raises(PluginError, match=message):
        load_plugin(write_manifest(resegmenter), threads=1).tissue_probabilities(*study())


def test_labels_beyond_the_networks_outputs_are_refused(resegmenter: Path) -> None:
    (resegmenter / "configs" / "metadata.json").unlink()
    with pytest.raises(PluginError, match="has 4 outputs, but the manifest's labels need 8"):
        load_plugin(write_manifest(resegmenter, labels='7 = "lesion"')).tissue_probabilities(*study())


def test_label_that_the_bundle_names_must_be_mapped(resegmenter: Path) -> None:
    with pytest.raises(PluginError, match="does not say what its label 'edema' is"):
        load_plugin(write_manifest(resegmenter, labels='enhancing = "enhancing"\nnecrosis = "necrosis"'))
