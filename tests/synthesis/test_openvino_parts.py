"""Compiled parts draw what the exact network draws, whole and cut in two, and damaged ones on disk are made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from studio.families import dcgan, stylegan2
from studio.families.base import Generator, family, settings_from
from studio.synthesis.backend import Span, Unavailable, prepared, run, staged
from studio.synthesis.openvino import OpenVINO
from tests.making import SETTINGS

pytest.importorskip("openvino")

STYLEGAN2 = stylegan2.StyleGAN2Settings(
    resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channel_base=512, channel_max=32, channels=4
)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def style_generator() -> stylegan2.Generator:
    torch.manual_seed(1)
    generator = stylegan2.Generator(STYLEGAN2).eval()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.3)
    return generator


def compiled(generator: Generator, **more) -> OpenVINO:
    dtype = more.setdefault("dtype", torch.float32)
    return OpenVINO(generator, prepared(generator, dtype), **more)


def styles_of(generator: Generator, count: int = 1) -> Tensor:
    return generator.map(torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(7)))


def within(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return bool((one - other).abs().max() <= tolerance * other.abs().max())


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("silent", [False, True])
def test_a_whole_part_draws_the_exact_pictures(count: int, silent: bool) -> None:
    generator = style_generator()
    noise = None if silent else generator.constant_noise()
    styles = styles_of(generator, count)
    part = compiled(generator).part(Span(0, len(generator.stages), count))
    (picture,) = part((), styles, noise)
    exact = generator.synthesize(styles, noise)
    assert within(picture, exact, 1e-4)
    other = generator.synthesize(styles, generator.constant_noise() if silent else None)
    assert not within(picture, other, 1e-2), "noise must matter, or this test sees nothing"


def test_two_parts_draw_what_one_does() -> None:
    generator = style_generator()
    styles, noise = styles_of(generator), generator.constant_noise()
    fast = compiled(generator)
    head, tail = fast.part(Span(0, 2, picture_only=False)), fast.part(Span(2, 4))
    state = head((), styles, noise)
    assert [tuple(tensor.shape[1:]) for tensor in state] == [(32, 8, 8), (4, 8, 8)]
    assert within(tail(state, styles, noise)[-1], generator.synthesize(styles, noise), 1e-4)


def test_bfloat16_comes_near_enough() -> None:
    generator = style_generator()
    styles, noise = styles_of(generator), generator.constant_noise()
    (picture,) = compiled(generator, dtype=torch.bfloat16).part(Span(0, 4))((), styles, noise)
    exact = generator.synthesize(styles, noise)
    error = (picture - exact).square().mean() / exact.square().mean()
    assert error < 1e-3


def test_a_family_without_stages_is_one_part() -> None:
    torch.manual_seed(2)
    generator = dcgan.Generator(dcgan.DCGANSettings(resolution=32, z_dim=16)).eval()
    styles = styles_of(generator, 3)
    (picture,) = compiled(generator).part(Span(0, 1, 3))((), styles, None)
    assert within(picture, generator.synthesize(styles), 1e-4)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_family_draws_the_same_again_and_again(name: str) -> None:
    torch.manual_seed(4)
    generator = family(name).generator(settings_from(name, json.loads(json.dumps(SETTINGS[name])))).eval()
    styles, noise = styles_of(generator), generator.constant_noise()
    part = compiled(generator).part(Span(0, len(staged(generator).stages)))
    pictures = [part((), styles, noise)[-1] for _ in range(4)]
    assert all(torch.equal(pictures[0], picture) for picture in pictures)
    assert within(pictures[0], generator.synthesize(styles, noise), 1e-2)


def test_what_it_answers_is_not_overwritten_by_the_next_picture() -> None:
    generator = style_generator()
    part = compiled(generator).part(Span(0, 4))
    first = part((), styles_of(generator, 2)[:1], None)[-1]
    kept = first.clone()
    part((), styles_of(generator, 2)[1:], None)
    assert torch.equal(first, kept)


def test_a_compiled_part_is_kept_and_a_damaged_one_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = style_generator()
    styles = styles_of(generator)
    fast = compiled(generator, kept=(tmp_path / "prepared", "abc"))
    whole = Span(0, 4)
    expected = fast.part(whole)((), styles, None)[-1]
    (blob,) = (tmp_path / "prepared").glob("abc-pixels-*")

    monkeypatch.setattr(OpenVINO, "_model", lambda *_: pytest.fail("it was on disk"))
    assert torch.equal(fast.part(whole)((), styles, None)[-1], expected)

    monkeypatch.undo()
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 0xFF
    blob.write_bytes(content)
    assert torch.equal(fast.part(whole)((), styles, None)[-1], expected)
    assert blob.read_bytes() != bytes(content), "the good one took its place"


def test_a_network_that_cannot_be_translated_is_unavailable() -> None:
    class Odd(dcgan.Generator):
        def synthesize(self, styles: Tensor, noise=None) -> Tensor:
            return torch.linalg.svd(super().synthesize(styles, noise))[0]

    with pytest.raises(Unavailable):
        compiled(Odd(dcgan.DCGANSettings(resolution=16, z_dim=8)).eval()).part(Span(0, 1))


def test_running_a_span_is_running_its_stages() -> None:
    generator = style_generator()
    styles, noise = styles_of(generator), generator.constant_noise()
    network = staged(generator)
    state = run(network, Span(0, 3, picture_only=False), (), styles, noise)
    assert torch.equal(run(network, Span(3, 4), state, styles, noise)[-1], generator.synthesize(styles, noise))
