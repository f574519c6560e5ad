"""Self-supervision as in NYUMets (Link et al., Nat Commun 2024): damaged patches are restored and told apart.

Two views of each patch are damaged, each in its own way, by shuffling voxels within small boxes and by cutting boxes
out. The network restores both (L1, weight 1), and its bottleneck has to tell which two belong together (NT-Xent, weight
0.5). Nothing of the truth is shown. It ends when the restoration of held-out patches gains no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, cast

import torch
from monai.losses.contrastive import ContrastiveLoss
from monai.networks.nets.basic_unet import BasicUNet
from monai.transforms.intensity.array import RandCoarseDropout, RandCoarseShuffle
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from inference.inputs import PRIOR_MASK
from inference.preprocessing import POSITIONS
from inference.synthesis import chance
from inference.training.config import TrainingConfig
from inference.training.objectives import drawn_plan, fixed_batches, grey, unet_of
from inference.training.patches import draw_batch
from inference.training.pool import HeadPool

RESTORATION_WEIGHT = 1.0
CONTRAST_WEIGHT = 0.5
TEMPERATURE = 0.1
PROJECTION = 128
# The published text gives neither numbers nor sizes of boxes: these damage about a fifth of a patch.
SHUFFLED_EDGES = (3, 8)
VOXELS_A_SHUFFLED_BOX = 2000
CUT_OUTS = (2, 6)
CUT_OUT_PARTS = (8, 4)
LEAST_GAIN = 0.005
DAMAGE_SEED = 3_000_017
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """Patches and two damaged views of each.

    Attributes
    ----------
    images
        float32 (batch, images, i, j, k): the channels that are images, undamaged.
    first, second
        float32 (batch, channels, i, j, k): what the network is given.
    """

    images: Tensor
    first: Tensor
    second: Tensor

    def to(self, device: torch.device) -> "Views":
        """Return the same on another device."""
        return Views(images=self.images.to(device), first=self.first.to(device), second=self.second.to(device))


class SelfSupervisedUNet(nn.Module):
    """A U-Net whose outputs are its input images, with a small head that projects its bottleneck.

    Parameters
    ----------
    unet
        From `inference.networks.unet.build_unet`, with an output for each image.
    bottleneck
        Number of its channels at the bottleneck.
    """

    def __init__(self, unet: nn.Module, *, bottleneck: int) -> None:
        super().__init__()
        self.unet = cast(BasicUNet, unet)
        self.projection = nn.Sequential(nn.Linear(bottleneck, bottleneck), nn.ReLU(), nn.Linear(bottleneck, PROJECTION))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the restored images (batch, images, i, j, k) and the projection (batch, `PROJECTION`)."""
        unet = self.unet
        levels = [unet.conv_0(image)]
        for down in (unet.down_1, unet.down_2, unet.down_3, unet.down_4):
            levels.append(down(levels[-1]))
        result = levels.pop()
        projection = self.projection(result.mean((2, 3, 4)))
        for up in (unet.upcat_4, unet.upcat_3, unet.upcat_2, unet.upcat_1):
            result = up(result, levels.pop())
        return unet.final_conv(result), projection


