"""Where settings come from: a preset, then a file, then single changes; what comes later counts.

A preset is a file of settings in ``presets/`` that says only what differs from `TrainingConfig`'s defaults.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from inference.training.config import TrainingConfig

# Each decides alone how long a training takes, the first before the others.
BUDGETS: Final = ("steps", "epochs", "minutes")
SMOKE_SEEDS = 2
SMOKE_ACCUMULATION = 2

Values = Mapping[str, Any]


class SettingsError(ValueError):
    """Settings cannot be used."""


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(entry.name.removesuffix(".toml") for entry in _presets().iterdir() if entry.name.endswith(".toml"))


def read_settings(preset: str = "default", *, file: Path | None = None, changes: Sequence[str] = ()) -> TrainingConfig:
    """Return the settings of a training.

    Parameters
    ----------
    preset
        One of `preset_names`.
    file
        TOML file whose keys are attributes of `TrainingConfig`.
    changes
        ``key=value``, the value as in TOML; quotes around words can be left out.

    Raises
    ------
    SettingsError
        If there is no such preset or file, or a key or value is wrong.
    """
    if preset not in preset_names():
        raise SettingsError(f"there is no preset {preset!r}: choose one of {', '.join(preset_names())}")
    layers = [(f"preset {preset}", _parsed((_presets() / f"{preset}.toml").read_text(encoding="utf-8"), preset))]
    if file is not None:
        layers.append((str(file), _parsed(_text(file), str(file))))
    layers.append(("--set", dict(map(_change, changes))))
    values: dict[str, Any] = {}
    for source, layer in layers:
        _check_keys(layer, source)
        values = _merged(values, layer)
    return _config(values, " and ".join(source for source, layer in layers if layer))


def changed(config: TrainingConfig, changes: Sequence[str]) -> TrainingConfig:
    """Return settings with single changes, as `read_settings` makes them.

    Raises
    ------
    SettingsError
        If a key or value is wrong.
    """
    layer = dict(map(_change, changes))
    _check_keys(layer, "--set")
    return _config(_merged(asdict(config), layer), "--set")


def write_settings(config: TrainingConfig, path: Path) -> None:
    """Write settings as a file that `read_settings` reads; what is None is left out."""
    # JSON's strings, numbers, truth values and arrays are TOML's too.
    given = {key: value for key, value in asdict(config).items() if value is not None}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items()), encoding="utf-8")


def smoke(config: TrainingConfig) -> TrainingConfig:
    """Shrink a training so that it runs to its end in under a minute on one processor core; it learns nothing."""
    return replace(
        config,
        features=(4, 4, 8, 8, 16, 4),
        patches=(32,),
        batch=2,
        accumulation=min(config.accumulation, SMOKE_ACCUMULATION),
        steps=4,
        pretrain_steps=3,
        validate_every=2,
        validation_heads=1,
        validation_patches=2,
        fold=0 if config.folds and config.fold is None else config.fold,
        seeds=min(config.seeds, SMOKE_SEEDS),
        checkpoint_s=1.0,
        pool_heads=2,
        first_heads=2,
        workers=0,
        precision="float32" if config.precision == "auto" else config.precision,
    )


def _presets() -> Traversable:
    return resources.files("inference.training") / "presets"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings {path} cannot be read ({error}): name a TOML file") from error


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings {source} are no valid TOML: {error}") from error


def _change(change: str) -> tuple[str, Any]:
    key, equals, value = change.partition("=")
    if not equals:
        raise SettingsError(f"--set {change}: write key=value, for example learning_rate=1e-4")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _check_keys(layer: Values, source: str) -> None:
    known = [field.name for field in fields(TrainingConfig)]
    for key in layer:
        if key not in known:
            likely = get_close_matches(key, known, n=1)
            hint = f"did you mean {likely[0]}?" if likely else f"there are {', '.join(known)}"
            raise SettingsError(f"unknown key {key!r} in {source}: {hint}")


def _merged(values: Values, layer: Values) -> dict[str, Any]:
    """Return both; a budget in the later one replaces a budget of another kind in the earlier one."""
    later = {key for key in BUDGETS if key in layer}
    kept = {key: value for key, value in values.items() if not later or key not in BUDGETS}
    return {**kept, **layer}


def _config(values: Values, source: str) -> TrainingConfig:
    try:
        return TypeAdapter(TrainingConfig).validate_python(values)
    except ValidationError as error:
        problems = "; ".join(_problem(dict(detail)) for detail in error.errors())
        raise SettingsError(f"the settings from {source} are not usable: {problems}") from error


def _problem(detail: Mapping[str, Any]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    where = ".".join(map(str, detail["loc"]))
    return f"{where} {detail['input']!r}: {message[0].lower()}{message[1:]}" if where else message
