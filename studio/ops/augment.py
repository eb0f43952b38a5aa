"""Augmentation that D sees and G does not learn to draw: ADA's pipeline `bgc` and the control of its strength.

Karras et al. 2020, Training Generative Adversarial Networks with Limited Data, appendix B. `diffaugment` (Zhao et al.
2020) is the plain alternative. All randomness comes from a CPU `torch.Generator`; maths are float32, also under
autocast; the result is differentiable twice with respect to the pictures.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from studio.ops.diffaugment import diffaugment
from studio.ops.seeds import WHOLE, Share
from studio.ops.warp import permute, warp

__all__ = ["BGC", "ada", "ada_step", "diffaugment"]

BLIT = ("flip", "rotate90", "shift")
GEOMETRY = ("scale", "rotate", "stretch", "move")
COLOUR = ("brightness", "contrast", "luma_flip", "hue", "saturation")
BGC = (*BLIT, *GEOMETRY, *COLOUR)
"""The twelve operations that the paper recommends, in the order they are applied."""

_UNIFORMS_PER_PICTURE = 32
_GREY_AXIS = (3**-0.5, 3**-0.5, 3**-0.5, 0.0)


def ada(
    images: Tensor,
    p: float | Tensor,
    generator: torch.Generator,
    *,
    operations: Collection[str] = BGC,
    share: Share = WHOLE,
) -> Tensor:
    """Augment each picture on its own, every operation with probability `p`.

    Args:
        images: [n, c, h, w] in about [-1, 1]; 1, 3 or 4 channels (the fourth moves but keeps its values).
        p: 0 leaves the pictures untouched; 1 and above applies every operation to every picture.
        generator: CPU stream. Picture i depends on it and on i, whatever else is in the batch and whichever
            operations are left out.
        operations: names out of `BGC`.
        share: which rows of the whole batch `images` are.

    Returns:
        float32 [n, c, h, w], not clamped.

    Raises:
        ValueError: an unknown operation.
    """
    if unknown := set(operations) - set(BGC):
        raise ValueError(f"no such operation: {sorted(unknown)}")
    chance = float(p)
    if chance <= 0 or not len(images):
        return images
    table = share.draw(torch.rand, (len(images), _UNIFORMS_PER_PICTURE), generator, dtype=torch.float64)
    dice = _Dice(table, dict.fromkeys(operations, chance))
    lattice, warping = _geometry(dice, images.shape[-2], images.shape[-1])
    colour = _colour(dice)
    with torch.autocast(images.device.type, enabled=False):
        return _paint(_move(images.float(), lattice, warping), colour)


def ada_step(p: float, sign_mean: float, *, target: float, images: int, speed_kimg: float) -> float:
    """The next augmentation probability, after `images` pictures since the last step (section 3 of the paper).

    `sign_mean` is r_t, the mean sign of D on real pictures: above `target` D overfits and p rises. At most
    `speed_kimg` thousand pictures take p from 0 to 1. p never falls below 0 and has no upper end, as in the original.
    """
    difference = sign_mean - target
    direction = (difference > 0) - (difference < 0)
    return max(p + direction * images / (speed_kimg * 1000), 0.0)


class _Dice:
    """A row of uniform numbers for each picture, used up column by column, so that no draw depends on another."""

    def __init__(self, table: Tensor, chances: dict[str, float]) -> None:
        self._columns = iter(table.unbind(dim=1))
        self._chances = chances

    def uniform(self) -> Tensor:
        """[n] in [0, 1)."""
        return next(self._columns)

    def normal(self) -> Tensor:
        """[n], standard normal by the inverse of its distribution."""
        normal: Tensor = torch.special.ndtri(self.uniform().clamp_min(2.0**-53))
        return normal

    def pick(self, choices: int) -> Tensor:
        """[n], whole numbers in 0 … choices - 1."""
        return (self.uniform() * choices).floor()

    def often(self, operation: str, values: Tensor, otherwise: float) -> Tensor:
        """[n]: `values` with the operation's chance, else the value that changes nothing."""
        return torch.where(self.uniform() < self._chances.get(operation, 0.0), values, otherwise)

    def rotation(self) -> Tensor:
        """[n] angles. Two rotations are drawn, each so rarely that the chance of any is p."""
        chance = 1 - math.sqrt(max(1 - self._chances.get("rotate", 0.0), 0.0))
        angle = (self.uniform() * 2 - 1) * math.pi
        return torch.where(self.uniform() < chance, angle, 0.0)


