"""Yale's two sets on The Cancer Imaging Archive: one with labels before treatment, one long and without labels.

Layout, as public converters of both sets read it::

    Pretreat-MetsToBrain-Masks/BraTS-MET-00086/BraTS-MET-00086-t1c.nii.gz       also -t1n, -t2w, -t2f; labels: -seg
    Yale-Brain-Mets-Longitudinal/YG_AB12/2015-03-04/YG_AB12_2015-03-04_12-30-11_POST.nii.gz   also _PRE, _T2, _FLAIR

Label values of the first: 1 necrosis, 2 edema, 3 enhancing; drawn and reviewed by radiologists: gold. Its images are
cut to the brain and lie in an atlas.

Not verified: whether the names of the first set end in a number of the study, and how many of its studies are in
BraTS-METS too, whose names they bear; whether the dates of the second are shifted (their intervals are then still
true); whether its images show the skull. The studies of the second are not registered to each other: register them,
and find their brains, before they are made sequences of. The doors were tested on generated samples alone.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from inference.label_schemes import YALE
from inference.training.datasets.brats import read_brats_mets
from inference.training.datasets.files import NIFTI
from inference.training.datasets.records import StudyRecord
from tracking.timepoint import MRSequence

SEQUENCES: Mapping[str, MRSequence] = {
    "POST": MRSequence.T1C,
    "PRE": MRSequence.T1,
    "T2": MRSequence.T2,
    "FLAIR": MRSequence.FLAIR,
}
NAME = re.compile(
    r"(?P<patient>.+)_(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_(?P<kind>POST|PRE|T2|FLAIR)", re.IGNORECASE
)


def read_yale_pretreatment(root: Path) -> tuple[StudyRecord, ...]:
    """Return the studies of "Pretreat-MetsToBrain-Masks".

    Raises
    ------
    FileNotFoundError
        There is no study below ``root``.
    """
    return read_brats_mets(root, data_set="Yale pretreatment", scheme=YALE)


def read_yale_longitudinal(root: Path) -> tuple[StudyRecord, ...]:
    """Return the studies of "Yale-Brain-Mets-Longitudinal", which has no labels.

    Raises
    ------
    FileNotFoundError
        There is no study below ``root``.
    """
    studies: dict[tuple[str, datetime], dict[MRSequence, Path]] = defaultdict(dict)
    for path in sorted(root.rglob("*.nii*")):
        if path.name.endswith(NIFTI) and (name := NAME.fullmatch(path.name.split(".nii")[0])):
            time = datetime.strptime(name["time"], "%Y-%m-%d_%H-%M-%S")  # noqa: DTZ007 - the names say no time zone
            studies[name["patient"], time][SEQUENCES[name["kind"].upper()]] = path
    if not studies:
        raise FileNotFoundError(
            f"{root} has no file such as YG_AB12_2015-03-04_12-30-11_POST.nii.gz; give the folder"
            " that the data set was unpacked to."
        )
    return tuple(
        StudyRecord(
            data_set="Yale longitudinal",
            patient_id=patient,
            visit=int(time.strftime("%Y%m%d%H%M%S")),
            day=time.date().toordinal(),
            images=images,
        )
        for (patient, time), images in sorted(studies.items())
    )
