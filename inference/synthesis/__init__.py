"""Synthetic heads, lesions and acquisitions with known truth."""
