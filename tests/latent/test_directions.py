"""Directions are found without labels, the same each time, and do something that can be seen."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from studio.errors import BadInput, Damaged
from studio.latent.directions import (
    Direction,
    codes,
    components,
    find,
    find_or_load,
    load_directions,
    look,
    moved,
    save_directions,
    sefa,
    style_components,
)
from studio.latent.point import Edit, Point, Seed, resolve
from studio.ops.seeds import latents
from studio.paths import bundled
from studio.weights.card import DIRECTIONS_FILE, TRAITS_FILE
from studio.weights.store import load_generator


def test_sefa_finds_the_eigenvectors(mapped) -> None:
    stacked = torch.cat(mapped.style_matrices())
    found = sefa(mapped, count=12, samples=64)
    gains = [float((stacked @ direction.vector).norm()) for direction in found]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == pytest.approx(float(torch.linalg.matrix_norm(stacked, 2)), rel=1e-4)
    assert all(float(d.vector[d.vector.abs().argmax()]) > 0 for d in found)


def test_ranges_of_layers_have_their_own(mapped) -> None:
    found = find(mapped, samples=64)
    assert len(found) >= 8 and {"sefa-1", "sefa-coarse-1", "sefa-fine-4", "styles-1"} <= set(found)
    ranges = [
        (found[f"sefa-{name}-1"].first_layer, found[f"sefa-{name}-1"].last_layer)
        for name in ("coarse", "middle", "fine")
    ]
    assert ranges[0][0] == 0 and ranges[-1][1] == mapped.num_styles - 1
    assert all(one[1] + 1 == two[0] for one, two in itertools.pairwise(ranges))


def test_an_edit_of_one_goes_one_standard_deviation(plain, mapped) -> None:
    for generator in (plain, mapped):
        z = torch.randn(2000, generator.z_dim, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            styles = generator.map(z).mean(dim=1)
        for direction in find(generator).values():
            assert direction.scale == pytest.approx(float((styles @ direction.vector).std()), rel=0.15)
            assert float(direction.vector.norm()) == pytest.approx(1, abs=1e-5)


def test_style_components_are_ordered_and_orthonormal(mapped) -> None:
    found = style_components(mapped, count=8, samples=256)
    vectors = torch.stack([direction.vector for direction in found])
    scales = [direction.scale for direction in found]
    assert torch.allclose(vectors @ vectors.T, torch.eye(8), atol=1e-5) and scales == sorted(scales, reverse=True)


def test_pictures_tell_what_a_latent_does(plain) -> None:
    """The plain generator shows its latent's entries with falling strength, so these are the components."""
    found = components(*look(plain, range(1024)), count=4).values()
    for place, direction in enumerate(found):
        assert abs(float(direction.vector[place])) > 0.9
    vectors = torch.stack([direction.vector for direction in found])
    assert torch.allclose(vectors @ vectors.T, torch.eye(4), atol=1e-5)


def test_every_found_direction_changes_the_picture(plain, mapped) -> None:
    for generator in (plain, mapped):
        found = find(generator, samples=128)
        before = generator.synthesize(resolve(Point(seeds=(Seed(seed=1),)), generator))
        for name in found:
            edited = Point(seeds=(Seed(seed=1),), edits=(Edit(direction=name, amount=3),))
            assert not torch.allclose(generator.synthesize(resolve(edited, generator, found)), before, atol=1e-3)


def test_the_same_each_time(plain, classed) -> None:
    for generator in (plain, classed):
        torch.manual_seed(1)
        first = find(generator, samples=64)
        torch.manual_seed(2)
        second = find(generator, samples=64)
        assert all(torch.equal(first[name].vector, second[name].vector) for name in first)


def test_codes_are_the_first_coordinates_of_z(mapped, plain) -> None:
    found = codes(mapped, 3)
    assert [(one.name, one.title, one.space) for one in found.values()] == [
        (f"code-{place}", f"Code {place}", "z") for place in (1, 2, 3)
    ]
    assert torch.equal(torch.stack([one.vector for one in found.values()]), torch.eye(16)[:3])
    assert codes(mapped, 0) == {} and len(codes(plain, 32)) == plain.z_dim


def test_moving_along_a_direction_is_what_an_edit_of_a_point_does(mapped) -> None:
    late = Direction(
        name="late", title="", vector=torch.eye(16)[1], scale=2.0, kind="sefa", first_layer=2, last_layer=3
    )
    for direction in (late, replace(late, space="z"), codes(mapped, 2)["code-2"]):
        point = Point(seeds=(Seed(seed=4),), edits=(Edit(direction=direction.name, amount=-1.5),))
        wanted = resolve(point, mapped, {direction.name: direction})
        assert torch.allclose(moved(mapped, latents([4], 16), direction, -1.5), wanted, atol=1e-6)


def test_those_in_z_and_those_among_styles_share_a_file(plain, tmp_path: Path) -> None:
    kept = codes(plain, 1) | {
        "wide": Direction(name="wide", title="", vector=torch.eye(14)[13], scale=1.0, kind="sefa")
    }
    save_directions(tmp_path / "x.safetensors", kept)
    loaded = load_directions(tmp_path / "x.safetensors")
    assert [(one.space, len(one.vector)) for one in loaded.values()] == [("z", 12), ("w", 14)]
    assert all(torch.equal(loaded[name].vector, direction.vector) for name, direction in kept.items())


def test_they_are_saved_and_come_back(plain, tmp_path: Path) -> None:
    found = find(plain, samples=64)
    save_directions(tmp_path / "x.safetensors", found)
    loaded = load_directions(tmp_path / "x.safetensors")
    assert list(loaded) == list(found)
    for name, direction in found.items():
        assert torch.equal(direction.vector, loaded[name].vector)
        assert (direction.scale, direction.title, direction.kind) == (
            loaded[name].scale, loaded[name].title, loaded[name].kind,
        )  # fmt: skip


def test_a_broken_cache_is_made_again(plain, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for content in (b"", b"{}", b"\x00" * 100):
        path.write_bytes(content)
        with pytest.raises(Damaged):
            load_directions(path)
        assert list(find_or_load(plain, path)) == list(load_directions(path))


def test_sefa_needs_matrices(plain) -> None:
    with pytest.raises(BadInput):
        sefa(plain)


def test_those_that_ship_are_what_is_found_in_their_models() -> None:
    for folder in (path.parent for path in bundled("models").glob("*/config.json")):
        generator = load_generator(folder)[0]
        directions, named = (
            {len(one.vector) for one in load_directions(folder / file).values()}
            for file in (DIRECTIONS_FILE, TRAITS_FILE)
        )
        assert directions == {generator.style_dim}
        assert named == (set() if folder.name == "headlands" else directions), "within its kinds none explains a trait"
    folder = bundled("models") / "first-steps"
    anew, shipped = find(load_generator(folder)[0]), load_directions(folder / DIRECTIONS_FILE)
    for name, direction in anew.items():
        assert float(direction.vector @ shipped[name].vector) > 0.99, name
