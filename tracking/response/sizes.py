"""Sizes of the baseline's lesions through time, as sums with a baseline and a nadir."""

from collections.abc import Mapping
from dataclasses import dataclass

from tracking.history import Groups, History, Measure
from tracking.response.rules import Sums, is_longer
from tracking.response.targets import Criteria
from tracking.visit import Visit


@dataclass(frozen=True, kw_only=True)
class Course:
    """All that is known of a patient from the baseline on.

    Attributes
    ----------
    targets
        Tracking UIDs.
    faults
        Why the sizes of each visit cannot be judged.
    """

    history: History
    criteria: Criteria
    targets: tuple[str, ...]
    faults: tuple[tuple[str, ...], ...]

    def groups(self, number: int) -> tuple[Groups, Groups]:
        """Return the baseline lesions as they hang together at a visit: the targets' groups, and the others.

        A lesion that has merged with a target belongs to it at all visits, so that like is compared with like.
        """
        joined = self.history.groups(number, [one.tracking_uid for one in self.history.visits[0].present])
        targets = {host: uids for host, uids in joined.items() if set(uids) & set(self.targets)}
        return targets, {host: uids for host, uids in joined.items() if host not in targets}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of groups of lesions through time.

    Attributes
    ----------
    by_visit
        Size of each group at each visit up to the one that is judged; None where a part of it is not shown.
    nadir
        The visit before that one with the smallest complete sum.
    smallest
        Of each group the smallest size before that visit, where sizes could be judged.
    """

    by_visit: tuple[Mapping[str, float | None], ...]
    nadir: int
    smallest: Mapping[str, float]

    def sums(self) -> Sums:
        """Return the sums that the rules look at."""
        now, least = self.by_visit[-1], self.by_visit[self.nadir]
        shown = {host: size for host, size in now.items() if size is not None}
        return Sums(
            baseline=_total(self.by_visit[0]),
            nadir=_total(least),
            current=_total(now),
            largest_increase=max((size - (least[host] or 0.0) for host, size in shown.items()), default=0.0),
            one_has_grown=any(is_longer(self.smallest[host], size) for host, size in shown.items()),
            all_shown=len(shown) == len(now),
        )


def faults_of(visit: Visit, criteria: Criteria) -> tuple[str, ...]:
    """Return the reasons why the sizes of a visit must not be judged; none when it is fine."""
    if visit.slice_spacing_mm <= criteria.thickest_slices_mm:
        return visit.inadequate
    limit = f"slices of {visit.slice_spacing_mm:g} mm are farther apart than {criteria.thickest_slices_mm:g} mm"
    return (*visit.inadequate, limit)


def sizes_of(course: Course, number: int, groups: Groups, measure: Measure) -> Sizes | None:
    """Return the sizes of these groups at every visit up to this one; None if there is no group."""
    if not groups:
        return None
    by_visit = tuple(
        {host: course.history.size(at, uids, measure) for host, uids in groups.items()} for at in range(number + 1)
    )
    fit = [at for at in range(number) if not course.faults[at]]
    complete = [at for at in fit if None not in by_visit[at].values()]
    smallest = {
        host: min((size for at in fit if (size := by_visit[at][host]) is not None), default=by_visit[0][host] or 0.0)
        for host in groups
    }
    return Sizes(
        by_visit=by_visit, nadir=min(complete, key=lambda at: _total(by_visit[at]), default=0), smallest=smallest
    )


def _total(sizes: Mapping[str, float | None]) -> float:
    return float(sum(size or 0.0 for size in sizes.values()))
