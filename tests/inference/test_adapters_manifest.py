"""Manifests of plug-ins: read as written, checked against the files, and clear about what is wrong."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from inference.adapters.manifest import (
    BundleManifest,
    NnUNetManifest,
    PluginError,
    read_plugin_manifest,
    verified,
)
from inference.weights import WeightsError
from tracking.timepoint import Tissue

TEXT = """
kind = "nnunet"
name = "re-segmentation"
version = "3"
folder = "results"
channels = ["T1c", "FLAIR", "prior_mask"]
optional_channels = ["FLAIR"]
folds = [0, "all"]
threshold = 0.4
training_data = "none"
licence = "none"
[labels]
1 = "enhancing"
2 = ["lesion", "edema"]
cavity = "background"
"""
BUNDLE = 'kind = "monai_bundle"\nactivation = "softmax"\n' + TEXT.split("\n", 2)[2].replace('folds = [0, "all"]\n', "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A manifest of an nnU-Net."""
    path = tmp_path / "plugin.toml"
    path.write_text(TEXT)
    return path


def test_manifest_says_what_was_written(path: Path) -> None:
    manifest = read_plugin_manifest(path)
    assert manifest == NnUNetManifest(
        name="re-segmentation",
        version="3",
        folder=path.parent / "results",
        channels=("T1c", "FLAIR", "prior_mask"),
        optional_channels=("FLAIR",),
        labels={
            "1": (Tissue.ENHANCING,),
            "2": (Tissue.ENHANCING, Tissue.NECROSIS, Tissue.EDEMA),
            "cavity": (),
        },
        folds=(0, "all"),
        threshold=0.4,
        training_data="none",
        licence="none",
    )
    assert manifest.kind == "nnunet"


def test_bundle_has_its_own_keys(path: Path) -> None:
    path.write_text(BUNDLE)
    manifest = read_plugin_manifest(path)
    assert isinstance(manifest, BundleManifest)
    assert (manifest.activation, manifest.trusted) == ("softmax", False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "nnunet"', 'kind = "tensorflow"', "kind 'tensorflow': choose one of nnunet, monai_bundle"),
        ('kind = "nnunet"', "", "kind None"),
        ("threshold = 0.4", "threshold = 'high'", "threshold: input should be a valid number"),
        ("threshold = 0.4", "activation = 'softmax'", "keys that nnunet has not: activation"),
        ("threshold = 0.4", "orientation = 'HPP'", "three directions such as 'HPL' or 'RAH', not 'HPP'"),
        ("threshold = 0.4", "spacing_mm = 0", "spacing_mm must be more than 0, not 0"),
        ('version = "3"\n', "", "version: field required"),
        ('"T1c", "FLAIR"', '"T1c", "T1ce"', "channels.1: input should be 'T1c', 'T1'"),
        ('"T1c", "FLAIR"', '"T1c", "T1c"', "each source once"),
        ('optional_channels = ["FLAIR"]', 'optional_channels = ["T2"]', "names 'T2', which is no channel"),
        ('"lesion", "edema"', '"tumour"', "labels.2: 'tumour' is none of background, enhancing"),
        ('1 = "enhancing"\n2 = ["lesion", "edema"]\n', "", "at least one tissue"),
        ('folds = [0, "all"]', "folds = ['some']", r"folds\.0"),
        ("name =", "name", "no valid TOML"),
    ],
)
def test_bad_manifest_says_what_is_wrong(path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(PluginError, match=message):
        read_plugin_manifest(path)


def test_missing_manifest_is_named_and_counts_as_unusable_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no plug-in manifest at .*absent\.toml"):
        read_plugin_manifest(tmp_path / "absent.toml")


def test_input_keys_are_one_or_as_many_as_channels(path: Path) -> None:
    path.write_text(BUNDLE.replace("activation", 'input_keys = ["t1c", "flair"]\nactivation'))
    with pytest.raises(PluginError, match="one key or one for each channel"):
        read_plugin_manifest(path)


@pytest.fixture
def nnunet(tmp_path: Path, path: Path) -> NnUNetManifest:
    """The manifest with files in its folder, made up."""
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth", "fold_all/checkpoint_final.pth"):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / name).write_text(name)
    manifest = read_plugin_manifest(path)
    assert isinstance(manifest, NnUNetManifest)
    return manifest


def test_checksum_is_that_of_sha256sum(nnunet: NnUNetManifest) -> None:
    files = "dataset.json fold_0/checkpoint_final.pth fold_all/checkpoint_final.pth plans.json"
    shell = subprocess.run(
        f"sha256sum {files} | sha256sum", shell=True, cwd=nnunet.folder, capture_output=True, text=True, check=True
    )
    found = verified(nnunet)
    assert found.sha256 == shell.stdout.split()[0]
    assert verified(found) == found


@pytest.mark.parametrize("name", ["plans.json", "fold_all/checkpoint_final.pth"])
def test_one_changed_byte_is_noticed(nnunet: NnUNetManifest, name: str) -> None:
    good = verified(nnunet)
    (nnunet.folder / name).write_text(name + "!")
    with pytest.raises(PluginError, match=f"the manifest wants {good.sha256}: a file is damaged or of another version"):
        verified(good)


def test_missing_file_is_named(nnunet: NnUNetManifest) -> None:
    (nnunet.folder / "plans.json").unlink()
    with pytest.raises(PluginError, match=r"re-segmentation lacks .*plans\.json"):
        verified(nnunet)


def test_unused_folds_do_not_count(nnunet: NnUNetManifest) -> None:
    one = replace(nnunet, folds=(0,))
    before = verified(one)
    assert replace(nnunet, folds=()).used_folds() == (0,)  # the fold of all cases is used only if it is named
    (nnunet.folder / "fold_all/checkpoint_final.pth").unlink()
    assert verified(one) == before


def test_scripts_and_configurations_of_a_bundle_count(tmp_path: Path, path: Path) -> None:
    path.write_text(BUNDLE)
    for name in ("configs/inference.json", "configs/metadata.json", "models/model.pt", "scripts/net.py", "docs/a.md"):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / name).write_text(name)
    good = verified(read_plugin_manifest(path))
    (tmp_path / "results/docs/a.md").write_text("changed")
    assert verified(good) == good
    for name in ("configs/metadata.json", "models/model.pt", "scripts/net.py"):
        (tmp_path / "results" / name).write_text("changed")
        with pytest.raises(PluginError, match="have checksum"):
            verified(good)
        (tmp_path / "results" / name).write_text(name)
