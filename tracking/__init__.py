"""Brain lesions over time: registration, matching and measurement on arrays with an affine.

Where to begin: `tracking.timeline.track_history` follows the lesions of a patient through all studies, given label
volumes and how they lie on each other; `tracking.registration.register` finds the latter from the images;
`tracking.matching` is one step of the history. `tracking.visit` makes numbers of a study, and `response`, `dynamics`,
`plots` and `cohort` read nothing but these; `tracking.course` says them in words.
"""
