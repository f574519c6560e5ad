"""STT, the spatio-temporal network of NYUMets (Link et al., Nat Commun 2024): a U-Net that recalls earlier studies."""

from collections.abc import Sequence

import torch
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor

from inference.manifest import MOST_TIMEPOINTS
from inference.networks.conv_lstm import ConvLSTMCell, LSTMState
from inference.networks.unet import PUBLISHED_FEATURES, unet_settings


class SpatioTemporalUNet(BasicUNet):
    """MONAI's BasicUNet with a ConvLSTM cell at the bottleneck, whose hidden state replaces the bottleneck's features.

    Its parameters are named as the authors' are: those of BasicUNet and ``convlstm.conv``. A state is valid only for
    windows that lie on the same voxels of the patient's reference grid.

    Parameters
    ----------
    features
        Channel counts of the five levels and of the last stage. Window edges must be multiples of 16.
    channels, labels
        Number of input images of a timepoint and of output classes.
    """

    def __init__(self, features: Sequence[int] = PUBLISHED_FEATURES, *, channels: int = 1, labels: int = 2) -> None:
        super().__init__(**unet_settings(features, channels, labels))
        self.convlstm = ConvLSTMCell(features[4], features[4])

    def forward(
        self, images: Tensor, state: LSTMState | None = None, *, every_timepoint: bool = False
    ) -> tuple[Tensor, LSTMState]:
        """Segment the newest of a patient's timepoints in the light of the earlier ones.

        Parameters
        ----------
        images
            (batch, time, channel, i, j, k), oldest first, one patient per batch entry.
        state
            After the timepoints before these; None: there were none.
        every_timepoint
            Give the logits of all timepoints, not of the newest alone.

        Returns
        -------
        tuple
            Logits (batch, labels, i, j, k), or (batch, time, labels, i, j, k) of every timepoint; and the state after
            the newest.

        Raises
        ------
        ValueError
            If the images have not six axes, or there are no or more than eight timepoints, or the state does not fit.
        """
        _check(images)
        results = []
        last = images.shape[1] - 1
        for index, image in enumerate(images.unbind(dim=1)):
            skips, bottleneck = self._encode(image)
            state = self.convlstm(bottleneck, state)
            if every_timepoint or index == last:
                results.append(self._decode(skips, state.hidden))
        assert state is not None  # noqa: S101  # at least one timepoint was seen
        return (torch.stack(results, dim=1) if every_timepoint else results[-1]), state

    def step(self, image: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Segment one timepoint (batch, channel, i, j, k); see `forward`."""
        logits, state = self(image.unsqueeze(1), state)
        return logits, state

    def _encode(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the features of the four upper levels, finest first, and those of the bottleneck."""
        features = [self.conv_0(image)]
        for down in (self.down_1, self.down_2, self.down_3, self.down_4):
            features.append(down(features[-1]))
        return features[:4], features[4]

    def _decode(self, skips: list[Tensor], bottleneck: Tensor) -> Tensor:
        result = bottleneck
        for up, skip in zip((self.upcat_4, self.upcat_3, self.upcat_2, self.upcat_1), reversed(skips), strict=True):
            result = up(result, skip)
        logits: Tensor = self.final_conv(result)
        return logits


def _check(images: Tensor) -> None:
    if images.ndim != 6:
        raise ValueError(f"images are (batch, time, channel, i, j, k), not {tuple(images.shape)}")
    if not 1 <= images.shape[1] <= MOST_TIMEPOINTS:
        raise ValueError(
            f"the network takes 1 to {MOST_TIMEPOINTS} timepoints at once, not {images.shape[1]}: give the newest, "
            "or pass on the state of the earlier ones"
        )
