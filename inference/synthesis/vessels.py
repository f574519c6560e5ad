"""What enhances without being a lesion: vessels (tubes of balls, painted as partial volume), dura, plexus."""

import math

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.axes import blur, nearness, smooth_noise
from inference.synthesis.deformation import sample

STEP_MM = 0.5


def walk(
    start: Tensor, *, length_mm: float, wander: float, generator: Generator, heading: Tensor | None = None
) -> Tensor:
    """Return a smooth random path, float32 (points, 3), one point every half millimetre.

    Parameters
    ----------
    start
        First point, mm.
    length_mm
        Length of the path.
    wander
        Standard deviation of the change of direction per millimetre, radians.
    heading
        First direction; random when None.
    """
    steps = max(2, round(length_mm / STEP_MM))
    first = chance.direction(generator) if heading is None else heading
    turns = wander * math.sqrt(STEP_MM) * torch.randn((steps, 3), generator=generator, device=start.device)
    headings = first + torch.cumsum(turns, 0)
    headings = headings / headings.norm(dim=1, keepdim=True).clamp_min(1e-3)
    return start + STEP_MM * torch.cumsum(headings, 0)


def guided_walks(course: Tensor, starts: Tensor, headings: Tensor, *, length_mm: float, generator: Generator) -> Tensor:
    """Return paths that keep to where ``course`` is high, float32 (paths, points, 3), a point every half millimetre.

    Parameters
    ----------
    course
        Smooth float32 (i, j, k), 1 mm voxels: high in the furrows that vessels follow.
    starts, headings
        float32 (paths, 3), mm.
    length_mm
        Length of every path.
    """
    position, points = starts.clone(), []
    probes = torch.cat([torch.eye(3), -torch.eye(3)]).to(starts)
    for _ in range(round(length_mm / STEP_MM)):
        around = sample(course, position[:, None] + probes, edge=True)
        uphill = (around[:, :3] - around[:, 3:]) / 2
        turn = 0.12 * torch.randn(position.shape, generator=generator, device=starts.device)
        headings = headings + 0.9 * uphill + turn
        headings = headings / headings.norm(dim=1, keepdim=True).clamp_min(1e-3)
        position = position + STEP_MM * headings
        points.append(position)
    return torch.stack(points, 1)


