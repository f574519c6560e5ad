"""Defects 6 and 8 of the published matching code, each shown not to be ours (and to be the baseline's)."""

import numpy as np

from tests.tracking.matching.test_matching import GRID, fates, follow, registration
from tests.tracking.phantoms import CURRENT_UID, PRIOR_UID, empty_grid, timepoint, with_balls
from tracking.identity import baseline_identities
from tracking.matching import match
from tracking.matching.baselines import NYUMETS, nyumets_mutual
from tracking.matching.sites import sites_of
from tracking.measurement import measure_lesions
from tracking.timeline import labelled_study


def published_links(prior: list, current: list) -> list[set[tuple[int, int]]]:
    """What the published code links, for each of its published thresholds."""
    sites = [
        sites_of(measure_lesions(labels), labels) for labels in (with_balls(GRID, prior), with_balls(GRID, current))
    ]
    return [set(nyumets_mutual(*sites, limits=limits)) for limits in NYUMETS]


def test_defect_6_earlier_labels_are_split_into_components() -> None:
    """A prior that comes as one mask holds several lesions, of which one has gone."""
    mask = with_balls(GRID, [((-15, 0, 0), 4), ((15, 0, 0), 3)]).array > 0
    before = labelled_study(mask, GRID.affine, study_uid=PRIOR_UID, study_date=timepoint(GRID, "1").study_date)
    now = timepoint(with_balls(GRID, [((15, 0, 0), 3)]), CURRENT_UID)
    known = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    tracks = match(now, measure_lesions(now.lesions), before, known, registration())
    assert fates(tracks) == {"L1": ("resolved", [1], []), "L2": ("persistent", [2], [1])}
    assert tracks[0].prior_volume_mm3 < mask.sum()


def test_defect_8_a_merge_links_both_earlier_lesions() -> None:
    prior, current = [((-6, 0, 0), 3), ((2, 0, 0), 5)], [((-1, 0, 0), 9)]
    assert all(len(links) <= 1 for links in published_links(prior, current))
    (merged,) = follow(prior, current)
    assert {(link.prior, link.current) for link in merged.links} == {(1, 1), (2, 1)}


def test_defect_8_a_tie_is_not_overwritten() -> None:
    """Two earlier lesions fit a current one equally well: one stays without a partner, and the tie is told."""
    tracks = follow([((-3.5, 0, 0), 1.6), ((3.5, 0, 0), 1.6)], [((0, 0, 0), 1.6)], how=registration(sigma_mm=2.5))
    assert sorted(lesion.number for track in tracks for lesion in track.prior) == [1, 2]
    linked = [track for track in tracks if track.links]
    assert len(linked) == 1
    assert linked[0].confidence < 0.5
    assert "another lesion would fit nearly as well" in " ".join(linked[0].remarks)


def test_defect_8_a_split_is_no_false_positive() -> None:
    prior, current = [((0, 0, 0), 8)], [((-5, 0, 0), 3), ((5, 0, 0), 2.5)]
    assert all(len(links) <= 1 for links in published_links(prior, current))
    assert fates(follow(prior, current)) == {"L1": ("split", [1], [1, 2])}


def test_defect_8_a_shrunken_lesion_that_has_shifted_is_kept() -> None:
    prior, current = [((0, 0, 0), 6)], [((4, 1, 0), 1.8)]
    assert any(not links for links in published_links(prior, current))
    (track,) = follow(prior, current)
    assert track.state == "persistent"
    assert track.change_percent < -90


def test_the_published_thresholds_contradict_each_other() -> None:
    shift = 2.0
    links = published_links([((0, 0, 0), 4)], [((shift, 0, 0), 4)])
    assert [bool(found) for found in links] == [True, False, True]
    assert np.isclose(NYUMETS[1].distance_mm, 1.0)


def test_a_grid_without_lesions_is_fine() -> None:
    empty = empty_grid((8, 8, 8))
    assert published_links([], []) == [set(), set(), set()]
    assert sites_of((), empty) == ()
