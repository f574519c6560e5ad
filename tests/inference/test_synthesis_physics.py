"""Operators, contrasts and noise against their formulas."""

import math

import pytest
import torch
from torch import Generator

from inference.synthesis.acquisition import acquire, rician
from inference.synthesis.axes import blur, gaussian, interpolation, low_pass, nearness, slice_profile, smooth_noise
from inference.synthesis.contrast import TIMINGS, Relaxation, Timing, brightness, signal
from inference.synthesis.tissues import HeadTissue
from inference.synthesis.vessels import tube_cover
from tracking.timepoint import MRSequence


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_every_operator_keeps_a_constant() -> None:
    ones = torch.ones(50)
    thick = slice_profile(50, thickness=4.0, spacing=4.4, offset=2.0)
    back = interpolation(50, count=len(thick), spacing=4.4, offset=2.0)
    for matrix in (gaussian(50, 1.7), low_pass(50, 0.6), thick, back @ thick):
        assert torch.allclose(matrix @ ones, torch.ones(len(matrix)), atol=1e-4)


def test_a_gaussian_widens_a_point_to_its_sigma() -> None:
    line = gaussian(61, 2.5)[:, 30]
    offset = torch.arange(61) - 30.0
    assert float((line * offset**2).sum()) == pytest.approx(2.5**2, rel=0.01)


def test_wide_nearness_agrees_with_the_exact_blur() -> None:
    mask = torch.zeros((41, 37, 44), dtype=torch.bool)
    mask[10:30, 8:25, 12:30] = True
    assert float((nearness(mask, 3.0) - blur(mask.float(), 3.0)).abs().max()) < 0.06


def test_a_slice_sees_its_thickness() -> None:
    profile = slice_profile(400, thickness=40.0, spacing=60.0, offset=50.0)
    middle = profile[2]
    assert int((middle > middle.max() / 2).sum()) == pytest.approx(40, abs=1)
    assert float((middle * torch.arange(400)).sum()) == pytest.approx(170.0, abs=0.1)


def test_smooth_noise_has_about_unit_deviation_and_mean_zero() -> None:
    noise = smooth_noise((60, 60, 60), cell=4, generator=seeded(1))
    assert float(noise.std()) == pytest.approx(1.0, abs=0.2)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.1)


def test_signal_equations_have_their_limits() -> None:
    tissue = Relaxation(1000, 80, 0.7)
    assert signal(tissue, Timing(tr_ms=1e6, te_ms=0)) == pytest.approx(0.7)
    null = Timing(tr_ms=1e6, te_ms=0, ti_ms=1000 * math.log(2))
    assert signal(tissue, null) == pytest.approx(0.0, abs=1e-9)
    assert signal(tissue, Timing(tr_ms=1000, te_ms=80)) == pytest.approx(0.7 * (1 - math.exp(-1)) * math.exp(-1))


def test_the_sequences_order_the_tissues_as_radiologists_know_them() -> None:
    white, grey, fluid, spot = HeadTissue.WHITE, HeadTissue.CORTEX, HeadTissue.FLUID, HeadTissue.WHITE_SPOT
    look = {sequence: brightness(timing) for sequence, timing in TIMINGS.items()}
    for sequence in (MRSequence.T1, MRSequence.T1C):
        assert look[sequence][white] > look[sequence][grey] > look[sequence][fluid] > look[sequence][HeadTissue.BONE]
        assert look[sequence][HeadTissue.FAT] > 1.5
    assert look[MRSequence.T2][fluid] > look[MRSequence.T2][grey] > look[MRSequence.T2][white]
    flair = look[MRSequence.FLAIR]
    assert flair[spot] > flair[grey] > flair[white] > 5 * flair[fluid]
    for vessel in (HeadTissue.VEIN, HeadTissue.ARTERY):
        assert look[MRSequence.T1C][vessel] > 1.8
        assert look[MRSequence.T1][vessel] < 0.5


def test_noise_is_rician() -> None:
    air = rician(torch.zeros((60, 60, 60)), deviation=2.0, generator=seeded(2))
    assert float(air.mean()) == pytest.approx(2.0 * math.sqrt(math.pi / 2), rel=0.01)  # Rayleigh
    tissue = rician(torch.full((60, 60, 60), 100.0), deviation=2.0, generator=seeded(3))
    assert float(tissue.std()) == pytest.approx(2.0, rel=0.02)


def test_thick_slices_blur_along_their_axis_only() -> None:
    image = torch.zeros((60, 60, 60))
    image[:, 30:, :] = 1.0  # an edge along j
    image[30:] += 1.0  # and one along i
    seen = acquire(image, white=1.0, thickness_mm=6.0, slice_axis=0, generator=seeded(4))
    along_i, along_j = seen[:, 10, :].mean(1), seen[10, :, :].mean(1)
    assert float((along_i[1:] - along_i[:-1]).abs().max()) < 0.6 * float((along_j[1:] - along_j[:-1]).abs().max())


@pytest.mark.parametrize("radius_mm", [0.4, 1.0, 2.0])
def test_a_tube_fills_its_cross_section(radius_mm: float) -> None:
    points = torch.stack([torch.arange(5.0, 35, 0.25), torch.full((120,), 10.2), torch.full((120,), 9.9)], 1)
    cover = tube_cover((40, 20, 20), points, torch.full((120,), radius_mm))
    assert float(cover[20].sum()) == pytest.approx(math.pi * radius_mm**2, rel=0.35)
