"""What a network is told of every set of tissues that a voxel may be, worked out by hand for the usual networks."""

import pytest

from inference.training.truth import NO_LESION, OPEN, SOME_LESION, UNKNOWN, told
from tracking.timepoint import Tissue

B, E, N, O = (1 << tissue for tissue in Tissue)  # noqa: E741 - background, enhancing, necrosis, oedema


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            ("background", "enhancing", "necrosis"),
            {E: 1, N: 2, E | N: SOME_LESION, B | O: 0, B | O | N: UNKNOWN, B | E | N | O: UNKNOWN},
        ),
        (
            ("background", "enhancing", "necrosis", "edema"),
            {O: 3, E | N: SOME_LESION, B | O: NO_LESION, B | O | N: UNKNOWN},
        ),
        (("background", "lesion"), {E: 1, N: 1, E | N: 1, B | O: 0, B | O | N: UNKNOWN}),
        (("background", "enhancing"), {E: 1, N: 0, E | N: UNKNOWN, B | O: 0, B | O | N: 0}),
        (("background", "edema"), {E: 0, O: 1, E | N: 0, B | O: UNKNOWN, B | O | N: UNKNOWN}),
    ],
)
def test_what_is_told_of_a_set_of_tissues(labels: tuple[str, ...], expected: dict[int, int]) -> None:
    table = told(labels)
    assert {bits: int(table[OPEN + bits]) for bits in expected} == expected
    # A set of one is the tissue itself.
    assert [int(table[OPEN + (1 << tissue)]) for tissue in Tissue] == table[: len(Tissue)].tolist()
    assert len(table) == 2 * OPEN
