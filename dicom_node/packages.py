"""Whether ``inference`` and ``tracking`` are this program's own: PyPI has an unrelated package of the first name.

Design rule: asked before the first import of either, so that the answer is a sentence and not a failed import.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

from dicom_node.errors import NodeError

_NAMES = ("inference", "tracking")
_ROOT = Path(__file__).parents[1]


class ForeignPackageError(NodeError):
    """Another package has the name of one of ours."""


def require_own_packages(root: Path = _ROOT) -> None:
    """Return if ``inference`` and ``tracking`` are found beside ``dicom_node``, in ``root``, and in no other package.

    Raises
    ------
    ForeignPackageError
        One is missing, comes from elsewhere, or shares its folder with another distribution's files.
    """
    for name in _NAMES:
        folder = _folder_of(name)
        if folder is None:
            raise ForeignPackageError(f"The package {name} is missing: install brainmets-dicom-node again.")
        if folder != root / name or _is_anothers(name, folder):
            raise ForeignPackageError(
                f"The package {name} in {folder} is another program's: uninstall that one (pip uninstall {name}) or "
                "take its folder off PYTHONPATH, and install brainmets-dicom-node again, best in a virtual environment "
                "of its own."
            )


def _folder_of(name: str) -> Path | None:
    """Return where Python would import the package from, without importing it."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]).absolute() if places else None


def _is_anothers(name: str, folder: Path) -> bool:
    """Tell whether a distribution of this very name was installed into the folder; its files then replaced ours."""
    try:
        other = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return Path(str(other.locate_file(name))).absolute() == folder
