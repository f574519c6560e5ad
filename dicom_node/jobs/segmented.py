"""A study whose lesions are known, as it passes from step to step: numbers here, volumes in files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from dicom_node.jobs.artefacts import load_volume
from dicom_node.studies.physics import SeriesPhysics
from tracking.lesion import Lesion
from tracking.timepoint import MRSequence, Timepoint


@dataclass(frozen=True, kw_only=True)
class SegmentedStudy:
    """A study whose lesions are known; its volumes are files on the grid of its T1c.

    Attributes
    ----------
    t1c_paths
        DICOM files of the T1c in slice order; one for a multi-frame image.
    t1c, brain, lesions
        Files of `save_volume`.
    measured
        The lesions, measured in native space.
    probability
        File of `save_volume`; None for lesions that were read and not found now.
    tissues
        File of `save_volume`: `tracking.timepoint.Tissue`; None if they are not told apart.
    further
        Files of `save_volume`: what the network was given beside the T1c, on its grid.
    remarks
        What the reader must know of how the lesions were found.
    """

    study_uid: str
    study_date: date
    physics: SeriesPhysics
    t1c_paths: tuple[Path, ...]
    t1c: Path
    brain: Path
    lesions: Path
    measured: tuple[Lesion, ...]
    probability: Path | None = None
    tissues: Path | None = None
    further: Mapping[MRSequence, Path] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def timepoint_of(study: SegmentedStudy) -> Timepoint:
    """Load the volumes of a study."""
    return Timepoint(
        study_uid=study.study_uid,
        study_date=study.study_date,
        images={MRSequence.T1C: load_volume(study.t1c)}
        | {sequence: load_volume(path) for sequence, path in study.further.items()},
        brain=load_volume(study.brain),
        lesions=load_volume(study.lesions),
    )
