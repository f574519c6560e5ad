"""Whole studies with distractors: every series gets its role or the right reason, headers labelled or not."""

from pathlib import Path
from typing import Any

import pytest
from highdicom import Volume
from pydantic import TypeAdapter
from pydicom.dataset import Dataset

from dicom_node.errors import NoUsableSeriesError
from dicom_node.results.codes import MANUFACTURER
from dicom_node.studies.physics import Contrast
from dicom_node.studies.reading import read_study
from dicom_node.studies.selection import Selection, require_t1c, select_series
from tests.dicom_node.studies.heads import head
from tests.dicom_node.studies.scanners import (
    CT_IMAGE_STORAGE,
    DIFFUSION,
    FLAIR,
    GE_BRAVO,
    PHILIPS_TFE,
    SIEMENS_MPRAGE,
    SPIN_ECHO_T1,
    T2_TSE,
    grid,
    save,
    series,
    turned,
)
from tracking.timepoint import MRSequence

STUDY = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1"}
OBLIQUE = turned((14, -6, 9))


def select(folder: Path, *all_series: list[Dataset]) -> Selection:
    paths = [path for datasets in all_series for path in save(datasets, folder)]
    return select_series(read_study(paths)[0])


def labelled(number: int, scanner: dict[str, Any], volume: Volume | None = None, **attributes: Any) -> list[Dataset]:
    return series(volume or grid(), scanner, **STUDY, SeriesNumber=number, **attributes)


def reason(selection: Selection, number: int) -> str:
    return next(one.reason for one in selection.decisions if one.series_number == number)


def role(selection: Selection, number: int) -> MRSequence | None:
    return next(one.role for one in selection.decisions if one.series_number == number)


@pytest.fixture(scope="module")
def native() -> Volume:
    return head(contrast_agent=False, directions=OBLIQUE)


@pytest.fixture(scope="module")
def enhanced_head() -> Volume:
    return head(contrast_agent=True, directions=OBLIQUE, gain=3.1, seed=5)


def test_a_labelled_study_gets_its_roles(tmp_path: Path) -> None:
    selection = select(
        tmp_path,
        labelled(1, SIEMENS_MPRAGE, grid((3, 64, 64)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        labelled(2, T2_TSE),
        labelled(3, FLAIR),
        labelled(4, DIFFUSION),
        labelled(5, GE_BRAVO, ContrastBolusAgent="Gadovist"),
    )
    roles = {number: role(selection, number) for number in range(1, 6)}
    assert roles == {1: None, 2: MRSequence.T2, 3: MRSequence.FLAIR, 4: None, 5: MRSequence.T1C}
    assert "localizer" in reason(selection, 1)
    assert "TR 9000 ms, TE 117 ms, TI 2500 ms" in reason(selection, 3)
    assert "'Gadovist'" in reason(selection, 5)
    assert require_t1c(selection).series_number == 5
    assert selection.physics[MRSequence.T1C].contrast is Contrast.GIVEN
    assert selection.remarks == ()


def test_unlabelled_contrast_agent_is_seen_beside_the_native_series(
    tmp_path: Path, native: Volume, enhanced_head: Volume
) -> None:
    frame = native.frame_of_reference_uid
    selection = select(
        tmp_path,
        labelled(4, PHILIPS_TFE, native, FrameOfReferenceUID=frame),
        labelled(7, PHILIPS_TFE, enhanced_head, FrameOfReferenceUID=frame),
    )
    assert (role(selection, 4), role(selection, 7)) == (MRSequence.T1, MRSequence.T1C)
    assert "brighter than in series 4" in reason(selection, 7)
    assert selection.physics[MRSequence.T1C].contrast is Contrast.GIVEN
    assert any("pixels show it" in remark for remark in selection.remarks)


def test_unlabelled_contrast_agent_is_seen_alone(tmp_path: Path, enhanced_head: Volume) -> None:
    selection = select(tmp_path, labelled(7, SPIN_ECHO_T1, enhanced_head))
    assert role(selection, 7) is MRSequence.T1C
    assert "outshines white matter" in reason(selection, 7)


def test_a_native_series_alone_is_refused_for_the_right_reason(tmp_path: Path, native: Volume) -> None:
    selection = select(
        tmp_path, labelled(5, SIEMENS_MPRAGE, native, SeriesDescription="SAG MPRAGE"), labelled(6, T2_TSE)
    )
    assert role(selection, 5) is MRSequence.T1
    with pytest.raises(NoUsableSeriesError) as refused:
        require_t1c(selection)
    message = str(refused.value)
    assert message.startswith("No series can serve as T1c: series 5 'SAG MPRAGE' is inversion-prepared and T1-weighted")
    assert "without contrast agent: its header does not say" in message
    assert "series 6 is T2" in message


def test_a_name_that_lies_does_not_convince(tmp_path: Path, native: Volume) -> None:
    selection = select(tmp_path, labelled(5, SIEMENS_MPRAGE, native, SeriesDescription="T1 mit KM"))
    assert MRSequence.T1C not in selection.chosen


def test_a_header_without_physics_is_judged_by_its_pixels(tmp_path: Path, enhanced_head: Volume) -> None:
    selection = select(
        tmp_path, labelled(5, {"ImageType": ["DERIVED", "SECONDARY"]}, enhanced_head, SeriesDescription="T1w")
    )
    assert role(selection, 5) is MRSequence.T1C
    assert "T1-weighted by its pixels and its name 'T1w'" in reason(selection, 5)


def test_a_labelled_series_whose_name_contradicts_is_used_and_told(tmp_path: Path, native: Volume) -> None:
    selection = select(tmp_path, labelled(5, SIEMENS_MPRAGE, native, ContrastBolusAgent="YES", ProtocolName="t1 nativ"))
    assert role(selection, 5) is MRSequence.T1C
    assert any("not certain that series 5 was acquired with contrast agent" in one for one in selection.remarks)


def test_the_thinner_of_two_is_chosen_and_the_other_told_why(tmp_path: Path, enhanced_head: Volume) -> None:
    thick = head(contrast_agent=True, directions=OBLIQUE, spacing_mm=(7.0, 2.0, 2.0), seed=5)
    agent = {"ContrastBolusAgent": "Dotarem"}
    selection = select(
        tmp_path,
        labelled(8, SPIN_ECHO_T1, thick, **agent),
        labelled(9, SIEMENS_MPRAGE, enhanced_head, **agent),
    )
    assert (role(selection, 8), role(selection, 9)) == (None, MRSequence.T1C)
    assert "but series 9 is used: its slices are thinner (4 against 7 mm)" in reason(selection, 8)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"shape": (10, 64, 64)}, "it has 10 slices; at least 15 are needed"),
        ({"spacing_mm": (8.0, 3.5, 3.5)}, "its slices are 8.0 mm apart"),
        ({"spacing_mm": (3.0, 3.5, 3.5)}, "it covers 60 mm; at least 100 mm"),
    ],
)
def test_too_little_of_the_head_is_refused(tmp_path: Path, damage: dict[str, Any], words: str) -> None:
    selection = select(tmp_path, labelled(5, SIEMENS_MPRAGE, grid(**damage), ContrastBolusAgent="Gd"))
    assert words in reason(selection, 5)
    with pytest.raises(NoUsableSeriesError, match=r"at least|at most"):
        require_t1c(selection)


