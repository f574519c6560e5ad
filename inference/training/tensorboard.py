"""Curves and pictures of a training for TensorBoard, where it is installed; a training goes on without it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

log = logging.getLogger(__name__)


def open_writer(folder: Path, *, first_step: int) -> "SummaryWriter | None":
    """Return a writer of TensorBoard's files, or None where TensorBoard is not installed.

    Parameters
    ----------
    folder
        For the files.
    first_step
        A resumed training repeats what came after its checkpoint: figures from this step on are dropped.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter  # late: an optional extra
    except ImportError as error:
        log.warning("no TensorBoard (%s): training goes on without curves; install the extra [training]", error)
        return None
    return SummaryWriter(str(folder), purge_step=first_step)
