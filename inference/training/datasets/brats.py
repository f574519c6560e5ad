"""BraTS: metastases (BraTS-METS, 2023 to 2025) and gliomas (2021), four sequences in one folder per study.

Layout, as public converters of both sets read it::

    BraTS-MET-00001-000/BraTS-MET-00001-000-t1c.nii.gz    also -t1n, -t2w, -t2f; labels: -seg
    BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz           also _t1, _t2, _flair; labels: _seg

Label values: METS 1 non-enhancing core, 2 surrounding FLAIR hyperintensity, 3 enhancing, 4 resection cavity (from
2025); 2021 1 necrosis, 2 edema, 4 enhancing. Training labels of both were approved by neuroradiologists: gold.

Not verified: that the last number of a METS name is the order of a patient's studies (it says ``-000``, ``-001``…; days
are not told). Users of METS report patients that occur under two numbers with identical files, and METS contains
studies of UCSF, Yale, Stanford and New York under new names: before such sets are mixed, see
`inference.training.datasets.folds.patients_with_same_images`. The door was tested on generated samples alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from inference.label_schemes import BRATS_2021, BRATS_METS, LabelScheme
from inference.training.datasets.files import Names, folders, images, nifti
from inference.training.datasets.records import Disease, Quality, StudyRecord
from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How studies lie on disk: the pattern of their folders, patient and visit in a folder's name, and its files."""

    pattern: str
    name: re.Pattern[str]
    files: Names
    labels: str


METS = Layout(
    pattern="BraTS-MET-*",
    name=re.compile(r"(?P<patient>BraTS-MET-\d+)(?:-(?P<visit>\d+))?"),
    files={
        MRSequence.T1C: ("-t1c",),
        MRSequence.T1: ("-t1n",),
        MRSequence.T2: ("-t2w",),
        MRSequence.FLAIR: ("-t2f",),
    },
    labels="-seg",
)
GLIOMAS = Layout(
    pattern="BraTS2021_*",
    name=re.compile(r"(?P<patient>BraTS2021_\d+)(?P<visit>)"),
    files={
        MRSequence.T1C: ("_t1ce",),
        MRSequence.T1: ("_t1",),
        MRSequence.T2: ("_t2",),
        MRSequence.FLAIR: ("_flair",),
    },
    labels="_seg",
)


def read_brats_mets(
    root: Path, *, data_set: str = "BraTS-METS", scheme: LabelScheme = BRATS_METS
) -> tuple[StudyRecord, ...]:
    """Return the studies of BraTS-METS, or of another set in its layout.

    Studies without labels (the validation part) are there without labels.

    Raises
    ------
    FileNotFoundError
        There is no study below ``root``.
    """
    return _read(root, METS, data_set=data_set, scheme=scheme, disease=Disease.METASTASES)


def read_brats_2021(root: Path) -> tuple[StudyRecord, ...]:
    """Return the studies of BraTS 2021: gliomas, one study each, for training before metastases, never for judging.

    Raises
    ------
    FileNotFoundError
        There is no study below ``root``.
    """
    return _read(root, GLIOMAS, data_set="BraTS 2021", scheme=BRATS_2021, disease=Disease.GLIOMA)


def _read(
    root: Path, layout: Layout, *, data_set: str, scheme: LabelScheme, disease: Disease
) -> tuple[StudyRecord, ...]:
    records = []
    for folder in folders(root, layout.pattern):
        name, present = layout.name.fullmatch(folder.name), images(folder, layout.files, stem=folder.name)
        if name is None or not present:
            continue  # a folder of folders, whose name begins alike
        labels = nifti(folder, f"{folder.name}{layout.labels}")
        records.append(
            StudyRecord(
                data_set=data_set,
                patient_id=name["patient"],
                visit=int(name["visit"] or 0),
                images=present,
                labels=labels,
                scheme=scheme if labels else None,
                quality=Quality.GOLD if labels else Quality.UNLABELLED,
                disease=disease,
            )
        )
    return tuple(records)
