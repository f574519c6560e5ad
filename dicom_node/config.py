"""The node's configuration: one TOML file, every option also an environment variable, nothing unknown accepted.

Design rule: an option is declared once, with its unit in its name, a default and one line of description; the file
that ``dicom-node config`` prints, the checks and the messages are all made from that declaration.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_node.errors import ConfigurationError
from dicom_node.network.archive import Archive, open_archive

ENVIRONMENT_PREFIX = "DICOM_NODE_"
CONFIGURATION_VARIABLE = "DICOM_NODE_CONFIG"
"""Names the TOML file where no ``--config`` does; it is not an option itself."""

_JSON_EXAMPLE = '{"option": "value"}'
_JSON_EXAMPLES = {
    f"{ENVIRONMENT_PREFIX}PEERS": '[{"name": "PACS", "ae_title": "PACS", "host": "10.0.0.1", "port": 104}]'
}

Port = Annotated[int, Field(ge=1, le=65535)]


def _check_ae_title(value: str) -> str:
    printable = all(" " <= character <= "~" and character != "\\" for character in value)
    if not (1 <= len(value) <= 16 and printable and value.strip()):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters, no backslash, and not only spaces")
    return value


AETitle = Annotated[str, AfterValidator(_check_ae_title)]
"""PS3.5 6.2, VR AE."""


def _refuse_empty_path(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("it is empty, which would be the working folder; name a path")
    return value


def _expand(value: Path) -> Path:
    try:
        return value.expanduser().absolute()
    except RuntimeError as error:  # ~somebody
        raise ValueError(f"{value.parts[0]} is nobody's home; name a path") from error


def _check_folder(value: Path) -> Path:
    """Refuse a path where no folder can be made, since something else is there; nothing is made yet."""
    try:
        existing = next(path for path in (value, *value.parents) if path.exists())
    except PermissionError as error:
        raise ValueError("its folder may not be entered by this user; name another, or allow it") from error
    if not existing.is_dir():
        raise ValueError(f"{existing} is a file; name a folder")
    return value


OwnPath = Annotated[Path, BeforeValidator(_refuse_empty_path), AfterValidator(_expand)]
OwnFolder = Annotated[OwnPath, AfterValidator(_check_folder)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class NodeOptions(_Section):
    """Who the node is, where it listens and where it keeps its files."""

    ae_title: AETitle = Field(
        default="METSEG", description="Application Entity title of the node, at most 16 characters."
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on; 127.0.0.1 admits this machine alone, 0.0.0.0 the whole network.",
    )
    port: Port = Field(default=11112, description="TCP port to listen on.")
    data_dir: OwnFolder = Field(
        default=Path("~/.local/share/dicom-node"),
        description="Folder of everything that the node keeps: received files, jobs, results, logs.",
    )
    quiet_time_s: float = Field(
        default=30.0, gt=0, le=86400, description="A study is complete when nothing of it has come for so many seconds."
    )
    maximum_associations: int = Field(default=20, ge=1, le=1000, description="Associations served at the same time.")
    network_timeout_s: float = Field(default=60.0, gt=0, description="A peer silent for so many seconds is dropped.")
    retention_days: float = Field(
        default=30.0,
        ge=0,
        description="Received files are removed so many days after their results were delivered; of a job that needs "
        "attention, only the intermediate files are.",
    )
    minimum_free_disk_gib: float = Field(
        default=1.0, ge=0, description="With less free disk than this (GiB) nothing more is accepted."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe level logged."
    )


class ArchiveOptions(_Section):
    """Where prior studies come from and results go to."""

    kind: Literal["folder", "orthanc"] = Field(default="folder", description="folder (embedded) or orthanc (a server).")
    folder: OwnFolder | None = Field(
        default=None, description="Folder of the embedded archive; by default data_dir/archive."
    )
    orthanc_url: str = Field(
        default="http://127.0.0.1:8042", min_length=1, description="Address of Orthanc's REST interface."
    )
    orthanc_user: str = Field(default="", description="User at Orthanc; empty where it asks for none.")
    orthanc_password: SecretStr = Field(
        default=SecretStr(""), description="Password at Orthanc; a file is the better place."
    )
    orthanc_password_file: OwnPath | None = Field(default=None, description="File that holds the password at Orthanc.")

    def password(self) -> str:
        """Return the password at Orthanc, from its file where one is named.

        Raises
        ------
        ConfigurationError
            The file cannot be read.
        """
        if self.orthanc_password_file is None:
            return self.orthanc_password.get_secret_value()
        try:
            return self.orthanc_password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"archive.orthanc_password_file = {self.orthanc_password_file} cannot be read "
                f"({type(error).__name__}): name a text file that the node may read."
            ) from error


class ModelOptions(_Section):
    """Which network segments, and with how much of the machine."""

    manifest: OwnPath | None = Field(
        default=None, description="Manifest of the weights; by default the one in the package."
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of one heavy step; 0 means all cores.")


class ResponseOptions(_Section):
    """How response is judged (RANO-BM, imaging part)."""

    immunotherapy: bool = Field(
        default=False, description="Patients are on immunotherapy: a new lesion alone is no progression yet."
    )
    small_lesions: bool = Field(
        default=False, description="Lesions of 5 to 10 mm may be targets on slices of at most 1.5 mm."
    )


class LimitsOptions(_Section):
    """How long, how often, how many at once."""

    heavy_step_time_limit_s: float = Field(
        default=1800.0, gt=0, description="A heavy step running longer than this is ended."
    )
    concurrent_studies: int = Field(default=1, ge=1, le=16, description="Studies analysed at the same time.")
    retries: int = Field(default=8, ge=0, description="How often a failure that may pass by itself is tried again.")
    first_retry_wait_s: float = Field(
        default=10.0, gt=0, description="Wait before the first retry; doubled for each further."
    )
    longest_retry_wait_s: float = Field(default=600.0, gt=0, description="Longest wait before a retry.")


class Peer(_Section):
    """Another DICOM node that ``dicom-node check`` greets with C-ECHO."""

    name: str = Field(min_length=1, description="What people call it.")
    ae_title: AETitle = Field(description="Its Application Entity title.")
    host: str = Field(min_length=1, description="Its address.")
    port: Port = Field(default=104, description="Its TCP port.")


class Configuration(BaseSettings):
    """All options. Environment variables win over the file, the file over the defaults."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    node: NodeOptions = NodeOptions()
    archive: ArchiveOptions = ArchiveOptions()
    model: ModelOptions = ModelOptions()
    response: ResponseOptions = ResponseOptions()
    limits: LimitsOptions = LimitsOptions()
    peers: tuple[Peer, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings' own
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the file, whose content comes in as arguments."""
        return env_settings, init_settings

    @property
    def incoming_folder(self) -> Path:
        """Received instances: ``<study UID>/*.dcm``."""
        return self.node.data_dir / "incoming"

    @property
    def quarantine_folder(self) -> Path:
        """Received objects that could not be taken for what they claim to be."""
        return self.node.data_dir / "quarantine"

    @property
    def jobs_folder(self) -> Path:
        """The engine's database and the table of jobs."""
        return self.node.data_dir / "jobs"

    @property
    def work_folder(self) -> Path:
        """Intermediate files, one folder per job."""
        return self.node.data_dir / "work"

    @property
    def archive_folder(self) -> Path:
        """The embedded archive."""
        return self.archive.folder or self.node.data_dir / "archive"

    @property
    def notices_folder(self) -> Path:
        """What the node's processes have to tell besides jobs, one file per process."""
        return self.node.data_dir / "notices"

    @property
    def log_folder(self) -> Path:
        """Rotating log files."""
        return self.node.data_dir / "log"


def load_configuration(path: Path | None = None, *, given_as: Mapping[str, str] | None = None) -> Configuration:
    """Read ``path`` (TOML; None for no file) and the environment variables ``DICOM_NODE_<SECTION>__<OPTION>``.

    Parameters
    ----------
    path
        The file.
    given_as
        What a person wrote for an option that is in the environment by now: ``{"node.port": "--port"}``.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or an option is unknown or wrong; the message names option, value and source.
    """
    from_file = {} if path is None else _read_toml(path)
    _check_variables()
    try:
        return Configuration(**from_file)
    except ValidationError as error:
        sentences = [_sentence(dict(item), path, given_as or {}) for item in error.errors()]
        raise ConfigurationError(" ".join(sentences)) from error


def open_configured_archive(configuration: Configuration) -> Archive:
    """Open the archive that the configuration names.

    Raises
    ------
    ConfigurationError
        Its folder cannot be written, or its password not be read.
    """
    options = configuration.archive
    return open_archive(
        options.kind,
        folder=configuration.archive_folder,
        url=options.orthanc_url,
        user=options.orthanc_user,
        password=options.password() if options.kind == "orthanc" else "",
    )


def variable_of(option: str) -> str:
    """Name the environment variable of an option, for example ``node.port``."""
    return ENVIRONMENT_PREFIX + option.replace(".", "__").upper()


def as_toml(configuration: Configuration) -> str:
    """Write the effective options as TOML, each with its description. Secrets are left out."""
    parts = ["# Effective configuration of dicom-node. Each option can also be set by an environment variable:\n"]
    parts.append(f"# node.port by {variable_of('node.port')}, and so on.\n")
    for name in ("node", "archive", "model", "limits"):
        section: _Section = getattr(configuration, name)
        parts.append(f"\n# {section.__doc__}\n[{name}]\n")
        parts.extend(_lines(section))
    for peer in configuration.peers:
        parts.append(f"\n# {Peer.__doc__}\n[[peers]]\n")
        parts.extend(_lines(peer))
    return "".join(parts)


def _lines(section: _Section) -> list[str]:
    lines = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        lines.append(f"# {field.description}\n")
        if isinstance(value, SecretStr):
            lines.append(f"# {name} is {'set and not shown' if value.get_secret_value() else 'not set'}\n")
        elif value is None:
            lines.append(f"# {name} is not set\n")
        else:
            lines.append(f"{name} = {_toml_value(value)}\n")
    return lines


def _toml_value(value: str | float | bool | Path) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    escaped = "".join(f"\\u{ord(c):04x}" if c in '"\\' or ord(c) < 32 or ord(c) == 127 else c for c in str(value))
    return f'"{escaped}"'


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"The configuration file {path} cannot be read: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The configuration file {path} is no valid TOML: {error}.") from error


def _known_options() -> dict[str, str]:
    """Map every environment variable to its option."""
    options = ["peers"]
    for name, field in Configuration.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            options += [name, *(f"{name}.{option}" for option in field.annotation.model_fields)]
    return {variable_of(option): option for option in options}


def _check_variables() -> None:
    """Refuse variables that set nothing, and values of whole sections that are no JSON."""
    known = _known_options()
    for variable, value in os.environ.items():
        name = variable.upper()
        if not name.startswith(ENVIRONMENT_PREFIX) or name == CONFIGURATION_VARIABLE:
            continue
        if name not in known:
            suggestion = _suggestion(name, [*known, CONFIGURATION_VARIABLE])
            raise ConfigurationError(f"The environment variable {variable} sets no option{suggestion}")
        if "." not in known[name]:
            _check_json(variable, value)


def _check_json(variable: str, value: str) -> None:
    """Refuse what is no JSON; the value is not shown, since it may hold a password."""
    try:
        json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"The environment variable {variable} is no valid JSON ({error.msg} at character {error.pos + 1}): "
            f"write it like {_JSON_EXAMPLES.get(variable.upper(), _JSON_EXAMPLE)}."
        ) from error


def _sentence(error: dict[str, Any], path: Path | None, given_as: Mapping[str, str]) -> str:
    location = [str(part) for part in error["loc"]]
    option = ".".join(location)
    source = given_as.get(option) or _source_of(location, path)
    if error["type"] == "extra_forbidden":
        return f"{option} ({source}) is no option of the node{_suggestion(option, list(_known_options().values()))}"
    if error["type"] == "missing":
        return f"{option} ({source}) is missing: give it a value."
    value = "(not shown)" if "password" in option or option == "archive" else repr(error["input"])
    problem = str(error["msg"]).removeprefix("Value error, ").replace("valid tuple", "valid list")
    return f"{option} = {value} ({source}) is wrong: {problem}."


def _source_of(location: list[str], path: Path | None) -> str:
    names = {name.upper(): name for name in os.environ}
    for length in (2, 1):
        variable = variable_of(".".join(location[:length]))
        if variable in names:
            return f"environment variable {names[variable]}"
    return f"file {path}"


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; `dicom-node config` prints every option."
