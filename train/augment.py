"""Pictures -> the same digits as other hands, pens and cameras would have given them.

uint8 [n, 28, 28] -> one smooth warp (affine + elastic) -> stroke width, stray strokes, blur, noise -> uint8 [n, 28, 28]

Elastic distortion: P. Y. Simard, D. Steinkraus, J. C. Platt: Best Practices for Convolutional Neural Networks Applied
to Visual Document Analysis, ICDAR 2003. Here the displacement is drawn on a coarse grid and interpolated by splines, so
that affine and elastic distortion are one `grid_sample`: 1.5 s of one core for all 55,000 pictures.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from digit import SIDE

CHUNK = 500  # pictures at a time: what is in work stays in the cache
CUDA_CHUNK = 10_000
COARSE = 6  # nodes of the elastic displacement along each side


@dataclass(frozen=True)
class Distortion:
    """How far a picture may be distorted at most; each picture by a random strength times these.

    Angles in radians, lengths in pixels, shares of pictures in [0, 1], grey values in [0, 1].
    """

    rotation: float = 0.35
    scale: float = 0.25  # each axis by its own factor in 1 +- scale
    shear: float = 0.3
    shift: float = 3.0
    elastic: float = 1.2  # standard deviation of the displacement at the coarse nodes
    thicken: float = 0.15  # share of pictures whose stroke grows ...
    thin: float = 0.15  # ... or shrinks, by up to a pixel to each side
    soften: float = 0.15  # share of pictures that are blurred
    noise: float = 0.15  # share of pictures with Gaussian noise ...
    noise_level: float = 0.2  # ... of a standard deviation up to this
    stray: float = 0.1  # share of pictures crossed by a stray stroke: a ruled line, a squiggle, a crossing-out


PLAIN = Distortion(0, 0, 0, 0, 0, 0, 0, 0, 0, stray=0)


def augment(pictures: Tensor, distortion: Distortion, generator: Generator) -> Tensor:
    """Distorted copies, uint8 [n, 28, 28], of pictures, uint8 [n, 28, 28] on the generator's device."""
    chunk = CHUNK if pictures.device.type == "cpu" else CUDA_CHUNK
    return torch.cat([_augment(part, distortion, generator) for part in pictures.split(chunk)])


def _augment(pictures: Tensor, how: Distortion, generator: Generator) -> Tensor:
    ink = pictures[:, None].float() / 255
    ink = F.grid_sample(ink, warp(len(ink), how, generator), align_corners=False)
    changes = (how.thicken, thicken), (how.thin, thin), (how.stray, cross), (how.soften, soften)
    for share, change in (*changes, (how.noise, partial(add_noise, level=how.noise_level))):
        if share:
            ink = where(share, ink, change, generator)
    return (ink[:, 0].clamp(0, 1) * 255).round().to(torch.uint8)


def warp(n: int, how: Distortion, generator: Generator) -> Tensor:
    """Sampling grids, float32 [n, 28, 28, 2] in the units of `grid_sample`, where the picture is [-1, 1] wide."""

    device = generator.device
    # of all distortion of a picture: most are mild, some are wild
    strength = torch.rand(n, generator=generator, device=device)

    def uniform(reach: float) -> Tensor:
        return (torch.rand(n, generator=generator, device=device) * 2 - 1) * reach * strength

    angle, shear = uniform(how.rotation), uniform(how.shear)
    wide, high = 1 + uniform(how.scale), 1 + uniform(how.scale)
    pixel = 2 / SIDE
    across = torch.stack([wide * angle.cos(), shear - angle.sin(), uniform(how.shift) * pixel], 1)
    down = torch.stack([angle.sin(), high * angle.cos(), uniform(how.shift) * pixel], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [n, 1, SIDE, SIDE], align_corners=False)
    if how.elastic:
        nodes = torch.randn(n, COARSE, COARSE, 2, generator=generator, device=device) * how.elastic * pixel
        nodes *= strength[:, None, None, None]
        spline = _SPLINE.to(device)
        grid = grid + torch.einsum("yi,xj,nijc->nyxc", spline, spline, nodes)
    return grid


def where(share: float, ink: Tensor, change: Callable[[Tensor, Generator], Tensor], generator: Generator) -> Tensor:
    """`change` a random share of the pictures: ink, float32 [n, 1, 28, 28]."""
    chosen = torch.rand(len(ink), generator=generator, device=ink.device) < share
    ink[chosen] = change(ink[chosen], generator)
    return ink


def thicken(ink: Tensor, generator: Generator) -> Tensor:
    return ink.lerp(F.max_pool2d(ink, 3, 1, 1), _strength(ink, generator))


def thin(ink: Tensor, generator: Generator) -> Tensor:
    return ink.lerp(-F.max_pool2d(-ink, 3, 1, 1), 0.7 * _strength(ink, generator))  # more would break thin strokes


def soften(ink: Tensor, generator: Generator) -> Tensor:
    kernel = torch.tensor([1.0, 2.0, 1.0], device=ink.device) / 4
    return ink.lerp(F.conv2d(ink, torch.outer(kernel, kernel)[None, None], padding=1), _strength(ink, generator))


def cross(ink: Tensor, generator: Generator) -> Tensor:
    """Draw a wavy stroke, straight where the wave is flat, over each picture."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(ink), 1, 1, generator=generator, device=ink.device)

    axis = torch.arange(SIDE, device=ink.device) - SIDE / 2
    x, y = axis, axis[:, None]
    angle = uniform(0, math.pi)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    wave = uniform(0, 4) * (uniform(0.2, 1.2) * along + uniform(0, 2 * math.pi)).sin()
    beside = (across - uniform(-10, 10) - wave).abs()
    beyond = (along - uniform(-8, 8)).abs() - uniform(6, 20)  # of the stroke's ends
    stroke = (uniform(0.8, 1.8) - torch.maximum(beside, beyond)).clamp(0, 1) * uniform(0.5, 1)
    return torch.maximum(ink, stroke[:, None])


def add_noise(ink: Tensor, generator: Generator, level: float) -> Tensor:
    return ink + level * _strength(ink, generator) * torch.randn(ink.shape, generator=generator, device=ink.device)


def _strength(ink: Tensor, generator: Generator) -> Tensor:
    return torch.rand(len(ink), 1, 1, 1, generator=generator, device=ink.device)


def _cubic(side: int, nodes: int) -> Tensor:
    """Weights [side, nodes] of the cubic interpolation from nodes to pixels along one axis."""
    return F.interpolate(torch.eye(nodes)[None, None], (side, nodes), mode="bicubic", align_corners=True)[0, 0]


_SPLINE = _cubic(SIDE, COARSE)