@dataclass(kw_only=True, eq=False)
class SelfSupervisedObjective:
    """Damaged patches are restored and told apart.

    Attributes
    ----------
    config
        Settings.
    pool
        Heads to learn from.
    validation
        Heads whose restoration decides when to end; None: the budget decides alone.
    best
        Lowest error of restoration at a validation so far.
    without_gain
        Validations since then.
    """

    config: TrainingConfig
    pool: HeadPool
    validation: HeadPool | None = None
    best: float = float("inf")
    without_gain: int = 0

    def build_network(self) -> nn.Module:
        """Return a network from input channels to restored images and a projection."""
        config = self.config
        return SelfSupervisedUNet(unet_of(config, labels=len(self._images)), bottleneck=config.features[4])

    def draw(self, generator: Generator) -> Views:
        """Draw patches of one of the sizes, and damage them."""
        patches = draw_batch(self.pool, drawn_plan(self.config, generator), generator=generator).image
        return self._views(patches, generator)

    def loss(self, network: nn.Module, batch: Views) -> tuple[Tensor, dict[str, float]]:
        """Return restoration + 0.5 NT-Xent, and both."""
        restored, projection = network(torch.cat([batch.first, batch.second]))
        restoration = F.l1_loss(restored.float(), torch.cat([batch.images, batch.images]))
        contrast = ContrastiveLoss(temperature=TEMPERATURE)(*projection.float().chunk(2))
        loss: Tensor = RESTORATION_WEIGHT * restoration + CONTRAST_WEIGHT * contrast
        return loss, {"restoration": float(restoration.detach()), "contrast": float(contrast.detach())}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the error of restoration, and remember whether it is a gain."""
        if not self._fixed:
            return {}
        errors = [F.l1_loss(self._restored(network, views), views.images) for views in self._fixed]
        error = float(torch.stack(errors).mean())
        if error < (1 - LEAST_GAIN) * self.best:
            self.best, self.without_gain = error, 0
        else:
            self.without_gain += 1
        return {"restoration": error}

    def picture(self, network: nn.Module) -> Tensor | None:
        """Return the middle slice of the first image: as it is, damaged, and restored."""
        if not self._fixed:
            return None
        views = self._fixed[0]
        image = self._images[0]
        row = views.images.shape[2] // 2
        parts = (views.images[0, 0, row], views.first[0, image, row], self._restored(network, views)[0, 0, row])
        return torch.cat([grey(part) for part in parts], dim=2)

    @property
    def finished(self) -> bool:
        """Whether the validation has gained nothing for long enough."""
        return self.without_gain >= self.config.patience

    def state_dict(self) -> dict[str, Any]:
        """Return how the validations went."""
        return {"best": self.best, "without_gain": self.without_gain}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over how they went."""
        self.best, self.without_gain = saved["best"], saved["without_gain"]

    @cached_property
    def _images(self) -> list[int]:
        """Return the channels that are images: the prior's mask would show the truth, positions are always known."""
        return [n for n, name in enumerate(self.config.channels) if name not in (*POSITIONS, PRIOR_MASK)]

    @cached_property
    def _fixed(self) -> list[Views]:
        generator = Generator().manual_seed(DAMAGE_SEED)
        return [self._views(batch.image, generator) for batch in fixed_batches(self.config, self.validation)]

    def _views(self, patches: Tensor, generator: Generator) -> Views:
        patches = patches.clone()
        if PRIOR_MASK in self.config.channels:
            patches[:, self.config.channels.index(PRIOR_MASK)] = 0
        images = patches[:, self._images]
        first, second = patches.clone(), patches
        for view in (first, second):
            view[:, self._images] = torch.stack([damaged(patch, generator=generator) for patch in images])
        return Views(images=images, first=first, second=second)

    def _restored(self, network: nn.Module, views: Views) -> Tensor:
        device = next(network.parameters()).device
        restored: Tensor = network(views.first.to(device))[0].float().cpu()
        return restored


def damaged(images: Tensor, *, generator: Generator) -> Tensor:
    """Return a patch with voxels shuffled within small boxes and with larger boxes set to 0.

    Parameters
    ----------
    images
        float32 (images, i, j, k). It is not changed.
    generator
        Source of every random choice.
    """
    shape = images.shape[1:]
    boxes = max(1, prod(shape) // VOXELS_A_SHUFFLED_BOX)
    smallest, largest = ([max(1, edge // part) for edge in shape] for part in CUT_OUT_PARTS)
    transforms = (
        RandCoarseShuffle(holes=boxes, spatial_size=SHUFFLED_EDGES[0], max_spatial_size=SHUFFLED_EDGES[1], prob=1.0),
        RandCoarseDropout(
            holes=CUT_OUTS[0],
            max_holes=CUT_OUTS[1],
            spatial_size=smallest,
            max_spatial_size=largest,
            fill_value=0.0,
            prob=1.0,
        ),
    )
    result = images.clone()  # MONAI writes into what it is given
    for transform in transforms:
        transform.set_random_state(seed=chance.whole(generator, 0, LARGEST_SEED))
        result = torch.as_tensor(transform(result.numpy()))
    return result
