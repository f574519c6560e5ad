"""Results of this node, known by the equipment they name: they are never input, and in a prior they are its memory."""

from pydicom.dataset import Dataset

from dicom_node.results.codes import MANUFACTURER
from dicom_node.studies.headers import text


def is_own_result(dataset: Dataset) -> bool:
    """Tell whether an instance was made by this software, on whatever machine.

    Parameters
    ----------
    dataset
        Any header; Manufacturer (0008,0070) decides.
    """
    return text(dataset, "Manufacturer") == MANUFACTURER
