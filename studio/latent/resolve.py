"""From recipes to tensors: the styles and the noise of points. Pure; the numbers do not depend on the batch.

Every latent that the points need is mapped in one batch (one for each truncation that occurs). What a layer then takes
is a weighted sum of these rows and of directions; a plan holds the weights. Directions in z make other rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from studio.errors import BadInput
from studio.families.base import Generator, Movable, Noise
from studio.latent.directions import Direction, device_of
from studio.latent.mix import blend_latents
from studio.latent.point import NO_NOISE, OWN_CLASS, Edit, Mix, Point, Seed
from studio.ops import seeds
from studio.words import counted


@dataclass(frozen=True, kw_only=True)
class _Latent:
    """One row to be mapped: z [z_dim], label [classes] or None, truncation."""

    z: Tensor
    label: Tensor | None
    truncation: float


@dataclass(kw_only=True)
class _Plan:
    """What one point is made of.

    Attributes:
        rows: index of a mapped row -> its weight for each layer [num_styles].
        shifts: layers and what is added to their styles [style_dim].
    """

    rows: dict[int, Tensor] = field(default_factory=dict)
    shifts: list[tuple[slice, Tensor]] = field(default_factory=list)

    def add(self, other: _Plan, weight: float) -> None:
        for row, weights in other.rows.items():
            self.rows[row] = self.rows.get(row, torch.zeros_like(weights)) + weight * weights
        self.shifts += [(layers, weight * shift) for layers, shift in other.shifts]

    def replace(self, layers: slice, row: int) -> None:
        """Let these layers take another row alone."""
        weights = torch.zeros_like(next(iter(self.rows.values())))
        for others in self.rows.values():
            others[layers] = 0
        weights[layers] = 1
        self.rows[row] = weights

    def move(self, layers: slice, step: Tensor, latents: list[_Latent]) -> None:
        """Let these layers take each row as what its latent maps to after a step [z_dim]; new rows go to `latents`."""
        for row, weights in list(self.rows.items()):
            taken = torch.zeros_like(weights)
            taken[layers] = weights[layers]
            if taken.any():
                self.rows[_append(replace(latents[row], z=latents[row].z + step), latents)] = taken
                self.rows[row] = weights - taken
            if not self.rows[row].any():
                del self.rows[row]


@torch.no_grad()
def resolve_many(
    points: Sequence[Point], generator: Generator, directions: Mapping[str, Direction] | None = None
) -> Tensor:
    """The styles [len(points), num_styles, style_dim] of points, on the generator's device, float32.

    If the generator can move its pictures and a point asks for that, they are what its `placed` makes of the styles.
    Layers beyond the model's are moved to its last one, so a point of one model can be tried on another.

    Raises:
        BadInput: a class that the model does not have, or a direction that it does not know.
    """
    latents: list[_Latent] = []
    plans = [_plan(point, generator, latents, directions or {}) for point in points]
    rows = _map(latents, {row for plan in plans for row in plan.rows}, generator)
    styles = torch.stack([_styles(plan, rows) for plan in plans])
    if isinstance(generator, Movable) and any(any(_moves(point)) for point in points):
        return generator.placed(styles, torch.stack([placement(point) for point in points]))
    return styles


def placement(point: Point) -> Tensor:
    """Where a point's picture lies, as the [3, 3] that `Movable.placed` takes: it looks where each pixel came from.

    A pixel at q comes to p = R q + t, so what is at p came from q = R⁻¹ (p - t); y points downwards.
    """
    across, up, degrees = _moves(point)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor(
        [
            [cosine, sine, -cosine * across + sine * up],
            [-sine, cosine, sine * across + cosine * up],
            [0.0, 0.0, 1.0],
        ]
    )


def resolve_noise(point: Point, generator: Generator) -> Noise | None:
    """The noise of a point as `Generator.synthesize` takes it; None for a point that wants none."""
    if point.noise_seed == NO_NOISE:
        return None
    if point.noise_seed is None:
        return generator.constant_noise()
    device = device_of(generator)
    return tuple(picture.to(device) for picture in seeds.noise(point.noise_seed, generator.noise_sizes))


def layer_range(first: int, last: int | None, num_styles: int) -> slice:
    """Layers first to last (included; None: to the end), moved into 0 to num_styles - 1."""
    top = num_styles - 1
    return slice(min(first, top), min(top if last is None else last, top) + 1)


def _plan(
    point: Point,
    generator: Generator,
    latents: list[_Latent],
    directions: Mapping[str, Direction],
    base: int | None = None,
) -> _Plan:
    """The plan of a point; what it needs mapped is appended to `latents`. `base` is a row to start from."""
    plan = _Plan()
    if base is None and not (point.blend and point.space == "w"):
        base = _append(_latent(point, generator), latents)
    if point.blend:
        for weight, part in _parts(point):
            plan.add(_plan(part, generator, latents, directions, base), weight)
    elif base is not None:
        plan.rows[base] = torch.ones(generator.num_styles)
    if point.mix is not None:
        layers = layer_range(point.mix.first_layer, point.mix.last_layer, generator.num_styles)
        plan.replace(layers, _append(_mixed(point.mix, point, generator), latents))
    for edit in point.edits:
        _edit(plan, edit, generator, latents, directions)
    return plan


def _edit(
    plan: _Plan, edit: Edit, generator: Generator, latents: list[_Latent], directions: Mapping[str, Direction]
) -> None:
    """Go along a direction, on the layers that both it and the edit name."""
    direction = directions.get(edit.direction)
    if direction is None:
        raise BadInput(f"This model has no direction {edit.direction!r}.", "Remove the edit, or choose another.")
    in_z = direction.space == "z"
    if direction.vector.shape[-1] != (generator.z_dim if in_z else generator.style_dim):
        raise BadInput(f"The direction {edit.direction!r} belongs to another model.", "Look for directions again.")
    chosen = layer_range(edit.first_layer, edit.last_layer, generator.num_styles)
    reach = layer_range(direction.first_layer, direction.last_layer, generator.num_styles)
    layers = slice(max(chosen.start, reach.start), min(chosen.stop, reach.stop))
    step = edit.amount * direction.scale * direction.vector
    if in_z:
        plan.move(layers, step, latents)
    else:
        plan.shifts.append((layers, step))


def _moves(point: Point) -> tuple[float, float, float]:
    """How far to the right and up, and how many degrees clockwise, with the shares of a blend."""
    moves = [(1.0, (point.translate_x, point.translate_y, point.rotate))]
    moves += [(weight, _moves(part)) for weight, part in _parts(point)] if point.blend else []
    across, up, turned = (sum(weight * move[place] for weight, move in moves) for place in range(3))
    return across, up, turned


def _append(latent: _Latent, latents: list[_Latent]) -> int:
    latents.append(latent)
    return len(latents) - 1


def _parts(point: Point) -> list[tuple[float, Point]]:
    """The points that a blended point lies between, with weights that sum to 1."""
    total = sum(share.weight for share in point.blend)
    return [(share.weight / total, share.point) for share in point.blend]


def _latent(point: Point, generator: Generator) -> _Latent:
    label, truncation = _conditions(point, generator)
    return _Latent(z=_z(point, generator), label=label, truncation=truncation)


def _mixed(mix: Mix, point: Point, generator: Generator) -> _Latent:
    """Another seed under the class and truncation of the point."""
    label, truncation = _conditions(point, generator)
    return _Latent(z=seeds.latents([mix.seed], generator.z_dim)[0], label=label, truncation=truncation)


def _z(point: Point, generator: Generator) -> Tensor:
    """[z_dim] in float32: seeds added so that the variance stays, or parts blended on their sphere."""
    if point.blend:
        parts = _parts(point)
        return blend_latents([_z(part, generator) for _, part in parts], [weight for weight, _ in parts])
    if len(point.seeds) == 1 and point.seeds[0].weight > 0:
        return seeds.latents([point.seeds[0].seed], generator.z_dim)[0]
    drawn = seeds.latents([seed.seed for seed in point.seeds], generator.z_dim).double()
    weights = torch.tensor([seed.weight for seed in point.seeds], dtype=torch.float64)
    return torch.matmul(weights / torch.linalg.vector_norm(weights), drawn).float()


def _conditions(point: Point, generator: Generator) -> tuple[Tensor | None, float]:
    """Label [classes] or None, and truncation; averaged for a blended point."""
    if not point.blend:
        return _label(point, generator), point.truncation
    parts = _parts(point)
    truncation = sum(weight * part.truncation for weight, part in parts)
    labels = [(weight, _label(part, generator)) for weight, part in parts]
    if all(label is None for _, label in labels):
        return None, truncation
    even = torch.full((generator.classes,), 1 / generator.classes)
    shared = [weight * (even if label is None else label) for weight, label in labels]
    return torch.stack(shared).sum(dim=0), truncation


def _label(point: Point, generator: Generator) -> Tensor | None:
    if point.label == OWN_CLASS:
        return _own_label(point.seeds, generator)
    if point.label is None:
        return None
    if point.label >= generator.classes:
        many = counted(generator.classes, "class", "classes") if generator.classes else "no classes"
        raise BadInput(f"This model has {many}, so there is no class {point.label}.", "Choose another class, or none.")
    return torch.eye(generator.classes)[point.label]


def _own_label(drawn: Sequence[Seed], generator: Generator) -> Tensor | None:
    """The classes of seeds, shared out by weight; None where there are none."""
    labels = seeds.labels([seed.seed for seed in drawn], generator.classes)
    weights = torch.tensor([abs(seed.weight) for seed in drawn])
    return None if labels is None else weights / weights.sum() @ labels


def _map(latents: Sequence[_Latent], wanted: Set[int], generator: Generator) -> dict[int, Tensor]:
    """Index -> styles [num_styles, style_dim]. Rows of one truncation, with or without label, go together."""
    groups: dict[tuple[float, bool], list[int]] = {}
    for index in sorted(wanted):
        latent = latents[index]
        groups.setdefault((latent.truncation, latent.label is None), []).append(index)
    device = device_of(generator)
    rows: dict[int, Tensor] = {}
    for (truncation, unlabelled), indices in groups.items():
        z = torch.stack([latents[index].z for index in indices]).to(device)
        labels = [label for index in indices if (label := latents[index].label) is not None]
        label = None if unlabelled else torch.stack(labels).to(device)
        rows.update(zip(indices, generator.map(z, label, truncation), strict=True))
    return rows


def _styles(plan: _Plan, rows: Mapping[int, Tensor]) -> Tensor:
    """[num_styles, style_dim]"""
    first, *others = plan.rows
    styles = rows[first] * plan.rows[first].to(rows[first].device)[:, None]
    for row in others:
        styles = styles + rows[row] * plan.rows[row].to(styles.device)[:, None]
    for layers, shift in plan.shifts:
        styles[layers] += shift.to(styles.device)
    return styles
