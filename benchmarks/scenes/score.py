"""How near a method came to the truth of a scene: counts that add up over scenes, and the rates drawn from them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.scenes.scene import Scene
from benchmarks.scenes.story import Atom

Edges = frozenset[tuple[int, int]]
Parts = Mapping[int, frozenset[Atom]]

EVENTS = ("new", "resolved", "recurrent", "merge", "split")
SIZES_MM3 = (0.0, 10.0, 100.0, 1000.0, float("inf"))  # edges are also counted by the volume of the earlier lesion


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """What a method says of a scene.

    Attributes
    ----------
    edges
        For each study but the first the pairs (number in the prior study, number in this one) that are one lesion.
    identities
        For each study the identity of every lesion number.
    """

    edges: tuple[Edges, ...]
    identities: tuple[Mapping[int, str], ...]


@dataclass(kw_only=True)
class Score:
    """Counts of one method: per kind the right, the wrong and the missed."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    switches: int = 0
    lesions: int = 0
    volume_errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def precision(self, kind: str) -> float:
        """Right ones of all that were said."""
        return _part(self.right[kind], self.wrong[kind])

    def recall(self, kind: str) -> float:
        """Right ones of all that are true."""
        return _part(self.right[kind], self.missed[kind])

    def f1(self, kind: str) -> float:
        """Harmonic mean of precision and recall."""
        return _part(2 * self.right[kind], self.wrong[kind] + self.missed[kind])

    @property
    def switches_per_lesion(self) -> float:
        """How often a lesion went on under another identity, per lesion of the truth."""
        return self.switches / self.lesions if self.lesions else float("nan")

    @property
    def group_volume_error(self) -> float:
        """Mean relative error of the prior volume that a lesion is compared with."""
        return sum(self.volume_errors) / len(self.volume_errors) if self.volume_errors else float("nan")

    @property
    def mean_seconds(self) -> float:
        """Seconds per scene."""
        return sum(self.seconds) / len(self.seconds) if self.seconds else float("nan")

    def add(self, other: "Score") -> None:
        """Add the counts of another scene."""
        self.right += other.right
        self.wrong += other.wrong
        self.missed += other.missed
        self.switches += other.switches
        self.lesions += other.lesions
        self.volume_errors += other.volume_errors
        self.seconds += other.seconds

    def compare(self, kind: str, said: Iterable[object], true: Iterable[object]) -> None:
        """Count a set of things said against the set of true ones."""
        said, true = set(said), set(true)
        self.right[kind] += len(said & true)
        self.wrong[kind] += len(said - true)
        self.missed[kind] += len(true - said)


def judge(scene: Scene, tracked: Tracked, volumes_mm3: tuple[Mapping[int, float], ...]) -> Score:
    """Compare what a method says with the truth, study by study."""
    score = Score(lesions=len({atom[:1] for parts in scene.atoms for atoms in parts.values() for atom in atoms}))
    for place in range(1, len(scene.studies)):
        true, said = true_edges(scene.atoms[place - 1], scene.atoms[place]), tracked.edges[place - 1]
        score.compare("edge", said, true)
        for low, high in pairwise(SIZES_MM3):
            inside = {number for number, mm3 in volumes_mm3[place - 1].items() if low <= mm3 < high}
            stratum = [{edge for edge in edges if edge[0] in inside} for edges in (said, true)]
            score.compare(size_kind(low, high), *stratum)
        _judge_events(score, scene, tracked, place)
        score.volume_errors += _volume_errors(true, said, volumes_mm3[place - 1])
    return score


def size_kind(low_mm3: float, high_mm3: float) -> str:
    """Name the count of edges from lesions of these volumes."""
    return f"edge {low_mm3:g}-{high_mm3:g} mm³"


def true_edges(prior: Parts, current: Parts) -> Edges:
    """Return the pairs of lesions that share substance."""
    return frozenset((p, c) for p, before in prior.items() for c, now in current.items() if related(before, now))


def related(first: Iterable[Atom], second: Iterable[Atom]) -> bool:
    """Whether an atom of one set is an atom of the other, or broke off from it."""
    return any(a[: len(b)] == b or b[: len(a)] == a for a in first for b in second)


def _part(count: int, rest: int) -> float:
    return count / (count + rest) if count + rest else float("nan")


def _judge_events(score: Score, scene: Scene, tracked: Tracked, place: int) -> None:
    prior, current = scene.atoms[place - 1], scene.atoms[place]
    true, said = true_edges(prior, current), tracked.edges[place - 1]
    _judge_joins(score, "merge", _partners(said, 1), _partners(true, 1))
    _judge_joins(score, "split", _partners(said, 0), _partners(true, 0))
    score.compare("resolved", prior.keys() - {p for p, _ in said}, prior.keys() - {p for p, _ in true})
    seen = {identity for before in tracked.identities[:place] for identity in before.values()}
    fresh = {c: tracked.identities[place][c] in seen for c in current.keys() - {c for _, c in said}}
    known = {c: bool(_before(scene, place, c)) for c in current.keys() - {c for _, c in true}}
    score.compare("new", [c for c in fresh if not fresh[c]], [c for c in known if not known[c]])
    score.compare(
        "recurrent",
        [(c, _is_itself(scene, tracked, place, c)) for c in fresh if fresh[c]],
        [(c, True) for c in known if known[c]],
    )
    for c in current:
        identities = {tracked.identities[study][number] for study, number in _latest(scene, place, c)}
        score.switches += bool(identities) and tracked.identities[place][c] not in identities


def _partners(edges: Edges, end: int) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for edge in edges:
        found.setdefault(edge[end], set()).add(edge[1 - end])
    return {one: others for one, others in found.items() if len(others) > 1}


def _judge_joins(score: Score, kind: str, said: Mapping[int, set[int]], true: Mapping[int, set[int]]) -> None:
    """Count joins; one is right if at least two of its parts are."""
    right = {one for one in said.keys() & true.keys() if len(said[one] & true[one]) > 1}
    score.right[kind] += len(right)
    score.wrong[kind] += len(said.keys() - right)
    score.missed[kind] += len(true.keys() - right)


def _before(scene: Scene, place: int, number: int) -> list[tuple[int, int]]:
    """All earlier sights (study, number) of a lesion."""
    parts = scene.atoms[place][number]
    return [(s, n) for s in range(place) for n, atoms in scene.atoms[s].items() if related(atoms, parts)]


def _latest(scene: Scene, place: int, number: int) -> list[tuple[int, int]]:
    sights = _before(scene, place, number)
    last = max((study for study, _ in sights), default=0)
    return [sight for sight in sights if sight[0] == last]


def _is_itself(scene: Scene, tracked: Tracked, place: int, number: int) -> bool:
    """Whether the identity given to a lesion was its own at some earlier time."""
    identity = tracked.identities[place][number]
    return any(tracked.identities[study][n] == identity for study, n in _before(scene, place, number))


def _volume_errors(true: Edges, said: Edges, volumes_mm3: Mapping[int, float]) -> list[float]:
    errors = []
    for current in {c for _, c in true}:
        right = sum(volumes_mm3[p] for p, c in true if c == current)
        given = sum(volumes_mm3[p] for p, c in said if c == current)
        errors.append(abs(given - right) / max(given, right))
    return errors
