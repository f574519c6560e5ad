"""Brain lesions over time: registration, matching and measurement on arrays with an affine."""
