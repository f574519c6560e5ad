"""nnU-Net results folders: made by nnU-Net's own trainer, with weights whose answer is known, opened as a user would.

How well any trained nnU-Net segments is not tested here: none comes with this package.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.adapters.manifest import PluginError
from inference.adapters.plugins import load_plugin
from tests.inference.test_adapters_channels import SITES, SOURCES, on_grid, study
from tracking.timepoint import Tissue

pytest.importorskip("nnunetv2", reason="an optional extra: pip install 'brainmets-dicom-node[nnunet]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # nnU-Net and what it needs warn of their own futures

Network = Any  # nnU-Net's PlainConvUNet, which has no type information
Weights = Callable[[Network], None]
CLASSES = {"background": 0, "enhancing": 1, "necrosis": 2, "edema": 3}


def plans(channels: int, *, spacing: Sequence[float], transpose: Sequence[int] = (0, 1, 2)) -> dict[str, Any]:
    """What nnU-Net's planner writes, for a network of two stages without normalisation."""
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": "Dataset001_Mets",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": [list(transpose).index(axis) for axis in range(3)],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(channels)},
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [8, 16, 16],
                "spacing": [spacing[axis] for axis in transpose],
                "normalization_schemes": ["NoNormalization"] * channels,
                "use_mask_for_norm": [False] * channels,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": resampling | {"is_seg": True},
                "resampling_fn_probabilities_kwargs": resampling,
                "batch_dice": True,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": 2,
                        "features_per_stage": [4, 4],
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                        "strides": [[1, 1, 1], [2, 2, 2]],
                        "n_conv_per_stage": [1, 1],
                        "n_conv_per_stage_decoder": [1],
                        "conv_bias": True,
                        "norm_op": None,
                        "norm_op_kwargs": {},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def with_first_stage(planned: dict[str, Any]) -> dict[str, Any]:
    stages = planned["configurations"]
    stages["3d_lowres"] = dict(stages["3d_fullres"])
    stages["3d_fullres"]["previous_stage"] = "3d_lowres"
    return planned


