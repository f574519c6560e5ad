"""Bringing a prior study into the space of the current one."""
