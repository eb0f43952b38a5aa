"""Directions and points travel from a model to those that are trained from it, and are measured anew."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from studio.latent.directions import Check, Direction, codes, find, load_directions, save_directions, style_components
from studio.latent.lineage import carried_point, inherited, inherited_name, recheck
from studio.latent.point import OWN_CLASS, Edit, Point, Seed, Share

SHA = "abcdef0123" + "0" * 54


def travelled(generator: Any, direction: Direction) -> Direction:
    found = inherited(direction, generator, title="Moths", sha256=SHA)
    assert found is not None
    return found


@torch.no_grad()
def nudged(generator: nn.Module, amount: float) -> nn.Module:
    """The same network with every weight moved a little, as training does."""
    torch.manual_seed(2)
    child = copy.deepcopy(generator)
    for weight in child.parameters():
        weight += amount * weight.std(correction=0) * torch.randn_like(weight)
    return child


def test_a_copy_keeps_everything(mapped: Any) -> None:
    for direction in find(mapped, samples=64).values():
        check = recheck(mapped, mapped, direction, travelled(mapped, direction))
        assert check.strength == pytest.approx(1, abs=1e-4) and check.likeness == pytest.approx(1, abs=1e-4)
        assert check.mark == "kept"


def test_training_wears_directions_off(mapped: Any) -> None:
    direction = style_components(mapped, count=1, samples=64)[0]
    likeness = [recheck(mapped, nudged(mapped, amount), direction, direction).likeness for amount in (0.01, 0.3, 3.0)]
    assert likeness == sorted(likeness, reverse=True) and likeness[0] > 0.95 > 0.5 > likeness[-1]


def test_what_a_model_no_longer_reads_has_faded(plain: Any) -> None:
    deaf = copy.deepcopy(plain)
    deaf.matrix[0] = 0
    direction = Direction(name="a", title="A", vector=torch.eye(12)[0], scale=1.0, kind="pictures")
    assert recheck(plain, deaf, direction, direction).mark == "faded"
    turned = replace(direction, vector=torch.eye(12)[1])
    assert recheck(plain, plain, direction, turned).mark == "changed"


def test_marks() -> None:
    marks = [Check(strength=s, likeness=c).mark for s, c in ((1, 0.9), (0.1, 0.9), (1, 0.1), (3, 0.8))]
    assert marks == ["kept", "faded", "changed", "kept"]


def test_an_inherited_direction_is_named_after_the_model_it_was_found_in(mapped: Any) -> None:
    direction = style_components(mapped, count=1, samples=64)[0]
    child = travelled(mapped, direction)
    assert child.name == "styles-1@abcdef01" and child.origin == "Moths"
    grandchild = inherited(child, mapped, title="Butterflies", sha256="9" * 64)
    assert grandchild is not None and grandchild.name == child.name and grandchild.origin == "Moths"
    assert inherited_name("sefa-1@12345678", SHA) == "sefa-1@12345678"


def test_a_latent_that_grew_by_classes_takes_directions_on(plain: Any, mapped: Any) -> None:
    wider = copy.copy(plain)
    wider.style_dim = 14
    direction = Direction(name="a", title="A", vector=torch.eye(12)[3], scale=1.0, kind="pictures")
    assert torch.equal(travelled(wider, direction).vector, torch.eye(14)[3])
    wider.style_dim = 3
    assert inherited(direction, wider, title="Moths", sha256=SHA) is None
    assert inherited(direction, mapped, title="Moths", sha256=SHA) is None


def test_a_code_stays_a_coordinate_of_z_and_goes_with_its_latent_alone(mapped: Any, plain: Any) -> None:
    code = travelled(mapped, codes(mapped, 1)["code-1"])
    assert (code.name, code.space) == ("code-1@abcdef01", "z") and torch.equal(code.vector, torch.eye(16)[0])
    assert recheck(mapped, mapped, codes(mapped, 1)["code-1"], code).mark == "kept"
    assert recheck(mapped, mapped, codes(mapped, 2)["code-2"], code).likeness < 0.9
    other = copy.copy(plain)
    other.z_dim = 13
    assert inherited(codes(plain, 1)["code-1"], other, title="Moths", sha256=SHA) is None


def test_they_come_back_from_a_file_with_their_mark(mapped: Any, tmp_path: Any) -> None:
    direction = replace(travelled(mapped, find(mapped, samples=64)["sefa-1"]), check=Check(strength=0.5, likeness=0.75))
    save_directions(tmp_path / "kept.safetensors", {direction.name: direction})
    loaded = load_directions(tmp_path / "kept.safetensors")[direction.name]
    assert (loaded.check, loaded.origin) == (direction.check, "Moths") and torch.equal(loaded.vector, direction.vector)


def test_points_travel_with_their_edits_and_classes() -> None:
    known: dict[str, Any] = {"sefa-1@abcdef01": None, "sefa-2@99999999": None}
    edits = tuple(Edit(direction=name, amount=2) for name in ("sefa-1", "sefa-2@99999999", "gone"))
    point = Point(seeds=(Seed(seed=4),), edits=edits, label=2)
    carried = carried_point(point, sha256=SHA, classes={2: 0}, known=known)
    assert [edit.direction for edit in carried.edits] == list(known) and carried.edits[0].amount == 2
    assert carried.label == 0 and carried.seeds == point.seeds
    blended = Point(blend=(Share(point=point), Share(point=Point(seeds=(Seed(seed=5),), label=1), weight=2)))
    first, second = carried_point(blended, sha256=SHA, classes={2: 0}, known=known).blend
    assert first.point == carried and second.point.label is None and second.weight == 2


def test_where_the_base_had_no_classes_each_seed_has_its_own() -> None:
    plain = Point(seeds=(Seed(seed=4),))
    assert carried_point(plain, sha256=SHA, classes={None: OWN_CLASS}, known={}).label == OWN_CLASS
    assert carried_point(plain, sha256=SHA, classes={0: 0}, known={}).label is None
    own = replace(plain, label=OWN_CLASS)
    assert carried_point(own, sha256=SHA, classes={0: 0}, known={}).label == OWN_CLASS
