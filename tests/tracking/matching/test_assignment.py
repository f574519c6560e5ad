"""Linking of sites, by hand-made balls and by properties. Tracks: test_matching."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from tracking.matching.assignment import link_sites, pair_sites
from tracking.matching.evidence import MatchSettings
from tracking.matching.sites import Site, ball_at, near_pairs, part_within
from tracking.track import LinkKind

# Drawn by seed: places and sizes that hypothesis shrinks to the same values make ties, which no order can settle.
seeds = st.integers(0, 2**32 - 1)
Both = tuple[list[Site], list[Site]]


def crowd(seed: int) -> Both:
    """Up to seven balls of any size in either study, in a space where many touch."""
    rng = np.random.default_rng(seed)
    return tuple(
        [
            ball_at(rng.uniform(-22, 22, 3), 60 * np.exp(rng.normal(0, 1.5)), sigma_mm=1.0)
            for _ in range(rng.integers(0, 8))
        ]
        for _ in range(2)
    )


crowds = seeds.map(crowd)


def at(x: float, volume_mm3: float, *, sigma_mm: float = 0.7) -> Site:
    return ball_at(np.array((x, 0.0, 0.0)), volume_mm3, sigma_mm=sigma_mm)


def pairs_of(priors: list[Site], currents: list[Site]) -> set[tuple[int, int]]:
    return {(link.prior, link.current) for link in link_sites(priors, currents).going_on}


@settings(max_examples=60, deadline=None)
@given(both=crowds)
def test_time_has_no_direction(both: Both) -> None:
    priors, currents = both
    assert pairs_of(priors, currents) == {(p, c) for c, p in pairs_of(currents, priors)}


@settings(max_examples=40, deadline=None)
@given(both=crowds, data=st.data())
def test_order_has_no_meaning(both: Both, data: st.DataObject) -> None:
    priors, currents = both
    order = data.draw(st.permutations(range(len(currents))))
    shuffled = {(p, order[c]) for p, c in pairs_of(priors, [currents[place] for place in order])}
    assert shuffled == pairs_of(priors, currents)


@settings(max_examples=40, deadline=None)
@given(both=crowds, shift=st.tuples(*[st.integers(-300, 300)] * 3))
def test_place_has_no_meaning(both: Both, shift: tuple[int, int, int]) -> None:
    priors, currents = both
    moved = [[site.moved(np.array(shift, float), site.sigma_mm) for site in sites] for sites in (priors, currents)]
    assert pairs_of(*moved) == pairs_of(priors, currents)


@settings(max_examples=40, deadline=None)
@given(both=crowds)
def test_links_are_pairs_and_parts(both: Both) -> None:
    links = link_sites(*both).going_on
    paired = [link for link in links if link.kind == LinkKind.PAIR]
    assert len({link.prior for link in paired}) == len({link.current for link in paired}) == len(paired)
    for link in links:
        assert 0 <= link.confidence <= 1
        if link.kind == LinkKind.MERGE:
            assert sum(other.current == link.current for other in links) > 1
        if link.kind == LinkKind.SPLIT:
            assert sum(other.prior == link.prior for other in links) > 1


@settings(max_examples=40, deadline=None)
@given(both=crowds, limit_mm=st.floats(0, 8))
def test_no_near_pair_is_left_out(both: Both, limit_mm: float) -> None:
    priors, currents = both
    near = set(near_pairs(priors, currents, limit_mm))
    for p, prior in enumerate(priors):
        for c, current in enumerate(currents):
            assert (p, c) in near or cdist(prior.points, current.points).min() > limit_mm + 1


def test_the_gate_widens_with_the_error_of_registration() -> None:
    sure, unsure = [at(0, 60, sigma_mm=0.5)], [at(0, 60, sigma_mm=5.0)]
    assert [len(pair_sites(prior, [at(9, 60)], MatchSettings())) for prior in (sure, unsure)] == [0, 1]


def test_a_small_lesion_next_to_a_large_one_that_has_gone_is_another() -> None:
    assert pairs_of([at(0, 2000)], [at(11.5, 20)]) == set()


def test_a_lesion_that_has_grown_round_its_old_place_is_itself() -> None:
    assert pairs_of([at(6, 30)], [at(0, 4000)]) == {(0, 0)}


def test_a_group_of_parts_needs_room_in_the_whole() -> None:
    whole, parts = at(0, 500), [at(-3, 450), at(3, 440)]
    assert len(pairs_of(parts, [whole])) == 1


def test_how_much_lies_within() -> None:
    large, small = at(0, 4000), at(0, 30)
    assert part_within(small, large, 0.0) == 1.0
    assert part_within(at(10.5, 500), large, 0.0) < 0.5
    assert part_within(at(10.5, 500), large, 0.0, shift_mm=np.array((-8.0, 0, 0))) == 1.0
    assert part_within(at(40, 30), large, 5.0) == 0.0


def test_a_place_that_had_been_left_competes_with_the_neighbour_of_before() -> None:
    """A spot at the rim of a large lesion's old place: the large one is back, and has taken in the spot."""
    spot, large = at(11.0, 60), at(0, 4000)
    links = link_sites([spot], [large], [large])
    assert [(link.prior, link.current) for link in links.returning] == [(0, 0)]
    assert [link.kind for link in links.going_on] == [LinkKind.MERGE]
    assert link_sites([at(16.0, 60)], [large], [large]).going_on == ()
    assert pairs_of([spot], [large]) == {(0, 0)}


def test_a_neighbour_that_went_beside_an_unchanged_lesion_has_not_merged() -> None:
    stays, neighbour = at(0, 300), at(7.0, 60)
    assert pairs_of([stays, neighbour], [stays]) == {(0, 0)}
    assert pairs_of([stays], [stays, neighbour]) == {(0, 0)}
    both = ball_at(np.array((1.0, 0.0, 0.0)), 700)
    assert pairs_of([stays, neighbour], [both]) == {(0, 0), (1, 0)}


def test_what_a_lesion_has_broken_off_is_no_return() -> None:
    whole, left, right = at(0, 2000), at(-4, 500), at(4.5, 300)
    links = link_sites([whole], [left, right], [at(4.5, 300)])
    assert {(link.prior, link.current) for link in links.going_on} == {(0, 0), (0, 1)}
    assert links.returning == ()
