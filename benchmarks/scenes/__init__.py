"""Patients made of lesions alone: label volumes of several studies whose every true link is known.

Kept beside the benchmarks, not in the product: only the benchmark and the tests need it, and a matcher must not know
how its examen is made. Numpy and scipy are enough.
"""
