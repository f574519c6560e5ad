"""Structures that a network could take for metastases, added to every training head with label 0."""

from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.axes import blur
from inference.synthesis.lesions import Grid, cut_patch, make_shape
from inference.synthesis.painting import soft
from inference.synthesis.tissues import Anatomy
from inference.synthesis.vessels import dural_shell, plexus, random_vessels


def add_confusers(image: Tensor, anatomy: Anatomy, *, generator: Generator) -> None:
    """Add vessels, dura, plexus, midline glands, post-operative rims and bright spots to a T1c head, in place."""
    _vessels(image, anatomy, generator)
    if chance.happens(generator, 0.5):
        _blend(image, dural_shell(anatomy.brain, generator=generator), _bright(anatomy, generator, 0.1, 0.8))
    if chance.happens(generator, 0.6) and bool(anatomy.ventricles.any()):
        _blend(image, plexus(anatomy.ventricles, generator=generator), _bright(anatomy, generator, 0.1, 0.8))
    if chance.happens(generator, 0.5):
        _midline_gland(image, anatomy, generator)
    if chance.happens(generator, 0.08):
        _operated_cavity(image, anatomy, generator)
    if chance.happens(generator, 0.2):
        _dural_spots(image, anatomy, generator)


def _bright(anatomy: Anatomy, generator: Generator, low: float, high: float) -> float:
    return anatomy.white * (1 + chance.uniform(generator, low, high))


def _blend(image: Tensor, cover: Tensor, brightness: float) -> None:
    image += cover * (brightness - image).clamp_min(0)


def _vessels(image: Tensor, anatomy: Anatomy, generator: Generator) -> None:
    """Add trees of small vessels through the brain and a few wide veins along its surface."""
    inner = random_vessels(
        anatomy.brain, count=chance.whole(generator, 0, 40), radii_mm=(0.4, 1.2), generator=generator
    )
    _blend(image, inner, _bright(anatomy, generator, 0.2, 1.2))
    surface = _surface(anatomy.brain)
    outer = random_vessels(surface, count=chance.whole(generator, 0, 12), radii_mm=(0.8, 2.5), generator=generator)
    _blend(image, outer, _bright(anatomy, generator, 0.3, 1.5))


def _surface(brain: Tensor) -> Tensor:
    """Return the outermost few millimetres of the brain."""
    return brain & (blur(brain.float(), 2.5) < 0.75)


def _midline_gland(image: Tensor, anatomy: Anatomy, generator: Generator) -> None:
    """Add a bright blob on the midline, in fluid or below the brain, as pituitary and pineal gland are."""
    inside = anatomy.brain.nonzero().float()
    centre = inside.mean(0)
    low = inside[:, 0].min()
    where = centre.clone()
    where[0] = low + (centre[0] - low) * chance.uniform(generator, 0.3, 0.9)
    where[1] = centre[1] + chance.uniform(generator, -25, 25)
    where[2] = centre[2] + chance.uniform(generator, -1.5, 1.5)
    before = image.clone()
    _blob(image, where, chance.uniform(generator, 60, 400), _bright(anatomy, generator, 0.1, 0.7), generator)
    image[anatomy.tissue] = before[anatomy.tissue]


def _blob(image: Tensor, centre: Tensor, volume_mm3: float, brightness: float, generator: Generator) -> None:
    shape = make_shape(volume_mm3, centre, generator=generator)
    patch = cut_patch(Grid.millimetres(image.shape, image.device), centre, shape.reach_mm, fine_mm=0.5)
    if patch is not None:
        _blend(image[patch.slices], patch.pool(soft(shape.distance(patch.points_mm))), brightness)


def _operated_cavity(image: Tensor, anatomy: Anatomy, generator: Generator) -> None:
    """Replace tissue by fluid with a thin, even, enhancing rim."""
    found = chance.voxels(generator, anatomy.junction, 1)
    if not len(found):
        return
    centre = found[0]
    shape = make_shape(chance.log_uniform(generator, 1000, 15000), centre, generator=generator)
    patch = cut_patch(Grid.millimetres(image.shape, image.device), centre, shape.reach_mm, fine_mm=0.5)
    if patch is None:
        return
    distance = shape.distance(patch.points_mm)
    inside, rim = patch.pool(soft(distance)), soft(distance.abs() - chance.uniform(generator, 0.25, 0.75))
    here = image[patch.slices]
    here *= 1 - inside
    here += inside * anatomy.white * chance.uniform(generator, 0.3, 0.6)
    _blend(here, patch.pool(rim), _bright(anatomy, generator, 0.1, 0.9))


def _dural_spots(image: Tensor, anatomy: Anatomy, generator: Generator) -> None:
    """Add fat and bone marrow in the dura: bright without contrast agent, on the brain's surface only."""
    rim = (blur(anatomy.brain.float(), 1.5) - 0.35).abs() < 0.1
    for centre in chance.voxels(generator, rim, chance.whole(generator, 1, 4)):
        volume = chance.log_uniform(generator, 8, 150)
        _blob(image, centre, volume, _bright(anatomy, generator, 0.3, 1.2), generator)
