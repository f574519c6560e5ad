"""Which lesion of today is which lesion of before: one identity is one track, whatever merged, split or went.

The steps: prior lesions, and the places of those that had gone, are carried to the current study one by one (`sites`)
and moved to where their neighbours say that they are (`residual`). All compete for today's lesions by how surely they
are one (`evidence`, `assignment`), then merges and splits are joined (`groups`). Each connected group of links is a
track (`fate`). What is left over is new.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from tracking.alignment import Alignment
from tracking.identity import baseline_identities, tracking_order
from tracking.lesion import Lesion
from tracking.matching.assignment import link_sites
from tracking.matching.evidence import MatchSettings
from tracking.matching.fate import baseline, followed, unprecedented, unregistered
from tracking.matching.residual import settle
from tracking.matching.sites import Site, ball_at, sites_of
from tracking.matching.step import Step, groups_of
from tracking.registration.result import RegistrationKind
from tracking.timepoint import Timepoint, labels_of
from tracking.track import KnownLesion, LesionTrack

UNKNOWN_VOLUME_MM3 = 60.0  # the median of metastases, where only the site of a resolved lesion is known
RETURN_NOISE_MM = 1.5  # a lesion comes back not quite where it was


def baseline_tracks(study_uid: str, lesions: Sequence[Lesion]) -> tuple[LesionTrack, ...]:
    """Name and list the lesions of a patient's first study.

    Parameters
    ----------
    study_uid
        Study Instance UID.
    lesions
        As measured; their order gives the numbers of the tracking identifiers.
    """
    return tuple(baseline(known) for known in baseline_identities(study_uid, lesions))


def match(  # noqa: PLR0913 - two studies, and what is known of each
    current: Timepoint,
    current_lesions: Sequence[Lesion],
    prior: Timepoint,
    known: Sequence[KnownLesion],
    registration: Alignment,
    *,
    taken: Collection[str] = (),
    settings: MatchSettings | None = None,
) -> tuple[LesionTrack, ...]:
    """Follow every known lesion from the prior study to the current one.

    Parameters
    ----------
    current, prior
        Studies with their label volumes; the numbers in ``prior.lesions`` are those of the known lesions.
    current_lesions
        As measured on ``current.lesions``.
    known
        All identities so far: lesions of the prior study, and lesions that were resolved there, with their last site.
        For a prior without earlier results see `baseline_identities`.
    registration
        Current study fixed, prior study moving.
    taken
        Further tracking identifiers that the patient's lesions have had, as those that have merged into others.

    Returns
    -------
    tuple of LesionTrack
        One for each identity, in order of tracking identifiers. An identity that merged into another has no track of
        its own; the merged lesion's track names it as absorbed.

    Raises
    ------
    ValueError
        If a study has no label volume, a lesion is not in it, or the registration is of other studies.
    """
    _check(current, prior, registration)
    step = _step(current, current_lesions, prior, known, registration, settings or MatchSettings())
    links = link_sites(step.priors, step.currents, [_roomy(site) for site in step.empty], step.settings)
    groups = list(groups_of(step, links.going_on, links.returning))
    tracks = [followed(step, group) for group in groups if group.priors or group.empty]
    new = [group.currents[0] for group in groups if not group.priors and not group.empty]
    tracks += _new_tracks(step, new, taken)
    if registration.kind == RegistrationKind.NONE:
        tracks = [unregistered(track) for track in tracks]
    return tuple(sorted(tracks, key=lambda track: tracking_order(track.tracking_id)))


def _check(current: Timepoint, prior: Timepoint, registration: Alignment) -> None:
    if (registration.fixed_study_uid, registration.moving_study_uid) != (current.study_uid, prior.study_uid):
        raise ValueError(
            f"The registration brings study {registration.moving_study_uid} to {registration.fixed_study_uid}, but"
            f" {prior.study_uid} is to be matched with {current.study_uid}; register these two."
        )


def _step(
    current: Timepoint,
    current_lesions: Sequence[Lesion],
    prior: Timepoint,
    known: Sequence[KnownLesion],
    registration: Alignment,
    settings: MatchSettings,
) -> Step:
    present = [(identity, identity.lesion) for identity in known if identity.lesion is not None]
    absent = tuple(identity for identity in known if identity.lesion is None)
    prior_lesions = tuple(lesion for _, lesion in present)
    currents = sites_of(current_lesions, labels_of(current))
    carried = sites_of(prior_lesions, labels_of(prior), registration.transform)
    away = _empty_sites(absent, registration)
    priors, empty = settle(_uncertain(carried, registration), currents, _uncertain(away, registration), settings)
    return Step(
        current=current,
        prior=prior,
        alignment=registration,
        settings=settings,
        present=tuple(identity for identity, _ in present),
        prior_lesions=prior_lesions,
        priors=priors,
        absent=absent,
        empty=empty,
        current_lesions=tuple(current_lesions),
        currents=currents,
    )


def _empty_sites(absent: Sequence[KnownLesion], registration: Alignment) -> list[Site]:
    """Carry the last sites of resolved lesions over, as balls."""
    centres_mm = registration.transform.to_fixed([known.last_centroid_mm for known in absent])
    return [
        ball_at(centre_mm, known.last_volume_mm3 or UNKNOWN_VOLUME_MM3)
        for known, centre_mm in zip(absent, centres_mm, strict=True)
    ]


def _uncertain(sites: Sequence[Site], registration: Alignment) -> list[Site]:
    """Give sites that were carried over the error of registration at their places."""
    sigmas_mm = registration.sigma_at([site.centroid_mm for site in sites])
    return [replace(site, sigma_mm=float(sigma_mm)) for site, sigma_mm in zip(sites, sigmas_mm, strict=True)]


def _roomy(site: Site) -> Site:
    """Allow a lesion to come back not quite where it was."""
    return replace(site, sigma_mm=float(np.hypot(site.sigma_mm, RETURN_NOISE_MM)))


def _new_tracks(step: Step, places: Sequence[int], taken: Collection[str]) -> list[LesionTrack]:
    """Name the lesions that nothing is known of, in the order of their study."""
    known_ids = [known.tracking_id for known in (*step.present, *step.absent)]
    lesions = [step.current_lesions[place] for place in sorted(places)]
    named = baseline_identities(step.current.study_uid, lesions, taken=(*known_ids, *taken))
    return [unprecedented(step, place, known) for place, known in zip(sorted(places), named, strict=True)]