def results_folder(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    channels: Sequence[str],
    folds: Mapping[int, Weights],
    labels: Mapping[str, Any] = CLASSES,
    planned: dict[str, Any] | None = None,
    trainer_name: str = "nnUNetTrainer",
) -> Path:
    """Let nnU-Net's trainer write checkpoints of networks with the given weights."""
    trainers = import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer")

    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(root / name))
    planned = planned or plans(len(channels), spacing=(3.0, 0.8, 1.0))
    cases = root / "preprocessed" / "Dataset001_Mets" / "nnUNetPlans_3d_fullres"
    cases.mkdir(parents=True, exist_ok=True)
    (cases / "case.b2nd").touch()
    dataset = {
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": dict(labels),
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    if any(isinstance(value, list) for value in labels.values()):
        dataset["regions_class_order"] = list(range(1, len(labels)))
    for fold, weights in folds.items():
        trainer = trainers.nnUNetTrainer(
            planned | {"continue_training": False}, "3d_fullres", fold, dataset, torch.device("cpu")
        )
        trainer.initialize()
        trainer.logger.log("mean_fg_dice", np.float32(0.5), 0)
        trainer._best_ema = np.float64(0.5)
        trainer.inference_allowed_mirroring_axes = (0, 1, 2)
        with torch.no_grad():
            for parameter in trainer.network.parameters():
                parameter.zero_()
            weights(trainer.network)
        path = Path(trainer.output_folder) / "checkpoint_final.pth"
        trainer.save_checkpoint(str(path))
        torch.save(torch.load(path, weights_only=False) | {"trainer_name": trainer_name}, path)
    folder = Path(trainer.output_folder).parent
    (folder / "plans.json").write_text(json.dumps(planned))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


def passing(network: Network, *, shift: tuple[int, int, int] = (0, 0, 0)) -> Tensor:
    """Hand every channel on to the last layer, moved by some voxels; return that layer's weights to be set."""
    first = network.encoder.stages[0][0].convs[0].conv.weight
    second = network.decoder.stages[0].convs[0].conv.weight
    for channel in range(first.shape[1]):
        first[channel, channel, 1 - shift[0], 1 - shift[1], 1 - shift[2]] = 1
    for feature in range(4):  # the first four are those that come up from below
        second[feature, 4 + feature, 1, 1, 1] = 1
    last: Tensor = network.decoder.seg_layers[-1].weight
    return last


def thresholding(thresholds: Sequence[float], shift: tuple[int, int, int] = (0, 0, 0)) -> Weights:
    """Output n (from 1) is a steep function of channel n - 1, which passes 0 at its threshold."""

    def set_weights(network: Network) -> None:
        last = passing(network, shift=shift)
        outputs = range(len(last) - len(thresholds), len(last))
        for channel, (output, threshold) in enumerate(zip(outputs, thresholds, strict=True)):
            last[output, channel] = 20 / threshold
            network.decoder.seg_layers[-1].bias[output] = -20

    return set_weights


def constant(*logits: float) -> Weights:
    def set_weights(network: Network) -> None:
        network.decoder.seg_layers[-1].bias.copy_(torch.tensor(logits))

    return set_weights


def write_manifest(folder: Path, lines: str, labels: str) -> Path:
    path = folder.parent / "plugin.toml"
    common = 'kind = "nnunet"\nname = "test"\nversion = "1"\ntraining_data = "none"\nlicence = "none"\n'
    path.write_text(f'{common}folder = "{folder.name}"\n{lines}\n[labels]\n{labels}')
    return path


CLASS_LABELS = 'enhancing = "enhancing"\nnecrosis = "necrosis"\nedema = "edema"\n'


@pytest.fixture
def resegmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with T1c, subtraction and prior mask in, one tissue out of each; its manifest."""
    folder = results_folder(tmp_path, monkeypatch, channels=SOURCES, folds={0: thresholding((200, 25, 0.5))})
    return write_manifest(folder, f"channels = {list(SOURCES)}\nmirroring = false", CLASS_LABELS)


@pytest.mark.parametrize("stored", ["HPL", "FAR", "RAH", "PHL"])
def test_every_channel_reaches_its_tissue_on_the_studys_own_grid(resegmenter: Path, stored: str) -> None:
    channels, brain = study(stored=stored)
    found = load_plugin(resegmenter, threads=1).tissue_probabilities(channels, brain)
    assert set(found) == {Tissue.ENHANCING, Tissue.NECROSIS, Tissue.EDEMA}
    for tissue, source in zip(found, SOURCES, strict=True):
        assert found[tissue].geometry_equal(brain)
        assert found[tissue].array.dtype == np.float32
        expected = on_grid(SITES[source], stored=stored).array
        np.testing.assert_array_equal(found[tissue].array > 0.5, expected, err_msg=source)
        assert found[tissue].array.max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("stored", ["HPL", "FAR", "LPH"])
@pytest.mark.parametrize(
    ("shift", "transpose"), [((1, 0, 0), (0, 1, 2)), ((0, 1, 0), (1, 0, 2)), ((0, 0, 1), (0, 1, 2))]
)
def test_the_network_sees_head_back_and_left_however_the_study_is_stored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: str,
    shift: tuple[int, int, int],
    transpose: tuple[int, int, int],
) -> None:
    """A network that moves the image by one voxel along one of its axes moves it along the patient's axis."""
    moved = np.roll(SITES["T1c"], [shift[axis] for axis in np.argsort(transpose)], axis=(0, 1, 2))
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: thresholding((200,), shift)},
        labels={"background": 0, "lesion": 1},
        planned=plans(1, spacing=(3.0, 0.8, 1.0), transpose=transpose),
    )
    path = write_manifest(folder, 'channels = ["T1c"]\nmirroring = false', 'lesion = "lesion"')
    channels, brain = study(stored=stored)
    found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)
    np.testing.assert_array_equal(found[Tissue.ENHANCING].array > 0.5, on_grid(moved, stored=stored).array)


def test_other_orientation_in_the_manifest_or_by_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plans(1, spacing=(3.0, 0.8, 1.0)) | {"image_reader_writer": "NibabelIOWithReorient"}
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: thresholding((200,), (0, 1, 0))},
        labels={"background": 0, "lesion": 1},
        planned=planned,
    )
    channels, brain = study()
    for line, forward in (("", -1), ('orientation = "HPL"', 1)):
        path = write_manifest(folder, f'channels = ["T1c"]\nmirroring = false\n{line}', 'lesion = "lesion"')
        found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)
        np.testing.assert_array_equal(found[Tissue.ENHANCING].array > 0.5, np.roll(SITES["T1c"], forward, axis=1))


