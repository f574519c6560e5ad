"""Settings come from a preset, a file and single changes; a slip is named with what was probably meant."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from inference.training.command import Preset
from inference.training.config import TrainingConfig
from inference.training.settings import SettingsError, changed, preset_names, read_settings, smoke, write_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_default_preset_says_every_default() -> None:
    assert read_settings() == TrainingConfig()
    text = (Path(__file__).parents[2] / "inference" / "training" / "presets" / "default.toml").read_text()
    for field in fields(TrainingConfig):
        assert f"{field.name} = " in text or field.name in {"steps", "epochs"}


def test_the_command_offers_the_presets_that_there_are() -> None:
    assert sorted(Preset) == preset_names()


def test_ucsf_is_as_published() -> None:
    config = read_settings("ucsf")
    assert (config.channels, config.labels) == (("T1c", "subtraction"), ("background", "enhancing"))
    assert (config.activation, config.normalisation, config.optimiser) == ("relu", "batch", "adam")
    assert (config.patches, config.batch, config.learning_rate, config.seeds) == ((96,), 6, 1e-4, 8)


def test_nyumets_is_as_published() -> None:
    config = read_settings("nyumets")
    assert config.features == (32, 32, 64, 128, 256, 32)
    assert (config.activation, config.normalisation, len(config.labels)) == ("leaky_relu", "instance", 2)
    assert config.batch_of((192, 192, 192)) * config.accumulation == 64
    assert (config.epochs, config.seeds, config.pretrain, config.patches) == (150, 3, True, (192,))


def test_chuv_is_as_published() -> None:
    config = read_settings("chuv")
    assert "prior_mask" in config.channels
    assert set(config.labels) == {"background", "enhancing", "necrosis", "edema"}
    assert (config.optimiser, config.schedule, config.folds, config.epochs) == ("sgd", "poly", 5, 1000)
    assert config.total_steps == 250_000
    assert config.sizes == ((128, 160, 112),)


def test_patches_are_cubes_or_boxes() -> None:
    cubes = read_settings(changes=["patches=[128, 160, 112]"])
    assert cubes.sizes == ((128, 128, 128), (160, 160, 160), (112, 112, 112))
    mixed = read_settings(changes=["patches=[48, [32, 64, 48]]"])
    assert mixed.sizes == ((48, 48, 48), (32, 64, 48))
    assert mixed.batch_of((32, 64, 48)) == round(450_000 / (32 * 64 * 48))
    for wrong in ("[[32, 64]]", "[[32, 64, 50]]", "[[16, 64, 64]]", "[]"):
        with pytest.raises(SettingsError):
            read_settings(changes=[f"patches={wrong}"])


def test_later_settings_count(tmp_path: Path) -> None:
    path = written(tmp_path, 'loss = "focal"\nbatch = 3\npatches = [32, 64]\n')
    config = read_settings("ucsf", file=path, changes=["batch=4", "loss = dice", "initial=weights.pt"])
    expected = replace(read_settings("ucsf"), loss="dice", batch=4, patches=(32, 64), initial="weights.pt")
    assert config == expected


@pytest.mark.parametrize(
    ("change", "steps", "minutes"), [("minutes=30", None, 30), ("steps=7", 7, 70), ("epochs=2", 80, 70)]
)
def test_a_later_budget_replaces_an_earlier_one_of_another_kind(
    tmp_path: Path, change: str, steps: int | None, minutes: float
) -> None:
    config = read_settings("nyumets", file=written(tmp_path, "steps = 99"), changes=[change])
    assert (config.total_steps, config.minutes) == (steps, minutes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("learnign_rate=1", "unknown key 'learnign_rate' in --set: did you mean learning_rate"),
        ("zzz=1", "unknown key 'zzz' in --set: there are objective, "),
        ("loss=diec", "the settings from preset ucsf and --set are not usable: loss 'diec': choose one of"),
        ("epochs=many", "epochs 'many': input should be a valid integer"),
        ("optimiser=lion", "optimiser 'lion': input should be 'adamw', 'adam' or 'sgd'"),
        ("channels=['T1c', 'T9']", "T9"),
        ("steps", "--set steps: write key=value"),
    ],
)
def test_a_wrong_change_is_named_in_one_line(change: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings("ucsf", changes=[change])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_file_or_preset_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"unknown key 'bacth' in .*own\.toml: did you mean batch"):
        read_settings(file=written(tmp_path, "bacth = 2"))
    with pytest.raises(SettingsError, match=r"the settings .*own\.toml are no valid TOML"):
        read_settings(file=written(tmp_path, "batch = "))
    with pytest.raises(SettingsError, match=r"the settings .*absent\.toml cannot be read"):
        read_settings(file=tmp_path / "absent.toml")
    with pytest.raises(
        SettingsError, match="there is no preset 'yale': choose one of chuv, default, nyumets, nyumets_stt, ucsf"
    ):
        read_settings("yale")


def test_a_change_counts_for_a_shrunk_training_too() -> None:
    small = smoke(read_settings("nyumets"))
    assert changed(small, ["epochs=3", "epoch_steps=2"]) == replace(small, steps=None, epochs=3, epoch_steps=2)
    with pytest.raises(SettingsError, match="unknown key 'step' in --set: did you mean steps"):
        changed(small, ["step=3"])


def test_written_settings_read_back(tmp_path: Path) -> None:
    config = replace(read_settings("chuv"), initial='a "b".pt', fold=2)
    write_settings(config, tmp_path / "own.toml")
    assert read_settings("ucsf", file=tmp_path / "own.toml") == config


@pytest.mark.parametrize("preset", preset_names())
def test_a_shrunk_training_keeps_what_is_taught(preset: str) -> None:
    config, small = read_settings(preset), smoke(read_settings(preset))
    for name in ("channels", "labels", "loss", "optimiser", "normalisation", "activation", "folds", "pretrain"):
        assert getattr(small, name) == getattr(config, name)
    assert small.total_steps == 4
    assert small.workers == 0
    assert small.batch_of((32, 32, 32)) * small.accumulation * 32**3 <= 4 * 32**3
