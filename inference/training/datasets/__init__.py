"""Doors to public data sets: each knows one layout on disk and one set of label values, and nobody behind it does.

The data are not public enough to be had here: every door is written from descriptions of its data set and was tested on
generated samples alone. Its docstring says where the layout comes from and what could not be verified.
"""
