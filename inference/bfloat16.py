"""bfloat16 in torch: twice as quick where the processor has it, and used where the weights bear it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.agreement import BFLOAT16, compare
from inference.kept import circumstances, folder_of, processor_flags, read_record, write_record
from inference.predictor import TorchPredictor

# Without one of these, torch computes bfloat16 by way of float32, which is slower than float32 itself.
FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})
_RECORD = "torch.json"
_PRECISION = "bf16"


def in_bf16_if_near(
    predictor: TorchPredictor, *, cache_folder: Path, channels: Callable[[], NDArray[np.float32]]
) -> TorchPredictor:
    """Return a model that computes in bfloat16 if the processor has it and the result stays near to float32.

    Parameters
    ----------
    predictor
        In float32, on the processor.
    cache_folder
        Where the outcome of the comparison is kept.
    channels
        Makes the images by which the two are compared; called the first time only.
    """
    if not FLAGS & processor_flags():
        return predictor
    quick, manifest = replace(predictor, bf16=True), predictor.manifest
    made_with = circumstances(manifest, "torch")
    with folder_of(cache_folder, manifest) as folder:
        record = read_record(folder / _RECORD, made_with)
        if record is None:
            images = channels()
            agreement = compare(predictor.predict(images), quick.predict(images), threshold=manifest.threshold)
            record = write_record(folder / _RECORD, made_with, {_PRECISION: agreement})
    return quick if BFLOAT16.allow(record.agreements.get(_PRECISION)) else predictor
