"""``dicom-node process``: the same pipeline on DICOM files on disk, without a listener and without an engine.

Design rule: a study from a folder is analysed exactly as one that was received; only the steps run here and now.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from dicom_node.errors import InvalidStudyError, NodeError
from dicom_node.jobs.arrival import card_of, revision_of
from dicom_node.jobs.display import series_list
from dicom_node.jobs.job import Outcome, StepRunner, StudyJob
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


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundFiles:
    """What lies in the folders.

    Attributes
    ----------
    studies
        The earliest first.
    skipped
        Files that belong to none of them, by reason.
    """

    studies: tuple[FoundStudy, ...]
    skipped: dict[str, tuple[Path, ...]]


class _SkippedError(Exception):
    """The file is no instance to analyse; the message says why."""


def find_studies(folders: Iterable[Path]) -> FoundFiles:
    """Read the headers of all files under the folders, and sort them by study.

    Raises
    ------
    InvalidStudyError
        There is no study to analyse at all; the message says what there is instead.
    """
    folders = list(folders)
    studies: dict[str, FoundStudy] = {}
    skipped: dict[str, list[Path]] = {}
    for path in _files(folders):
        try:
            _add(path.absolute(), studies)
        except _SkippedError as reason:
            skipped.setdefault(str(reason), []).append(path)
    for study in [study for study in studies.values() if study.is_ours_alone]:
        skipped.setdefault("results of this node without their images", []).extend(study.paths.values())
        del studies[study.study_uid]
    found = FoundFiles(
        studies=tuple(sorted(studies.values(), key=_study_time)),
        skipped={reason: tuple(paths) for reason, paths in skipped.items()},
    )
    if not studies:
        named = ", ".join(str(folder) for folder in folders)
        sentence = f"There is no DICOM image in {named}: name a folder that holds a study's files."
        raise InvalidStudyError(" ".join([sentence, *skipped_lines(found)]))
    return found


def _study_time(study: FoundStudy) -> str:
    """Return a key by which studies without a date come last."""
    return card_of(list(study.headers.values())).study_time or "9"


def skipped_lines(found: FoundFiles) -> list[str]:
    """Return one sentence per reason for which files were skipped."""
    return [
        f"Skipped {len(paths)} file{'' if len(paths) == 1 else 's'}: {reason} "
        f"({paths[0]}{' and others' if len(paths) > 1 else ''})."
        for reason, paths in found.skipped.items()
    ]


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (sorted(folder.rglob("*")) if folder.is_dir() else [folder]) if path.is_file())


def _add(path: Path, studies: dict[str, FoundStudy]) -> None:
    header = _read(path)
    study_uid, instance_uid = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
    study = studies.setdefault(study_uid, FoundStudy(study_uid=study_uid, headers={}, paths={}))
    if instance_uid in study.headers:
        raise _SkippedError("a copy of an instance that was found before")
    study.headers[instance_uid], study.paths[instance_uid] = header, path


def _read(path: Path) -> Dataset:
    """Read a header; what pydicom says of a bad one is not repeated, since it may quote it."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        uids = (str(header.StudyInstanceUID), str(header.SOPInstanceUID))
    except InvalidDicomError as error:
        raise _SkippedError("no DICOM file") from error
    except OSError as error:
        raise _SkippedError(f"it cannot be read ({error.strerror})") from error
    except AttributeError as error:
        raise _SkippedError("no instance of a study, as a DICOMDIR") from error
    except (EOFError, ValueError, KeyError, NotImplementedError) as error:
        raise _SkippedError("its header is damaged") from error
    if not all(map(is_uid, uids)):
        raise _SkippedError("its header has no valid UIDs")
    return header


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


def process_folders(folders: list[Path], configuration: Configuration, configuration_path: Path | None) -> None:
    """Analyse all studies in the folders, the earliest first, and print what came out.

    Raises
    ------
    NodeError
        After the last study, when one or more of them failed; the others are delivered.
    """
    console = Console()
    found = find_studies(folders)
    for line in skipped_lines(found):
        console.print(Text(line), soft_wrap=True)
    archive = open_configured_archive(configuration)
    from dicom_node.jobs.pipeline import follow_up  # late: it loads the whole analysis

    def analyse(study: FoundStudy) -> None:
        job = study.job(configuration, configuration_path)
        outcome = process_study(job, follow_up, lambda step: console.print(Text(f"  {step} …")))
        _show(outcome, _findings(archive, study.study_uid), _where(configuration, outcome), console)

    process_each(found.studies, analyse, console)


def process_each(studies: Sequence[FoundStudy], analyse: Callable[[FoundStudy], None], console: Console) -> None:
    """Analyse one study after the other, whatever becomes of those before it, and sum up.

    Raises
    ------
    NodeError
        After the last study, when one or more of them failed.
    """
    failed: list[str] = []
    for study in studies:
        console.print(Text(f"Study {study.study_uid}, {len(study.paths)} instances", style="bold"), soft_wrap=True)
        try:
            analyse(study)
        except NodeError as error:
            console.print(Text(f"  failed: {error}", style="red"), soft_wrap=True)
            failed.append(study.study_uid)
    if failed:
        raise NodeError(
            f"{len(failed)} of {len(studies)} {'study' if len(studies) == 1 else 'studies'} failed, "
            f"for the reasons above: {', '.join(failed)}."
        )


def _show(outcome: Outcome, findings: StudyFindings, where: str, console: Console) -> None:
    values = TypeAdapter(Outcome).dump_python(outcome, mode="json")
    console.print(series_list(values["series"]))
    console.print(lesion_table(findings))
    for sentence in findings.course:
        console.print(Text(f"Course: {sentence}"))
    for remark in outcome.remarks:
        console.print(Text(f"Remark: {remark}"))
    console.print(Text(where), soft_wrap=True)


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
