"""Training of the default weights."""
