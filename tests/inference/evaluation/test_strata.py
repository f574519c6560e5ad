"""Sizes at their limits."""

import numpy as np

from inference.evaluation.strata import by_diameter, by_volume


def test_a_limit_belongs_to_the_larger_volume() -> None:
    volumes = np.array([9.99, 10, 99, 100, 1000, 9999, 10_000, 1e6])
    counts = {name: int(members.sum()) for name, members in by_volume(volumes).items()}
    assert counts == {"<10 mm³": 1, "10-100 mm³": 2, "100-1k mm³": 1, "1k-10k mm³": 2, ">10k mm³": 2}


def test_diameters_are_of_the_sphere_of_equal_volume() -> None:
    volumes = np.pi / 6 * np.array([2.9, 3.001, 5.9, 6.001, 40.0]) ** 3
    counts = {name: int(members.sum()) for name, members in by_diameter(volumes).items()}
    assert counts == {"<3 mm": 1, "3-6 mm": 2, ">6 mm": 2}


def test_every_lesion_has_one_size_of_each_kind() -> None:
    volumes = np.geomspace(0.1, 1e5, 500)
    for groups in (by_volume(volumes), by_diameter(volumes)):
        np.testing.assert_array_equal(np.sum(list(groups.values()), axis=0), 1)


def test_no_lesion_has_no_size() -> None:
    assert all(not members.any() for members in by_diameter(np.array([])).values())