def test_plans_with_another_spacing_answer_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["prior_mask"],
        folds={0: thresholding((0.5,))},
        labels={"background": 0, "lesion": 1},
        planned=plans(1, spacing=(1.5, 1.6, 2.0)),
    )
    path = write_manifest(folder, 'channels = ["prior_mask"]', '1 = "lesion"')
    channels, brain = study(stored="FAR")
    found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)[Tissue.ENHANCING]
    assert found.geometry_equal(brain)
    lesion, expected = found.array > 0.5, channels["prior_mask"].array > 0.5
    assert 2 * (lesion & expected).sum() / (lesion.sum() + expected.sum()) > 0.85
    np.testing.assert_allclose(np.argwhere(lesion).mean(0), np.argwhere(expected).mean(0), atol=0.5)


def test_regions_become_tissues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits 2, 1 and -1 of whole tumour, core and enhancing tumour: sigmoids, and their differences."""
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: constant(2, 1, -1)},
        labels={"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]},
    )
    labels = 'whole = ["lesion", "edema"]\ncore = "lesion"\nenhancing = "enhancing"'
    channels, brain = study()
    model = load_plugin(write_manifest(folder, 'channels = ["T1c"]', labels), threads=1)
    found = {tissue: float(p.array.mean()) for tissue, p in model.tissue_probabilities(channels, brain).items()}
    whole, core, enhancing = torch.tensor([2.0, 1.0, -1.0]).sigmoid().tolist()
    assert found == pytest.approx(
        {Tissue.ENHANCING: enhancing, Tissue.NECROSIS: core - enhancing, Tissue.EDEMA: whole - core}, abs=2e-3
    )


def test_folds_are_averaged_and_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: constant(0, 2), 3: constant(0, -1)},
        labels={"background": 0, "lesion": 1},
    )
    channels, brain = study()
    for line, logit in (("", 0.5), ("folds = [3]", -1.0), ("folds = [0, 3]", 0.5)):
        path = write_manifest(folder, f'channels = ["T1c"]\n{line}', 'lesion = "lesion"')
        found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)[Tissue.ENHANCING]
        np.testing.assert_allclose(found.array, 1 / (1 + np.exp(-logit)), atol=2e-3)


@pytest.mark.parametrize("trainer_name", ["nnUNetTrainer_250epochs", "nnUNetTrainerNoDeepSupervision"])
def test_other_trainers_of_nnunet_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer_name: str) -> None:
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: constant(0, 2)},
        labels={"background": 0, "lesion": 1},
        trainer_name=trainer_name,
    )
    model = load_plugin(write_manifest(folder, 'channels = ["T1c"]', 'lesion = "lesion"'), threads=1)
    found = model.tissue_probabilities(*study())[Tissue.ENHANCING]
    np.testing.assert_allclose(found.array, 1 / (1 + np.exp(-2)), atol=2e-3)


def test_unknown_trainer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: constant(0, 2)},
        labels={"background": 0, "lesion": 1},
        trainer_name="nnUNetTrainerOfOurs",
    )
    with pytest.raises(PluginError, match="Could not find requested nnunet trainer nnUNetTrainerOfOurs"):
        load_plugin(write_manifest(folder, 'channels = ["T1c"]', 'lesion = "lesion"'))


def test_second_stage_of_a_cascade_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: thresholding((200, 1))},  # its second input is the answer of the first stage
        labels={"background": 0, "lesion": 1},
        planned=with_first_stage(plans(1, spacing=(3.0, 0.8, 1.0))),
    )
    with pytest.raises(PluginError, match="second stage of a cascade"):
        load_plugin(write_manifest(folder, 'channels = ["T1c"]', 'lesion = "lesion"'))


def test_mirroring_is_nnunets_own_and_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mirrored, a network that moves the image to one side moves it to the other too."""
    folder = results_folder(
        tmp_path,
        monkeypatch,
        channels=["T1c"],
        folds={0: thresholding((200,), (0, 0, 1))},
        labels={"background": 0, "lesion": 1},
    )
    channels, brain = study()
    edges = {}
    for mirroring in ("true", "false"):
        path = write_manifest(folder, f'channels = ["T1c"]\nmirroring = {mirroring}', 'lesion = "lesion"')
        found = load_plugin(path, threads=1).tissue_probabilities(channels, brain)[Tissue.ENHANCING].array
        edges[mirroring] = found[2, 5, [1, 7]]
    np.testing.assert_allclose(edges["true"], 0.5, atol=0.3)
    assert edges["false"][0] < 0.01
    assert edges["false"][1] > 0.99