def test_another_part_of_the_body_is_refused_whatever_agent_is_named(tmp_path: Path, enhanced_head: Volume) -> None:
    agent = {"ContrastBolusAgent": "Gd", "SeriesDescription": "T1 sag KM"}
    spine = labelled(5, SIEMENS_MPRAGE, enhanced_head, BodyPartExamined="LSPINE", **agent)
    neck = labelled(6, SIEMENS_MPRAGE, enhanced_head, BodyPartExamined="HEADNECK", **agent)
    selection = select(tmp_path, spine, neck)
    assert "Body Part Examined is 'LSPINE'" in reason(selection, 5)
    assert role(selection, 6) == MRSequence.T1C


def test_missing_slices_are_named(tmp_path: Path) -> None:
    datasets = labelled(5, SIEMENS_MPRAGE, ContrastBolusAgent="Gd", SeriesDescription="T1 KM")
    kept = [dataset for dataset in datasets if dataset.InstanceNumber not in {9, 10}]
    with pytest.raises(NoUsableSeriesError, match=r"series 5 'T1 KM' .* 2 slices are missing .* between .* mm"):
        require_t1c(select(tmp_path, kept))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    paths = save(labelled(5, SIEMENS_MPRAGE, ContrastBolusAgent="Gd"), tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-1000])
    selection = select_series(read_study(paths)[0])
    with pytest.raises(NoUsableSeriesError, match=rf"instance {paths[2].stem}: the file is truncated: 7192 of 8192"):
        require_t1c(selection)


def test_a_ct_is_named(tmp_path: Path) -> None:
    ct = labelled(2, {"Modality": "CT", "SOPClassUID": CT_IMAGE_STORAGE, "SeriesDescription": "CCT"})
    with pytest.raises(NoUsableSeriesError, match=r"series 2 'CCT' .* its modality is CT, not MR"):
        require_t1c(select(tmp_path, ct))


def test_raw_data_is_named(tmp_path: Path) -> None:
    raw = labelled(2, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"})
    assert "holds no images but 'Raw Data Storage'" in reason(select(tmp_path, raw), 2)


def test_results_of_this_node_are_no_input(tmp_path: Path) -> None:
    ours = labelled(900, SIEMENS_MPRAGE | {"Manufacturer": MANUFACTURER}, ContrastBolusAgent="Gd")
    selection = select(tmp_path, ours)
    assert "a result of this node" in reason(selection, 900)
    assert selection.chosen == {}


def test_a_selection_survives_json(tmp_path: Path) -> None:
    selection = select(tmp_path, labelled(2, T2_TSE), labelled(5, GE_BRAVO, ContrastBolusAgent="Gadovist"))
    adapter = TypeAdapter(Selection)
    assert adapter.validate_json(adapter.dump_json(selection)) == selection
    assert "Doe" not in repr(selection)
