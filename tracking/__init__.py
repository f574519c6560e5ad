"""Brain lesions over time: registration, matching and measurement on arrays with an affine.

Where to begin: `tracking.timeline.track_history` follows the lesions of a patient through all studies, given label
volumes and how they lie on each other; `tracking.registration.register` finds the latter from the images;
`tracking.matching.match` is one step of the history, and its docstring names the parts of the algorithm.
"""
