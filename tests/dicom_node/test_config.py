"""One TOML file, environment variables over it, and nothing unknown or wrong without the option's name."""

from pathlib import Path

import pytest

from dicom_node.config import Configuration, as_toml, load_configuration, open_configured_archive, variable_of
from dicom_node.errors import ConfigurationError
from dicom_node.network.archive.folder import FolderArchive


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, "utf-8")
    return path


def test_defaults() -> None:
    node = load_configuration().node
    assert (node.ae_title, node.host, node.port, node.quiet_time_s) == ("METSEG", "127.0.0.1", 11112, 30.0)


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, '[node]\nport = 2000\nae_title = "FILE"\n[archive]\nkind = "orthanc"\n')
    monkeypatch.setenv("DICOM_NODE_NODE__PORT", "3000")
    configuration = load_configuration(path)
    assert (configuration.node.port, configuration.node.ae_title) == (3000, "FILE")
    assert configuration.archive.kind == "orthanc"


def test_peers_come_from_file_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, '[[peers]]\nname = "PACS"\nae_title = "PACS1"\nhost = "10.0.0.1"\nport = 104\n')
    assert load_configuration(path).peers[0].ae_title == "PACS1"
    monkeypatch.setenv("DICOM_NODE_PEERS", '[{"name": "other", "ae_title": "B", "host": "h", "port": 1}]')
    assert load_configuration(path).peers[0].name == "other"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[node]\nport = 0\n", ["node.port = 0", "node.toml"]),
        ("[node]\nport = 'x'\n", ["node.port = 'x'", "node.toml"]),
        ("[node]\nae_title = 'SEVENTEEN LETTERS'\n", ["node.ae_title", "1 to 16 printable ASCII"]),
        ("[node]\nae_title = 'A\\B'\n", ["node.ae_title", "no backslash"]),
        ("[node]\nprot = 1\n", ["node.prot", "did you mean node.port?"]),
        ("[nodes]\nport = 1\n", ["nodes", "did you mean node"]),
        ("[node]\nquiet_time_s = -1\n", ["node.quiet_time_s = -1"]),
        ("[archive]\nkind = 'pacs'\n", ["archive.kind = 'pacs'", "'folder' or 'orthanc'"]),
        ("[[peers]]\nname = 'P'\n", ["peers.0.ae_title", "is missing"]),
        ("[node\n", ["node.toml", "no valid TOML"]),
    ],
)
def test_wrong_option_is_named_with_value_and_file(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(written(tmp_path, text))
    for word in words:
        assert word in str(caught.value)


def test_wrong_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_LIMITS__RETRIES", "many")
    with pytest.raises(ConfigurationError, match=r"limits.retries = 'many' \(environment variable DICOM_NODE_LIMITS__"):
        load_configuration()


@pytest.mark.parametrize("variable", ["DICOM_NODE_PEERS", "DICOM_NODE_ARCHIVE"])
def test_variable_that_is_no_json_is_named_and_its_value_not_shown(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "[{sesame")
    with pytest.raises(ConfigurationError, match=rf"^The environment variable {variable} is no valid JSON") as caught:
        load_configuration()
    assert "at character 3" in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_variable_of_the_wrong_kind_of_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_PEERS", '{"name": "PACS"}')
    with pytest.raises(ConfigurationError, match=r"^peers = .* \(environment variable DICOM_NODE_PEERS\).*valid list"):
        load_configuration()


def test_option_of_the_command_line_is_blamed_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_NODE__PORT", "99999")
    with pytest.raises(ConfigurationError, match=r"^node.port = '99999' \(--port\) is wrong"):
        load_configuration(given_as={"node.port": "--port"})


@pytest.mark.parametrize(
    "option", ["node.data_dir", "archive.folder", "model.manifest", "archive.orthanc_password_file"]
)
@pytest.mark.parametrize("value", ["", "  "])
def test_empty_path_is_refused(option: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable_of(option), value)
    with pytest.raises(ConfigurationError, match=f"^{option} = .*it is empty"):
        load_configuration()


@pytest.mark.parametrize("option", ["node.data_dir", "archive.folder"])
@pytest.mark.parametrize("below", ["", "/sub/folder"])
def test_file_in_the_place_of_a_folder_is_refused(
    option: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable_of(option), f"{tmp_path}/file{below}")
    with pytest.raises(ConfigurationError, match=f"^{option} = .*{tmp_path}/file is a file; name a folder"):
        load_configuration()


def test_unknown_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_NODE__PROT", "1")
    with pytest.raises(ConfigurationError, match="did you mean DICOM_NODE_NODE__PORT"):
        load_configuration()


def test_missing_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"/nowhere/node.toml cannot be read: No such file"):
        load_configuration(Path("/nowhere/node.toml"))


def test_printed_configuration_reads_back_equal(tmp_path: Path) -> None:
    text = (
        f'[node]\nport = 2000\ndata_dir = "{tmp_path}/a \\"b\\" \\u00e9"\nretention_days = 0.5\n'
        '[[peers]]\nname = "P"\nae_title = "A"\nhost = "h"\n[archive]\nfolder = "/x"\n'
    )
    configuration = load_configuration(written(tmp_path, text))
    assert load_configuration(written(tmp_path, as_toml(configuration))) == configuration


def test_every_option_is_printed_with_its_description() -> None:
    printed = as_toml(load_configuration())
    for section in ("node", "archive", "model", "limits"):
        for name, field in type(getattr(load_configuration(), section)).model_fields.items():
            assert f"# {field.description}\n" in printed
            assert f"\n{name} = " in printed or f"\n# {name} is " in printed


def test_passwords_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_ARCHIVE__ORTHANC_PASSWORD", "sesame")
    configuration = load_configuration()
    assert configuration.archive.password() == "sesame"
    assert "sesame" not in as_toml(configuration) + repr(configuration)
    monkeypatch.delenv("DICOM_NODE_ARCHIVE__ORTHANC_PASSWORD")
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(written(tmp_path, "[archive]\northanc_password = 12345678\n"))
    assert "12345678" not in str(caught.value)


def test_password_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame\n")
    path = written(tmp_path, f'[archive]\northanc_password_file = "{tmp_path}/password"\n')
    assert load_configuration(path).archive.password() == "sesame"
    (tmp_path / "password").unlink()
    with pytest.raises(ConfigurationError, match="orthanc_password_file"):
        load_configuration(path).archive.password()


def test_folders_lie_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable_of("node.data_dir"), str(tmp_path))
    configuration = load_configuration()
    assert configuration.incoming_folder == tmp_path / "incoming"
    assert configuration.archive_folder == tmp_path / "archive"
    assert isinstance(open_configured_archive(configuration), FolderArchive)


def test_options_name_their_units() -> None:
    unitless = {"ae_title", "host", "port", "data_dir", "log_level", "kind", "folder", "orthanc_url", "orthanc_user"}
    unitless |= {"orthanc_password", "orthanc_password_file", "manifest", "threads", "retries", "concurrent_studies"}
    unitless |= {"maximum_associations"}  # texts, paths and counts
    options = {name for section in ("node", "archive", "model", "limits") for name in _options(section)}
    assert all(name in unitless or name.endswith(("_s", "_days", "_gib")) for name in options)


def _options(section: str) -> list[str]:
    return list(type(getattr(Configuration(), section)).model_fields)
