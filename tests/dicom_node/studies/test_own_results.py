"""Our own results are known by their equipment, and by nothing else."""

import pytest
from pydicom.dataset import Dataset

from dicom_node.results.codes import MANUFACTURER
from dicom_node.studies.own_results import is_own_result


@pytest.mark.parametrize(
    ("manufacturer", "ours"),
    [(MANUFACTURER, True), (f"{MANUFACTURER} ", True), ("SIEMENS", False), ("", False), (None, False)],
)
def test_the_manufacturer_decides(manufacturer: str | None, ours: bool) -> None:
    dataset = Dataset()
    dataset.Modality = "SEG"
    if manufacturer is not None:
        dataset.Manufacturer = manufacturer
    assert is_own_result(dataset) is ours