def _geometry(dice: _Dice, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Two matrices [n, 3, 3] whose product, `lattice @ warping`, maps places of the result to the source: the first of
    flips, quarter turns and whole pixels, the second of all that needs resampling."""
    mirror = 1 - 2 * dice.often("flip", dice.pick(2), 0)
    turn = dice.often("rotate90", dice.pick(4), 0) * (math.pi / 2)
    across, down = dice.uniform() * 2 - 1, dice.uniform() * 2 - 1
    shifted = dice.often("shift", torch.ones_like(across), 0) * 0.125
    lattice = _scaling(mirror, torch.ones_like(mirror)) @ _rotation(turn).round()
    lattice = lattice @ _translation((across * shifted * width).round(), (down * shifted * height).round())

    scale = dice.often("scale", torch.exp2(-0.2 * dice.normal()), 1)
    warping = _scaling(scale, scale) @ _rotation(dice.rotation())
    stretch = dice.often("stretch", torch.exp2(-0.2 * dice.normal()), 1)
    warping = warping @ _scaling(stretch, 1 / stretch) @ _rotation(dice.rotation())
    across, down = dice.normal(), dice.normal()
    moved = dice.often("move", torch.ones_like(across), 0) * 0.125
    return lattice, warping @ _translation(across * moved * width, down * moved * height)


def _move(images: Tensor, lattice: Tensor, warping: Tensor) -> Tensor:
    """Each picture as cheaply as its matrices allow: not at all, exactly, or by resampling."""
    warped = _is_not_identity(warping)
    moved = _is_not_identity(lattice) & ~warped
    result = images
    for chosen, execute, matrices in ((moved, permute, lattice), (warped, warp, lattice @ warping)):
        if bool(chosen.any()):
            rows = chosen.nonzero().flatten()
            index = rows.to(images.device)
            result = result.index_copy(0, index, execute(images[index], matrices[rows]))
    return result


def _is_not_identity(matrices: Tensor) -> Tensor:
    return (matrices != torch.eye(3, dtype=matrices.dtype)).any(dim=2).any(dim=1)


def _colour(dice: _Dice) -> Tensor:
    """[n, 4, 4] on homogeneous RGB. Luma is the grey axis (1, 1, 1) / sqrt(3), not a broadcast standard's weights."""
    identity = torch.eye(4, dtype=torch.float64)
    axis = torch.tensor(_GREY_AXIS, dtype=torch.float64)
    luma = torch.outer(axis, axis)
    chroma = torch.diag(torch.tensor([1.0, 1, 1, 0], dtype=torch.float64)) - luma

    brightness = dice.often("brightness", 0.2 * dice.normal(), 0)
    shade = identity.repeat(len(brightness), 1, 1)
    shade[:, :3, 3] = brightness[:, None]
    contrast = _homogeneous(dice.often("contrast", torch.exp2(0.5 * dice.normal()), 1))
    flip = identity - 2 * luma * _column(dice.often("luma_flip", dice.pick(2), 0))
    angle = _column(dice.often("hue", (dice.uniform() * 2 - 1) * math.pi, 0))
    cross = torch.zeros(4, 4, dtype=torch.float64)
    cross[:3, :3] = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * _GREY_AXIS[0]
    hue = identity + (angle.cos() - 1) * chroma + angle.sin() * cross  # Rodrigues' rotation about the axis
    saturation = identity + (_column(dice.often("saturation", torch.exp2(dice.normal()), 1)) - 1) * chroma
    result: Tensor = saturation @ hue @ flip @ contrast @ shade
    return result


def _paint(images: Tensor, matrices: Tensor) -> Tensor:
    """Apply [n, 4, 4] colour matrices. Grey pictures take the mean row: brightness, contrast and luma flip remain."""
    if bool((matrices == torch.eye(4, dtype=matrices.dtype)).all()):
        return images
    channels = images.shape[1]
    matrices = matrices[:, :3].to(images)
    if channels == 1:
        row = matrices.mean(dim=1)
        return images * row[:, :3].sum(dim=1)[:, None, None, None] + row[:, 3, None, None, None]
    colours = torch.baddbmm(matrices[:, :, 3:], matrices[:, :, :3], images[:, :3].flatten(2))
    colours = colours.reshape(images[:, :3].shape)
    return colours if channels == 3 else torch.cat([colours, images[:, 3:]], dim=1)


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _homogeneous(factor: Tensor) -> Tensor:
    """[n, 4, 4]: red, green and blue times `factor` [n]."""
    return torch.diag_embed(torch.stack([factor, factor, factor, torch.ones_like(factor)], dim=1))


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def _rotation(angle: Tensor) -> Tensor:
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def _translation(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([one, zero, x, zero, one, y, zero, zero, one], dim=1).reshape(-1, 3, 3)
