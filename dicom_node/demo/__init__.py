"""The demonstration: a synthetic patient is sent to the node, and its results are held against the known truth."""
