"""What a job is and what it leaves behind: plain values that survive a restart as JSON."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dicom_node.studies.selection import SeriesDecision

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """One study to analyse.

    Attributes
    ----------
    job_id
        ``study UID:hash of its instances and their content``; the same study sent again is the same job.
    study_uid
        Study Instance UID.
    instance_paths
        The received DICOM files.
    work_folder
        Folder of this job's intermediate files.
    configuration_path
        TOML file of the node, or None for defaults and environment variables alone.
    """

    job_id: str
    study_uid: str
    instance_paths: tuple[Path, ...]
    work_folder: Path
    configuration_path: Path | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished job says of itself.

    Attributes
    ----------
    series
        The role of every received series, or the reason why it has none.
    result_uids
        SOP Instance UIDs of what was delivered and verified, by kind (``"SEG"``, ``"SR"``).
    remarks
        Everything that the radiologist is told about doubt.
    timings_s
        Wall seconds per step; the runner of the steps fills it in.
    """

    study_uid: str
    prior_study_uid: str | None
    series: tuple[SeriesDecision, ...]
    result_uids: dict[str, str]
    lesion_count: int
    remarks: tuple[str, ...]
    timings_s: dict[str, float] = field(default_factory=dict)


class StepRunner(Protocol):
    """Runs one step of the pipeline: directly, or durably and in a child process with a time limit."""

    def __call__(self, name: str, function: Callable[..., T], /, *args: Any, heavy: bool = False) -> T:
        """Run ``function(*args)`` as the step ``name`` and return its value.

        ``function`` is importable by name and fully annotated; its arguments and its result are dataclasses or
        plain values that pydantic turns into JSON and back. A heavy step may take minutes and gigabytes.
        """
