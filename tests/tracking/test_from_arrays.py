"""The whole way without DICOM: arrays and an affine in, verdict, figures and curves out. Registration is given here."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from tests.tracking.phantoms import empty_grid, timepoint, with_balls
from tests.tracking.visits import FIRST_DAY
from tracking.alignment import GivenAlignment
from tracking.dynamics import dynamics
from tracking.plots import growth_figure
from tracking.response import Overall, assess_course, describe
from tracking.timeline import labelled_study, track_history
from tracking.timepoint import Timepoint
from tracking.visit import Presence, Visit, visit_of_study

GROWS, SHRINKS, COMES = (-20.0, 0.0, 0.0), (20.0, 0.0, 0.0), (0.0, 20.0, 10.0)
BALLS = [
    [(GROWS, 6.0), (SHRINKS, 6.0)],
    [(GROWS, 7.0), (SHRINKS, 3.0)],
    [(GROWS, 11.0), (COMES, 3.0)],
]


def studies() -> list[Timepoint]:
    grid = empty_grid((64, 64, 64))
    return [
        labelled_study(
            with_balls(grid, balls).array > 0,
            grid.affine,
            study_uid=f"1.2.{number}",
            study_date=FIRST_DAY + timedelta(days=60 * number),
        )
        for number, balls in enumerate(BALLS)
    ]


def visits() -> list[Visit]:
    known = studies()
    alignments = [
        GivenAlignment(fixed_study_uid=later.study_uid, moving_study_uid=earlier.study_uid, sigma_mm=1.0)
        for earlier, later in pairwise(known)
    ]
    history = track_history(known, alignments)
    return [visit_of_study(study, one.tracks) for study, one in zip(known, history, strict=True)]


def test_from_arrays_to_the_verdict_the_figures_and_the_curves() -> None:
    course = visits()
    first, last = assess_course(course)
    assert (first.overall, last.overall) == (Overall.SD, Overall.PD)
    assert last.target_diameters is not None
    assert last.target_diameters.baseline == pytest.approx(24, abs=2)
    assert last.target_diameters.current == pytest.approx(22, abs=1)
    assert last.target_diameters.largest_increase == pytest.approx(8, abs=1)
    assert len(last.new_lesions) == 1
    assert "progressive disease" in describe(last)[0]
    figures = dynamics(course)
    assert figures.longest is not None
    assert figures.longest.new_tumours == 1
    balls_mm3 = 4 / 3 * np.pi * (np.array([11.0, 6.0, 6.0]) ** 3)
    expected = (balls_mm3[0] - balls_mm3[1] - balls_mm3[2]) / 2 / figures.longest.months
    assert figures.longest.volume_change_per_tumour_mm3_per_month == pytest.approx(expected, rel=0.05)
    assert len(growth_figure(course).axes) == 4


def test_visits_say_who_is_there() -> None:
    first, second, third = ({one.tracking_id for one in visit.present} for visit in visits())
    assert first == second == {"L1", "L2"}
    assert len(third) == 2
    assert third - first == {"L3"}
    (gone,) = [one for one in visits()[2].sightings if one.presence == Presence.ABSENT]
    assert gone.volume_mm3 == 0


def test_a_study_without_labels_is_refused() -> None:
    study = timepoint(empty_grid((4, 4, 4)), "1.2.3")
    bare = Timepoint(study_uid=study.study_uid, study_date=study.study_date, images=study.images)
    with pytest.raises(ValueError, match=r"Study 1\.2\.3 has no label volume"):
        visit_of_study(bare, ())
