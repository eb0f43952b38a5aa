"""It plays at once, takes over what is faster, redraws only what changed, and drafts while the hand moves."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from studio.families import stylegan2
from studio.families.base import family, settings_from
from studio.synthesis.backend import Part, Span, State, Unavailable, prepared, run
from studio.synthesis.backends import Measurements
from studio.synthesis.synthesizer import Synthesizer
from tests.making import SETTINGS as SETTINGS_OF

SETTINGS = stylegan2.StyleGAN2Settings(
    resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16
)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


class Fake:
    """A backend that runs the exact network and notes what it was asked for and what ran."""

    name = "fake"

    def __init__(self, network: stylegan2.Generator, *, broken: bool = False) -> None:
        self.network, self.broken = network, broken
        self.made: list[Span] = []
        self.ran: list[Span] = []

    def part(self, span: Span) -> Part:
        if self.broken:
            raise Unavailable("not here")
        self.made.append(span)

        def draw(state: State, styles: Tensor, noise) -> State:
            self.ran.append(span)
            return run(self.network, span, state, styles, noise)

        return draw


class Bench:
    """A synthesizer over a fake, with the background work in the test's hands."""

    def __init__(self, *, broken: bool = False) -> None:
        torch.manual_seed(3)
        self.generator = stylegan2.Generator(SETTINGS).eval()
        self.fake = Fake(self.generator, broken=broken)
        self.waiting: list = []
        self.synthesizer = Synthesizer(self.generator, prepared(self.generator, torch.float32), self.waiting.append)
        self.noise = self.generator.constant_noise()

    def styles(self, count: int = 1, seed: int = 0) -> Tensor:
        return self.generator.map(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))).clone()

    def catch_up(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def is_right(self, picture: Tensor, styles: Tensor) -> bool:
        return torch.allclose(picture, self.generator.synthesize(styles, self.noise), atol=1e-4)


def test_it_plays_before_anything_is_ready_and_faster_afterwards() -> None:
    bench = Bench()
    styles = bench.styles()
    assert bench.is_right(bench.synthesizer.draw(styles, bench.noise), styles)
    assert bench.fake.ran == [] and bench.synthesizer.backend == "eager"
    bench.synthesizer.use(bench.fake)
    assert bench.is_right(bench.synthesizer.draw(bench.styles(seed=1), bench.noise), bench.styles(seed=1))
    assert bench.fake.ran == [Span(0, 4)] and bench.synthesizer.backend == "fake"
    assert bench.fake.made == [Span(0, 4)], "nothing is made that nobody asked for"


def test_only_what_changed_is_drawn_again() -> None:
    bench = Bench()
    bench.synthesizer.use(bench.fake)
    base = bench.styles()

    def fine(amount: float) -> Tensor:
        moved = base.clone()
        moved[:, 4:] += amount
        picture = bench.synthesizer.draw(moved, bench.noise)
        assert bench.is_right(picture, moved)
        return picture

    first = fine(0.0)
    fine(0.1)
    bench.catch_up()
    bench.fake.ran.clear()
    fine(0.2)
    assert bench.fake.ran == [Span(0, 2, picture_only=False), Span(2, 4)]
    assert not torch.equal(fine(0.3), first)
    assert bench.fake.ran[2:] == [Span(2, 4)], "the first stages stay as they are"
    coarse = base.clone()
    coarse[:, 0] += 1
    assert bench.is_right(bench.synthesizer.draw(coarse, bench.noise), coarse)
    assert bench.fake.ran[3:] == [Span(0, 4)]


def test_other_noise_is_another_picture() -> None:
    bench = Bench()
    with torch.no_grad():
        for block in bench.generator.synthesis.blocks:
            for layer in block.styled:
                layer.noise_strength.fill_(1.0)
    bench.synthesizer = Synthesizer(bench.generator, prepared(bench.generator, torch.float32), bench.waiting.append)
    styles = bench.styles()
    for _ in range(3):
        with_noise = bench.synthesizer.draw(styles, bench.noise)
    without = [bench.synthesizer.draw(styles, None) for _ in range(3)]
    assert all(torch.allclose(each, bench.generator.synthesize(styles), atol=1e-4) for each in without)
    assert bench.is_right(with_noise, styles)


def test_a_picture_that_is_moved_follows_one_that_is_not() -> None:
    torch.manual_seed(5)
    generator = family("stylegan3").generator(settings_from("stylegan3", SETTINGS_OF["stylegan3"])).eval()
    synthesizer = Synthesizer(generator, prepared(generator, torch.float32), lambda work: None)
    styles = generator.map(torch.randn(1, 16))
    moved = generator.placed(styles, torch.tensor([[1.0, 0.0, 0.2], [0.0, 1.0, 0.1], [0.0, 0.0, 1.0]]))
    for wish in (styles, moved, moved, styles, styles, moved):
        assert torch.allclose(synthesizer.draw(wish, None), generator.synthesize(wish), atol=1e-4)
    assert not torch.allclose(generator.synthesize(styles), generator.synthesize(moved), atol=1e-2)


def test_a_batch_is_cut_into_eights() -> None:
    bench = Bench()
    bench.synthesizer.use(bench.fake)
    styles = bench.styles(11)
    for _ in range(2):
        assert bench.is_right(bench.synthesizer.draw(styles, bench.noise), styles)
        bench.catch_up()
    assert bench.fake.ran == [Span(0, 4, 8)]


def test_drafts_are_for_slow_models_and_half_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    styles = bench.styles()
    assert bench.synthesizer.draw(styles, bench.noise, draft=True).shape[-1] == 32
    monkeypatch.setattr("studio.synthesis.synthesizer._SLOW_SECONDS", -1.0)
    assert bench.synthesizer.draw(bench.styles(seed=5), bench.noise, draft=True).shape[-1] == 16
    assert bench.is_right(bench.synthesizer.draw(styles, bench.noise), styles)


def test_without_a_fast_form_the_plain_one_goes_on() -> None:
    bench = Bench(broken=True)
    bench.synthesizer.use(bench.fake)
    styles = bench.styles()
    for _ in range(3):
        assert bench.is_right(bench.synthesizer.draw(styles, bench.noise), styles)
        bench.catch_up()
    assert bench.synthesizer.backend == "eager" and set(bench.synthesizer.measure()) == {"eager"}


def test_measuring_gives_up_the_slower_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for fake_is_slow, winner in ((True, "eager"), (False, "fake")):
        bench = Bench()
        bench.synthesizer.use(bench.fake)
        seconds = itertools.cycle([1.0, 2.0] if fake_is_slow else [2.0, 1.0])
        monkeypatch.setattr("studio.synthesis.synthesizer._seconds", lambda *_, seconds=seconds: next(seconds))
        assert set(bench.synthesizer.measure()) == {"eager", "fake"}
        assert bench.synthesizer.backend == winner


def test_measurements_are_remembered_and_a_garbled_file_is_not_minded(tmp_path: Path) -> None:
    path = tmp_path / "measurements.json"
    assert Measurements(path).of("a") == {}
    Measurements(path).remember("a", {"eager": 0.5, "openvino": 0.25})
    Measurements(path).remember("b", {"eager": 0.1})
    assert Measurements(path).of("a") == {"eager": 0.5, "openvino": 0.25}
    for garbage in ("{", "[]", '{"x": 3}'):
        path.write_text(garbage)
        assert Measurements(path).of("a") == {}
        Measurements(path).remember("a", {"eager": 0.5})
        assert Measurements(path).of("a") == {"eager": 0.5}
