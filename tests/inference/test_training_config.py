"""Settings that cannot work are refused when they are made, not an hour later."""

from typing import Any

import pytest

from inference.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "diec"}, "loss 'diec': choose one of cross_entropy, "),
        ({"channels": ("T1c", "T9")}, r"channels \('T1c', 'T9'\): each must be one of"),
        ({"channels": ("T1",)}, "T1c one of them"),
        ({"labels": ("enhancing", "background")}, "the first must be background"),
        ({"patches": (40,)}, r"patches \(40,\): give edges of 32 or more, multiples of 16"),
        ({"patches": (16,)}, "edges of 32 or more"),
        ({"patches": ()}, "edges of 32 or more"),
        ({"accumulation": 0}, "accumulation 0: give more than 0"),
        ({"learning_rate": 0.0}, "learning_rate 0.0: give more than 0"),
        ({"workers": -1}, "workers -1: give 0 or more"),
        ({"worker_duty": 0.0}, "worker_duty 0.0: give a share above 0"),
        ({"ema_decay": 1.0}, "ema_decay 1.0: give a share from 0, below 1"),
        ({"first_heads": 9, "pool_heads": 8}, "first_heads 9: the pool keeps no more than pool_heads 8"),
        ({"folds": 1}, "folds 1: give 0 or at least 2"),
        ({"folds": 3, "fold": 3}, "fold 3: there are 3 folds, counted from 0"),
        ({"fold": 0}, "fold 0: there are 0 folds"),
        ({"objective": "ssl", "batch": 1}, "self-supervision tells the patches of a batch apart and needs 2"),
        ({"pretrain": True, "patches": (96,)}, "raise batch or batch_voxels"),
        ({"pretrain": True, "initial": "a.pt"}, "leave out initial"),
        ({"objective": "recall"}, "visits 1 with objective recall: recall takes 2 to 8 visits"),
        ({"objective": "recall", "visits": 9}, "visits 9 with objective recall"),
        ({"visits": 2}, "visits 2 with objective supervised"),
        ({"objective": "recall", "visits": 2, "activation": "relu"}, "give no others"),
        ({"objective": "recall", "visits": 2, "memory_only": True}, "give objective = recall and initial"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**settings)


def test_steps_count_before_epochs_and_epochs_before_minutes() -> None:
    assert TrainingConfig(minutes=5).total_steps is None
    assert TrainingConfig(minutes=5, epochs=3, epoch_steps=7).total_steps == 21
    assert TrainingConfig(minutes=5, epochs=3, epoch_steps=7, steps=4).total_steps == 4


def test_a_batch_has_as_many_patches_as_fit_unless_their_number_is_given() -> None:
    config = TrainingConfig(batch_voxels=450_000)
    assert [config.batch_of((edge, edge, edge)) for edge in (48, 64, 96)] == [4, 2, 1]
    assert TrainingConfig(batch=6).batch_of((96, 96, 96)) == 6
    assert TrainingConfig(objective="recall", visits=2, batch_voxels=450_000).batch_of((48, 48, 48)) == 2