def test_optional_channel_is_zeros_and_a_needed_one_is_named(resegmenter: Path) -> None:
    channels, brain = study()
    del channels["prior_mask"]
    with pytest.raises(PluginError, match="test needs prior_mask, which this study has not; it has T1c, subtraction"):
        load_plugin(resegmenter, threads=1).tissue_probabilities(channels, brain)
    resegmenter.write_text(
        resegmenter.read_text().replace("mirroring = false", 'mirroring = false\noptional_channels = ["prior_mask"]')
    )
    found = load_plugin(resegmenter, threads=1).tissue_probabilities(channels, brain)
    assert found[Tissue.EDEMA].array.max() < 0.01
    np.testing.assert_array_equal(found[Tissue.ENHANCING].array > 0.5, SITES["T1c"])


def test_channel_on_another_grid_is_refused(resegmenter: Path) -> None:
    channels, brain = study()
    channels["subtraction"] = on_grid(channels["subtraction"].array, tilt_degrees=10)
    with pytest.raises(PluginError, match="subtraction lies on another grid"):
        load_plugin(resegmenter, threads=1).tissue_probabilities(channels, brain)


def test_what_a_skull_stripped_model_sees_is_dark_outside_the_brain(resegmenter: Path) -> None:
    resegmenter.write_text(resegmenter.read_text().replace("mirroring", "skull_stripped = true\nmirroring"))
    channels, brain = study()
    brain.array[:, :6] = False
    found = load_plugin(resegmenter, threads=1).tissue_probabilities(channels, brain)
    np.testing.assert_array_equal(found[Tissue.ENHANCING].array > 0.5, SITES["T1c"] & brain.array)
    np.testing.assert_array_equal(found[Tissue.EDEMA].array > 0.5, SITES["prior_mask"])


def test_stdout_stays_clean(resegmenter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_plugin(resegmenter, threads=1).tissue_probabilities(*study())
    assert capsys.readouterr().out == ""


class Intruder:
    """Would write a file if it were unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_a_checkpoint_is_not_run(resegmenter: Path, tmp_path: Path) -> None:
    path = next(tmp_path.rglob("checkpoint_final.pth"))
    content = torch.load(path, weights_only=False)
    torch.save(content | {"extra": Intruder(tmp_path / "intruded")}, path)
    with pytest.raises(PluginError, match="which could run code"):
        load_plugin(resegmenter)
    assert not (tmp_path / "intruded").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize(
    ("key", "value"),
    [("network_class_name", "os.system"), ("nonlin", "os.system"), ("nonlin", "torch.nn.Module.apply")],
)
def test_code_that_plans_name_needs_trust(resegmenter: Path, tmp_path: Path, key: str, value: str) -> None:
    path = next(tmp_path.rglob("plans.json"))
    planned = json.loads(path.read_text())
    architecture = planned["configurations"]["3d_fullres"]["architecture"]
    (architecture if key in architecture else architecture["arch_kwargs"])[key] = value
    path.write_text(json.dumps(planned))
    with pytest.raises(PluginError, match=f"name {value}, which is code of neither nnU-Net nor torch"):
        load_plugin(resegmenter)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'subtraction', ", "", r"trained on 3 channels \(T1c, subtraction, prior_mask\), its manifest names 2"),
        ('edema = "edema"', 'halo = "edema"', "has no label 'halo' .it has enhancing, necrosis, edema"),
        ('edema = "edema"', "", "does not say what its label 'edema' is"),
        ("mirroring = false", "folds = [0, 4]", r"lacks .*fold_4/checkpoint_final\.pth"),
        ("mirroring = false", 'checkpoint = "best.pth"', r"no fold_N/best\.pth in"),
        ("mirroring = false", 'sha256 = "12ab"', "the manifest wants 12ab"),
    ],
)
def test_manifest_that_does_not_fit_the_folder_says_why(resegmenter: Path, old: str, new: str, message: str) -> None:
    text = resegmenter.read_text()
    assert old in text
    resegmenter.write_text(text.replace(old, new))
    with pytest.raises(PluginError, match=message):
        load_plugin(resegmenter)


def test_damaged_folder_is_named(resegmenter: Path, tmp_path: Path) -> None:
    next(tmp_path.rglob("checkpoint_final.pth")).write_bytes(b"")
    with pytest.raises(PluginError, match=r"nnU-Net cannot open .*nnUNetTrainer__nnUNetPlans__3d_fullres"):
        load_plugin(resegmenter)
    next(tmp_path.rglob("plans.json")).write_text("{")
    with pytest.raises(PluginError, match=r"plans\.json is no valid JSON"):
        load_plugin(resegmenter)


def test_without_nnunet_the_message_says_how_to_install_it(resegmenter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nnunetv2", None)
    with pytest.raises(PluginError, match=r"pip install 'brainmets-dicom-node\[nnunet\]'"):
        load_plugin(resegmenter)
