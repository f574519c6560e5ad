"""NYUMets-Brain: up to dozens of studies of each patient, a table of them, and outlines of whole lesions.

Layout, as the data set's own documentation and loader name it::

    imaging.csv    PatientID, StudyID, RelativeTimepoint, ExpertAdjusted (1: reviewed by an expert), …
    imaging/patientId/12345678/studyId/1234567890/CT1.nii.gz    also T1, T2, FLAIR, RTSTRUCT_MRI, RTSTRUCT_segmentation
    timeseries.csv    patient_identifier, image_id, time_from_gk_days, … (optional)

CT1 is the T1c of a diagnostic study, RTSTRUCT_MRI that of radiosurgery's plan, on which the lesions were outlined;
where both are there, the latter counts. Labels are one class, the whole lesion. Reviewed ones are gold, others silver,
as the publication judges by the former alone.

Not verified: the unit of RelativeTimepoint (only its order is used), and that image_id of the time series is StudyID
(days come from there, if its table is given); that outlines leave out resection cavities; that the images are cut to
the brain. The door was tested on generated samples alone.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from inference.label_schemes import WHOLE_LESION
from inference.training.datasets.files import Names, images, nifti
from inference.training.datasets.records import Quality, StudyRecord
from tracking.timepoint import MRSequence

FILES: Names = {
    MRSequence.T1C: ("RTSTRUCT_MRI", "CT1"),
    MRSequence.T1: ("T1",),
    MRSequence.T2: ("T2",),
    MRSequence.FLAIR: ("FLAIR",),
}
COLUMNS = ("PatientID", "StudyID", "RelativeTimepoint", "ExpertAdjusted")
TIME_COLUMNS = ("image_id", "time_from_gk_days")

Row = Mapping[str, str]


def read_nyumets(root: Path, *, table: Path, time_series: Path | None = None) -> tuple[StudyRecord, ...]:
    """Return the studies of NYUMets.

    Studies of the table that are not on disk are left out: the set is handed out in parts.

    Parameters
    ----------
    root
        Folder that holds ``imaging``.
    table
        The table of images.
    time_series
        The table of visits, for days; without it only the order of the studies is known.

    Raises
    ------
    FileNotFoundError
        No study of the table is below ``root``.
    ValueError
        A table lacks a column, or a value in it is no whole number; the message names table, line and column.
    """
    days = _days(time_series) if time_series else {}
    records = []
    for line, row in enumerate(_rows(table, COLUMNS), start=2):
        patient, study = (str(_whole(row, column, table, line)) for column in ("PatientID", "StudyID"))
        folder = root / "imaging" / "patientId" / patient / "studyId" / study
        present = images(folder, FILES) if folder.is_dir() else {}
        if not present:
            continue
        labels = nifti(folder, "RTSTRUCT_segmentation")
        reviewed = _whole(row, "ExpertAdjusted", table, line) == 1
        records.append(
            StudyRecord(
                data_set="NYUMets",
                patient_id=patient,
                visit=_whole(row, "RelativeTimepoint", table, line),
                day=days.get(study),
                images=present,
                labels=labels,
                scheme=WHOLE_LESION if labels else None,
                quality=Quality.UNLABELLED if not labels else Quality.GOLD if reviewed else Quality.SILVER,
            )
        )
    if not records:
        raise FileNotFoundError(f"No study of {table.name} is below {root / 'imaging'}; give the folder above it.")
    return tuple(records)


def read_nyumets_folder(root: Path) -> tuple[StudyRecord, ...]:
    """Return the studies of NYUMets with ``imaging.csv``, and ``timeseries.csv`` if it is there, in the same folder.

    Raises
    ------
    FileNotFoundError
        There is no such table, or no study of it.
    ValueError
        As `read_nyumets`.
    """
    table, time_series = root / "imaging.csv", root / "timeseries.csv"
    if not table.exists():
        raise FileNotFoundError(f"{root} has no imaging.csv; give the folder that holds it beside imaging/.")
    return read_nyumets(root, table=table, time_series=time_series if time_series.exists() else None)


def _days(table: Path) -> dict[str, int]:
    rows = enumerate(_rows(table, TIME_COLUMNS), start=2)
    return {
        str(_whole(row, "image_id", table, line)): _whole(row, "time_from_gk_days", table, line)
        for line, row in rows
        if row["image_id"] and row["time_from_gk_days"]  # other visits are no images
    }


def _rows(table: Path, columns: Iterable[str]) -> list[Row]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{table.name} has no column {', '.join(missing)}; is it the right table?")
        return list(reader)


def _whole(row: Row, column: str, table: Path, line: int) -> int:
    """Read a whole number; tables that went through pandas write 12.0."""
    try:
        value = float(row[column])
        if value.is_integer():
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass  # said below, together with fractions
    # The value stays out of the message: it may be a patient's number.
    raise ValueError(f"{table.name}, line {line}: {column} is no whole number.")
