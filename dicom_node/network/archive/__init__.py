"""Archives behind one Protocol: `open_archive` gives the one that is configured."""

from pathlib import Path
from typing import Literal

from dicom_node.errors import ConfigurationError
from dicom_node.network.archive.protocol import Archive, ArchivedSeries, ArchivedStudy

__all__ = ["Archive", "ArchivedSeries", "ArchivedStudy", "open_archive"]


def open_archive(
    kind: Literal["folder", "orthanc"],
    *,
    folder: Path | None = None,
    url: str = "",
    user: str = "",
    password: str = "",
) -> Archive:
    """Open the archive of this kind; nothing is asked of a server before its first use.

    Parameters
    ----------
    kind
        ``"folder"`` needs `folder`; ``"orthanc"`` needs `url`, and `user` and `password` where Orthanc asks for them.

    Raises
    ------
    ConfigurationError
        What the kind needs is missing, or the folder cannot be written.
    """
    if kind == "folder" and folder is not None:
        from dicom_node.network.archive.folder import FolderArchive  # only what is used is loaded

        return FolderArchive(folder)
    if kind == "orthanc" and url:
        from dicom_node.network.archive.orthanc import OrthancArchive  # only what is used is loaded

        return OrthancArchive(url, user=user, password=password)
    needed = {"folder": "a folder", "orthanc": "a url"}.get(kind, "to be 'folder' or 'orthanc'")
    raise ConfigurationError(f"The archive of kind {kind!r} needs {needed}.")
