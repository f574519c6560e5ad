"""Follow-ups on balls: what each method marks is known, so are Dice, change and false positives."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.follow_up import FollowUpScore, LesionScore, judge, places, score, summary
from inference.grid_model import GridModel
from inference.training.heads import HeadSource
from tests.inference.test_predictor import MANIFEST

SHAPE = (48, 48, 48)
METHODS = ("registration", "detection", "re-segmentation")


def ball(centre: tuple[int, int, int], radius: float) -> NDArray[np.bool_]:
    axes = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    return np.asarray(sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2)


def numbered(*balls: NDArray[np.bool_]) -> NDArray[np.int16]:
    return np.asarray(sum(n * mask for n, mask in enumerate(balls, 1)), np.int16)


GROWN, SAME, GONE = (12, 12, 12), (34, 34, 34), (12, 34, 12)
BEFORE = numbered(ball(GROWN, 3), ball(SAME, 4), ball(GONE, 3))
NOW = numbered(ball(GROWN, 5), ball(SAME, 4))


def test_each_lesion_is_judged_within_its_own_place() -> None:
    marked = ball(GROWN, 5) | ball(GONE, 2)
    grown, same, gone = judge(marked, BEFORE, NOW)
    assert (grown.dice, same.dice, gone.dice) == (1.0, 0.0, None)
    assert grown.volume_mm3 == ball(GROWN, 5).sum()
    assert grown.earlier_mm3 == ball(GROWN, 3).sum()
    assert grown.change_error_ln == 0
    assert same.change_error_ln == pytest.approx(np.log(ball(SAME, 4).sum()))  # measured as 1 mm³
    assert gone.measured_mm3 == ball(GONE, 2).sum()


def test_a_place_reaches_six_millimetres_beyond_its_lesion() -> None:
    owner = places(BEFORE, NOW)
    assert owner[12, 12, 12 + 5 + 6] == 1
    assert owner[12, 12, 12 + 5 + 7] == 0
    assert owner[12, 34, 12] == 3


def lesion(error: float, *, earlier: float = 50.0, now: float = 100.0) -> LesionScore:
    return LesionScore(
        volume_mm3=now, earlier_mm3=earlier, measured_mm3=now * float(np.exp(error)), dice=1 - abs(error)
    )


def test_figures_are_means_with_intervals_over_scans() -> None:
    scans = [
        FollowUpScore(
            head=str(n),
            lesions={method: [lesion(0.1 * n), lesion(0.1 * n, earlier=0.0)] for method in METHODS},
            false_positives=dict.fromkeys(METHODS, n),
        )
        for n in range(4)
    ]
    figures = summary(scans)["methods"]["detection"]
    assert figures["change_error_ln"]["value"] == pytest.approx(0.15)  # lesions that were there before
    assert figures["change_error_ln"]["n"] == 4
    assert figures["dice_all"]["n"] == 8
    assert figures["false_positives_per_scan"]["value"] == pytest.approx(1.5)
    assert figures["dice_all"]["low"] < figures["dice_all"]["value"] < figures["dice_all"]["high"]
    assert figures["dice_under_100_mm3"]["value"] is None
    assert figures["gone_and_seen_gone"]["value"] is None


class Bright:
    """A model that finds what is bright, and with a prior in view only what was there before, too."""

    manifest = replace(MANIFEST, channels=("T1c", "prior_mask"), minimum_volume_mm3=3.0)

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        found = (channels[0] > 1.2) | (channels[1] > 0)
        return np.stack([~found, found]).astype(np.float32)


class Brighter:
    """A model with memory that finds what is brighter than it was."""

    manifest = replace(MANIFEST, network="stt", minimum_volume_mm3=3.0)

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        earlier, now = channels  # the study before comes first
        found = now - earlier > 1.2
        return np.stack([~found, found]).astype(np.float32)


def test_every_method_is_judged_on_the_same_follow_up(ball_head: HeadSource) -> None:
    model, memory = GridModel(predictor=Bright()), GridModel(predictor=Brighter())
    result: Any = score(ball_head, model, number=3, head="balls", memory=memory)
    counts = {method: len(lesions) for method, lesions in result.lesions.items()}
    alone = {"re-segmentation alone", "memory alone"}
    assert set(counts) == {*METHODS, "memory", *alone}
    assert len(set(counts.values())) == 1
    truth = [[one.volume_mm3 for one in lesions] for lesions in result.lesions.values()]
    assert all(volumes == truth[0] for volumes in truth)
    dice = {method: np.mean([one.dice for one in result.lesions[method]]) for method in counts}
    assert dice["detection"] > 0.8  # balls are bright; the visits' balls lie elsewhere, so the prior alone is worthless
    assert dice["registration"] < 0.5
    assert "memory" not in score(ball_head, model, number=3, head="balls").lesions


def test_a_gain_is_the_difference_of_a_method_and_the_one_before_it() -> None:
    errors = {"registration": 0.9, "detection": 0.5, "re-segmentation": 0.3, "memory": 0.2}
    scans = [
        FollowUpScore(
            head=str(n),
            lesions={method: [lesion(error + 0.01 * n)] for method, error in errors.items()},
            false_positives=dict.fromkeys(errors, 0),
        )
        for n in range(4)
    ]
    gains = summary(scans)["gains"]
    assert list(gains) == ["re-segmentation - detection", "memory - re-segmentation"]
    assert gains["re-segmentation - detection"]["change_error_ln"]["value"] == pytest.approx(-0.2)
    assert gains["memory - re-segmentation"]["dice_known"]["value"] == pytest.approx(0.1)
    # 100 mm3 measured as 100 e^error
    expected = np.mean([100 * (np.exp(0.2 + 0.01 * n) - np.exp(0.3 + 0.01 * n)) for n in range(4)])
    assert gains["memory - re-segmentation"]["change_error_mm3"]["value"] == pytest.approx(expected)


def test_follow_ups_of_one_head_are_no_independent_evidence() -> None:
    def scans(heads: list[str]) -> list[FollowUpScore]:
        return [
            FollowUpScore(
                head=head,
                lesions={method: [lesion(0.1 * n)] for method in METHODS},
                false_positives=dict.fromkeys(METHODS, 0),
            )
            for n, head in enumerate(heads)
        ]

    apart, together = (
        summary(scans(heads))["methods"]["detection"]["dice_all"] for heads in (list("abcdefgh"), list("aaaabbbb"))
    )
    assert apart["value"] == pytest.approx(together["value"])
    assert together["high"] - together["low"] > apart["high"] - apart["low"]
    assert summary(scans(list("aaaa")))["methods"]["detection"]["dice_all"]["low"] is None
