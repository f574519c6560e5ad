"""The alignment that pictures use, on a head moved by a known rotation and translation."""

from datetime import date

import numpy as np
import pytest
import SimpleITK as sitk
from highdicom import Volume

from dicom_node.demo.alignment import Alignment
from tests.dicom_node.demo.conftest import study_with
from tracking.timepoint import MRSequence


def test_known_movement_is_found_to_two_millimetres() -> None:
    balls = {("A",): ((-15.0, 0.0, 10.0), 7.0), ("B",): ((20.0, 10.0, 20.0), 5.0), ("C",): ((10.0, -25.0, -9.0), 6.0)}
    head = study_with(date(2025, 1, 1), balls).images[MRSequence.T1C]
    movement = sitk.Euler3DTransform((3.0, -7.0, 11.0), 0.08, -0.05, 0.1, (6.0, -4.0, 5.0))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(movement.GetMatrix(), (3, 3))
    affine[:3, 3] = movement.TransformPoint((0.0, 0.0, 0.0))
    moved = Volume(head.array, affine @ head.affine, "PATIENT")
    alignment = Alignment(head, moved)
    for centre, _ in balls.values():
        assert alignment.to_target(centre) == pytest.approx(movement.TransformPoint(centre), abs=2)
