"""``dicom-node process``: the same pipeline on DICOM files on disk, without a listener and without an engine.

Design rule: a study from a folder is analysed exactly as one that was received; only the steps run here and now.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydantic import TypeAdapter
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_node.config import Configuration, open_configured_archive
from dicom_node.errors import InvalidStudyError
from dicom_node.jobs.arrival import card_of, revision_of
from dicom_node.jobs.job import Outcome, StepRunner, StudyJob
from dicom_node.jobs.listing import series_table
from dicom_node.jobs.steps import DirectSteps
from dicom_node.network.archive import Archive
from dicom_node.network.instance import is_uid
from dicom_node.results.findings import StudyFindings
from dicom_node.results.findings_reading import read_findings
from dicom_node.studies.own_results import is_own_result


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundStudy:
    """The files of one study, by SOP Instance UID; a copy of an instance counts once.

    Attributes
    ----------
    headers, paths
        Keys are SOP Instance UIDs.
    """

    study_uid: str
    headers: dict[str, Dataset]
    paths: dict[str, Path]

    def job(self, configuration: Configuration, configuration_path: Path | None) -> StudyJob:
        """Return the job, named as the listener's would be."""
        foreign = {uid: self.paths[uid] for uid, header in self.headers.items() if not is_own_result(header)}
        job_id = f"{self.study_uid}:{revision_of(foreign)}"
        return StudyJob(
            job_id=job_id,
            study_uid=self.study_uid,
            instance_paths=tuple(self.paths.values()),
            work_folder=configuration.work_folder / f"process_{job_id.replace(':', '_')}",
            configuration_path=configuration_path,
        )

    @property
    def is_ours_alone(self) -> bool:
        """Whether it holds nothing but results of this node."""
        return all(is_own_result(header) for header in self.headers.values())


def find_studies(folders: Iterable[Path]) -> list[FoundStudy]:
    """Read the headers of all files under the folders; return their studies, the earliest first.

    Raises
    ------
    InvalidStudyError
        There is no DICOM file at all.
    """
    studies: dict[str, FoundStudy] = {}
    for path, header in _headers(folders):
        study_uid = str(header.StudyInstanceUID)
        study = studies.setdefault(study_uid, FoundStudy(study_uid=study_uid, headers={}, paths={}))
        study.headers.setdefault(str(header.SOPInstanceUID), header)
        study.paths.setdefault(str(header.SOPInstanceUID), path)
    if not studies:
        named = ", ".join(str(folder) for folder in folders)
        raise InvalidStudyError(f"There is no DICOM file in {named}: name a folder that holds a study's files.")
    with_images = [study for study in studies.values() if not study.is_ours_alone]
    return sorted(with_images, key=lambda study: card_of(list(study.headers.values())).study_time or "9")


def process_study(
    job: StudyJob, pipeline: Callable[[StudyJob, StepRunner], Outcome], on_step: Callable[[str], None]
) -> Outcome:
    """Run one job here; its intermediate files are removed afterwards.

    Raises
    ------
    NodeError
        The study cannot be analysed, or the results not be delivered.
    """
    steps = DirectSteps(on_step)
    job.work_folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = pipeline(job, steps)
    finally:
        shutil.rmtree(job.work_folder)
    return dataclasses.replace(outcome, timings_s=steps.timings_s)


def _headers(folders: Iterable[Path]) -> Iterator[tuple[Path, Dataset]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            header = _read(path) if path.is_file() else None
            if header is not None:
                yield path.absolute(), header


def _read(path: Path) -> Dataset | None:
    """Read a header; None for a file that is no DICOM instance of a study (a DICOMDIR, a text)."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        uids = (str(header.StudyInstanceUID), str(header.SOPInstanceUID))
    except (InvalidDicomError, EOFError, ValueError, AttributeError, KeyError, NotImplementedError, OSError):
        return None
    return header if all(map(is_uid, uids)) else None


def process_folders(folders: list[Path], configuration: Configuration, configuration_path: Path | None) -> None:
    """Analyse all studies in the folders, the earliest first, and print what came out.

    Raises
    ------
    NodeError
        At the first study that fails; those before it are delivered.
    """
    studies = find_studies(folders)
    console = Console()
    archive = open_configured_archive(configuration)
    from dicom_node.jobs.pipeline import follow_up  # late: it loads the whole analysis

    for study in studies:
        console.print(Text(f"Study {study.study_uid}, {len(study.paths)} instances", style="bold"), soft_wrap=True)
        outcome = process_study(
            study.job(configuration, configuration_path), follow_up, lambda step: console.print(Text(f"  {step} …"))
        )
        values = TypeAdapter(Outcome).dump_python(outcome, mode="json")
        console.print(series_table(values["series"]))
        console.print(lesion_table(_findings(archive, study.study_uid)))
        for remark in outcome.remarks:
            console.print(Text(f"Remark: {remark}"))
        console.print(Text(_where(configuration, outcome)), soft_wrap=True)


def lesion_table(findings: StudyFindings) -> Table:
    """Lay out the lesions as SEG and SR in the archive state them."""
    table = Table("lesion", "state")
    for name in ("then mm³", "now mm³", "change %", "longest mm", "perpendicular mm"):
        table.add_column(name, justify="right")
    for lesion in findings.findings:
        table.add_row(
            lesion.tracking_id,
            lesion.state,
            "" if lesion.prior_volume_mm3 is None else f"{lesion.prior_volume_mm3:.0f}",
            f"{lesion.volume_mm3:.0f}",
            "" if lesion.change_percent is None else f"{lesion.change_percent:+.0f}",
            f"{lesion.longest_diameter_mm:.1f}",
            f"{lesion.perpendicular_diameter_mm:.1f}",
        )
    return table


def _findings(archive: Archive, study_uid: str) -> StudyFindings:
    """Read the results back from the archive, since that is what everyone else will see."""
    study = archive.find_study(study_uid)
    with tempfile.TemporaryDirectory() as folder:
        for series in study.series if study is not None else ():
            if series.modality in ("SEG", "SR"):
                archive.fetch_series(study_uid, series.series_uid, into=Path(folder) / study_uid / series.series_uid)
        return read_findings(Path(folder), study_uid)


def _where(configuration: Configuration, outcome: Outcome) -> str:
    options = configuration.archive
    place = str(configuration.archive_folder) if options.kind == "folder" else options.orthanc_url
    results = ", ".join(f"{kind} {uid}" for kind, uid in outcome.result_uids.items())
    return f"Results in {place}: {results}"
