"""What is told about two studies as a whole. Matching itself: test_matching."""

from dataclasses import replace
from datetime import date

import pytest

from tests.tracking.matching.test_matching import registration
from tests.tracking.phantoms import CURRENT_UID, PRIOR_UID, empty_grid, timepoint, with_balls
from tracking.comparison import NO_PRIOR, NOT_ASSESSED, compare
from tracking.identity import baseline_identities
from tracking.measurement import equivalent_diameter_mm, measure_lesions, minimum_detectable_change_percent
from tracking.registration import RegistrationKind
from tracking.track import TrackState

GRID = empty_grid((48, 48, 48))
NOW = timepoint(with_balls(GRID, [((-10, 0, 0), 4.2), ((10, 0, 0), 7.0)]), CURRENT_UID, date(2024, 5, 1))
BEFORE = timepoint(with_balls(GRID, [((-10, 0, 0), 4.0), ((10, 0, 0), 3.0)]), PRIOR_UID, date(2024, 1, 31))
KNOWN = baseline_identities(PRIOR_UID, measure_lesions(BEFORE.lesions))


def test_without_a_prior_everything_is_a_baseline() -> None:
    result = compare(NOW, measure_lesions(NOW.lesions), remarks=["first"])
    assert [track.state for track in result.tracks] == [TrackState.BASELINE] * 2
    assert [track.tracking_id for track in result.tracks] == ["L1", "L2"]
    assert result.interval_days is None
    assert result.remarks == ("first", NO_PRIOR, NOT_ASSESSED)


def test_a_first_study_names_its_lesions_as_a_later_one_will_call_them() -> None:
    """The prior may be segmented only when its follow-up comes; its own results must then agree."""
    own = compare(BEFORE, measure_lesions(BEFORE.lesions))
    assert [(track.tracking_uid, track.tracking_id) for track in own.tracks] == [
        (identity.tracking_uid, identity.tracking_id) for identity in KNOWN
    ]


def test_two_studies_are_compared() -> None:
    result = compare(NOW, measure_lesions(NOW.lesions), BEFORE, KNOWN, registration(), remarks=["thick slices"])
    assert result.interval_days == 91
    assert result.current_volume_mm3 == pytest.approx(sum(le.total_volume_mm3 for le in measure_lesions(NOW.lesions)))
    assert result.prior_volume_mm3 == pytest.approx(sum(le.total_volume_mm3 for le in measure_lesions(BEFORE.lesions)))
    assert result.remarks == ("thick slices", NOT_ASSESSED)
    small, large = result.tracks
    diameter_mm = equivalent_diameter_mm(small.prior_volume_mm3)
    factor = 1 + minimum_detectable_change_percent(diameter_mm, 1.0) / 100
    assert small.remarks == (f"change is within measurement error (a factor of {factor:.2f} at this size)",)
    assert large.remarks == ()


def test_poor_registration_is_told() -> None:
    poor = registration(sigma_mm=3.2)
    remarks = compare(NOW, measure_lesions(NOW.lesions), BEFORE, KNOWN, poor).remarks
    assert "within about 3.2 mm only" in remarks[0]
    failed = replace(registration(sigma_mm=10, kind=RegistrationKind.NONE), remarks=("failed",))
    assert compare(NOW, measure_lesions(NOW.lesions), BEFORE, KNOWN, failed).remarks == ("failed", NOT_ASSESSED)


def test_a_prior_needs_a_registration() -> None:
    with pytest.raises(ValueError, match="without a registration"):
        compare(NOW, (), BEFORE)