def tree(start: Tensor, *, radius_mm: float, length_mm: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return a tapering, branching tube: centre points (n, 3) and radii (n,), mm."""
    points: list[Tensor] = []
    radii: list[Tensor] = []
    pending: list[tuple[Tensor, float, float, Tensor | None]] = [(start, radius_mm, length_mm, None)]
    while pending and len(points) < 12:
        origin, radius, length, heading = pending.pop()
        path = walk(origin, length_mm=length, wander=0.22, generator=generator, heading=heading)
        taper = torch.linspace(radius, max(0.55 * radius, 0.3), len(path), device=path.device)
        points.append(path)
        radii.append(taper)
        if radius < 0.5 or length < 6:
            continue
        for _ in range(chance.whole(generator, 0, 2)):
            at = chance.whole(generator, len(path) // 3, len(path) - 2)
            aside = path[at + 1] - path[at] + 0.4 * chance.direction(generator)
            smaller = float(taper[at]) * chance.uniform(generator, 0.5, 0.9)
            pending.append((path[at], smaller, length * chance.uniform(generator, 0.3, 0.8), aside / aside.norm()))
    return torch.cat(points), torch.cat(radii)


def tube_cover(shape: tuple[int, ...], points: Tensor, radii: Tensor) -> Tensor:
    """Return how much of every 1 mm voxel a set of balls along tubes fills, float32 (i, j, k).

    Tubes thinner than a voxel fill only their cross-section.
    """
    cover = torch.zeros(math.prod(shape), device=points.device)
    half = math.ceil(float(radii.max()) + 1) if len(radii) else 0
    line = torch.arange(-half, half + 1, device=points.device)
    around = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    sizes = torch.tensor(shape, device=points.device)
    for some, wide in zip(torch.split(points, 4096), torch.split(radii, 4096), strict=True):
        voxels = some.round().long()[:, None] + around
        distance = (voxels - some[:, None]).norm(dim=-1)
        filled = (wide[:, None] + 0.5 - distance).clamp(0, 1) * (math.pi * wide[:, None] ** 2).clamp_max(1)
        valid = ((voxels >= 0) & (voxels < sizes)).all(-1) & (filled > 0)
        i, j, k = voxels[valid].unbind(-1)
        cover.scatter_reduce_(0, (i * shape[1] + j) * shape[2] + k, filled[valid], "amax")
    return cover.reshape(shape)


def random_vessels(mask: Tensor, *, count: int, radii_mm: tuple[float, float], generator: Generator) -> Tensor:
    """Return the cover of random vessel trees that start in ``mask`` (bool, 1 mm voxels)."""
    points, radii = [torch.zeros((0, 3), device=mask.device)], [torch.zeros(0, device=mask.device)]
    for start in chance.voxels(generator, mask, count):
        radius = chance.log_uniform(generator, *radii_mm)
        path, taper = tree(start, radius_mm=radius, length_mm=10 + 20 * radius, generator=generator)
        points.append(path)
        radii.append(taper)
    return tube_cover(tuple(mask.shape), torch.cat(points), torch.cat(radii))


def furrow_vessels(
    fluid: Tensor, starts: Tensor, *, radii_mm: tuple[float, float], length_mm: float, generator: Generator
) -> Tensor:
    """Return the cover of tapering vessels that run through fluid spaces, float32 (i, j, k).

    Parameters
    ----------
    fluid
        bool (i, j, k), 1 mm voxels: where vessels run.
    starts
        float32 (vessels, 3): where they begin, voxels.
    radii_mm
        Smallest and largest radius at the beginning.
    length_mm
        Length of the longest.
    """
    count, device = len(starts), starts.device
    headings = torch.randn((count, 3), generator=generator, device=device)
    paths = guided_walks(blur(fluid.float(), 1.0), starts, headings, length_mm=length_mm, generator=generator)
    low, high = radii_mm
    first = low * (high / low) ** torch.rand((count, 1), generator=generator, device=device)
    along = torch.linspace(0, 1, paths.shape[1], device=device)
    end = 0.25 + 0.75 * torch.rand((count, 1), generator=generator, device=device)
    radii = first * (1 - 0.6 * along / end)
    kept = (along < end) & (radii > 0.2)
    return tube_cover(tuple(fluid.shape), paths[kept], radii[kept])


def dural_shell(brain: Tensor, *, generator: Generator) -> Tensor:
    """Return a patchy shell 1 to 3 mm thick just outside the brain (bool mask, 1 mm voxels), cover 0 to 1."""
    near = blur(brain.float(), 1.5)
    thickness = chance.uniform(generator, 1.0, 3.0)
    shell = (1 - (near - 0.30).abs() / (0.16 * thickness)).clamp(0, 1)
    patchy = smooth_noise(tuple(brain.shape), cell=30, generator=generator).to(near)
    return shell * (0.67 * patchy + chance.uniform(generator, -0.8, 0.4)).clamp(0, 1)


def plexus(ventricles: Tensor, *, generator: Generator) -> Tensor:
    """Return wavy strands of choroid plexus inside the ventricles (bool mask, 1 mm voxels), cover 0 to 1."""
    deep = (nearness(ventricles, 1.2) - 0.45).clamp(0, 0.4) / 0.4
    sheet = smooth_noise(tuple(ventricles.shape), cell=7, generator=generator).to(deep)
    here = smooth_noise(tuple(ventricles.shape), cell=14, generator=generator).to(deep)
    return deep * (1 - sheet.abs() / 0.53).clamp(0, 1) * (here > 0)
