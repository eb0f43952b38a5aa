"""DCGANs as people have saved them make the same pictures here as in the program that made them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families.base import family, settings_from
from studio.weights.foreign import dcgan, mlp, opening
from studio.weights.foreign.contents import Contents, Imported
from tests.weights.foreign import making_dcgan as making

Z = 16


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def contents(network: nn.Module, container: str = "torch", config: dict[str, object] | None = None) -> Contents:
    """What the child's parsers would make of a saved state dict."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    ordered = dict(sorted(state.items())) if container == "safetensors" else state
    return Contents(tree=ordered, container=container, config=config or {}, file_name="generator.pth")


def read(found: Contents) -> Imported | None:
    return dcgan.read(found) or mlp.read(found)


def agreeing(
    imported: Imported, network: nn.Module, z: Tensor, label: Tensor | None = None, **levels: Any
) -> list[str]:
    """The titles of the candidates whose pictures, plain and prepared, are the network's own."""
    expected = making.pictures(network, z, label)
    if levels.get("sigmoid"):
        expected = 2 * expected - 1
    titles = []
    for candidate in imported.candidates:
        settings = settings_from(imported.family, candidate.settings)
        generator = family(imported.family).generator(settings).eval()
        generator.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in imported.generator.items()})
        styles = generator.map(z, None if label is None else torch.eye(settings.classes)[label])
        with torch.no_grad():
            plain, prepared = generator.synthesize(styles), generator.prepared(torch.float32).synthesize(styles)
        assert (plain - prepared).abs().max() < 1e-4
        if plain.shape == expected.shape and (plain - expected).abs().max() < 1e-5:
            titles.append(candidate.title)
    assert len({json.dumps(candidate.settings) for candidate in imported.candidates}) == len(imported.candidates) <= 6
    return titles


def blocks(*widths: int, kernel: int = 4, output_padding: int = 0, bias: bool = False) -> list[nn.Module]:
    """Transposed convolutions that double the size, with batch normalisation and ReLU."""
    parts: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        window = nn.ConvTranspose2d(inputs, outputs, kernel, 2, (kernel - 1) // 2, output_padding, bias=bias)
        parts += [window, nn.BatchNorm2d(outputs), nn.ReLU()]
    return parts


def first(outputs: int, kernel: int = 4) -> list[nn.Module]:
    return [nn.ConvTranspose2d(Z, outputs, kernel, 1, 0, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def main(*parts: nn.Module) -> nn.Module:
    return making.Named("main", nn.Sequential(*parts))


def last(inputs: int, channels: int = 3, kernel: int = 4, **more: Any) -> list[nn.Module]:
    return [nn.ConvTranspose2d(inputs, channels, kernel, 2, (kernel - 1) // 2, bias=False, **more), nn.Tanh()]


def upsampled(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, 1, 1)
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def flat_norm(width: int) -> list[nn.Module]:
    return [nn.BatchNorm1d(width), nn.ReLU()]


FOUND_AT_ONCE = {
    "example 8": lambda: making.example(8, Z, 4),
    "example 16": lambda: making.example(16, Z, 4),
    "example 64": lambda: making.example(64, Z, 4),
    "example 256": lambda: making.example(256, Z, 2),
    "example 512": lambda: making.example(512, Z, 1),
    "huggan": lambda: making.example(64, Z, 4, name="model"),
    "grey with biases": lambda: making.example(32, Z, 4, 1, bias=True),
    "nested, transparent": lambda: making.example(32, Z, 4, 4, name="net", nested=True, bias=True),
    "leaky ReLU": lambda: making.example(32, Z, 4, activation=lambda: nn.LeakyReLU(0.2)),
    "first layer without ReLU": lambda: making.Stacked(Z, 16, 4, nn.Sequential(*blocks(16, 8, bias=True), *last(8))),
    "softer normalisation": lambda: making.example(32, Z, 4, norm=lambda width: nn.BatchNorm2d(width, 0.8)),
    "no normalisation": lambda: making.example(32, Z, 4, norm=None, bias=True),
    "instance, without numbers": lambda: making.example(32, Z, 4, norm=nn.InstanceNorm2d),
    "instance": lambda: making.example(32, Z, 4, norm=lambda width: nn.InstanceNorm2d(width, affine=True)),
    "batch, not affine": lambda: making.example(32, Z, 4, norm=lambda width: nn.BatchNorm2d(width, affine=False)),
    "learned slope": lambda: making.example(32, Z, 4, activation=nn.PReLU),
    "course, 28 px": lambda: making.course_blocks([3, 4, 3, 4], [2, 1, 2, 2]),
    "course, 64 px": lambda: making.course_blocks([3, 3, 3, 3, 4], [2, 2, 2, 2, 2], channels=3),
    "attributes": lambda: making.Attributes(Z),
    "upsampling 28": lambda: making.Upsampling(28, Z, 1),
    "upsampling 64": lambda: making.Upsampling(64, Z),
    "upsampling blocks": lambda: making.Stacked(
        Z, 32, 4, nn.Sequential(upsampled(32, 16), upsampled(16, 8), nn.Conv2d(8, 3, 3, 1, 1), nn.Tanh()),
        after=[nn.ReLU()],
    ),
    "windows of 5": lambda: making.Stacked(
        Z, 32, 4, nn.Sequential(*blocks(32, 16, 8, kernel=5, output_padding=1), *last(8, kernel=5, output_padding=1)),
        after=flat_norm(512),
    ),
    "windows of 5 from 7 px": lambda: making.Stacked(
        Z, 32, 7,
        nn.Sequential(
            nn.ConvTranspose2d(32, 16, 5, 1, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            *blocks(16, 8, kernel=5, output_padding=1), *last(8, 1, kernel=5, output_padding=1),
        ),
        after=flat_norm(32 * 49),
    ),
    "windows of 3": lambda: making.Stacked(
        Z, 32, 4,
        nn.Sequential(
            nn.BatchNorm2d(32), nn.ReLU(), *blocks(32, 16, 8, kernel=3, output_padding=1, bias=True),
            *last(8, kernel=3, output_padding=1),
        ),
    ),
    "7 px by a window of 3": lambda: main(
        *first(32), nn.ConvTranspose2d(32, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks(16, 8),
        *last(8, 1),
    ),
    "from one pixel to 7": lambda: main(
        *first(64, 1), nn.ConvTranspose2d(64, 32, 7, bias=False), nn.BatchNorm2d(32), nn.ReLU(), *blocks(32, 16),
        *last(16, 1),
    ),
    "convolution at the end": lambda: main(*first(32), *blocks(32, 16, 8), nn.Conv2d(8, 3, 3, 1, 1), nn.Tanh()),
    "extra convolutions": lambda: main(
        *first(32), nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), *blocks(32, 8), *last(8),
    ),
    "norm after the activation": lambda: main(
        nn.ConvTranspose2d(Z, 32, 4), nn.ReLU(), nn.BatchNorm2d(32),
        nn.ConvTranspose2d(32, 8, 4, 2, 1), nn.ReLU(), nn.BatchNorm2d(8), *last(8),
    ),
    "layer normalisation": lambda: main(
        nn.ConvTranspose2d(Z, 32, 4), nn.LayerNorm([32, 4, 4]), nn.ReLU(),
        nn.ConvTranspose2d(32, 8, 4, 2, 1), nn.LayerNorm([8, 8, 8]), nn.ReLU(), *last(8),
    ),
    "dropout": lambda: main(
        nn.ConvTranspose2d(Z, 32, 4), nn.BatchNorm2d(32), nn.ReLU(), nn.Dropout(),
        nn.ConvTranspose2d(32, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), *last(8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND_AT_ONCE)
@pytest.mark.parametrize("container", ["torch", "safetensors"])
def test_the_first_candidate_makes_the_same_pictures(name: str, container: str) -> None:
    network = making.enlivened(FOUND_AT_ONCE[name]())
    imported = read(contents(network, container))
    assert imported is not None and imported.family == "dcgan"
    assert imported.candidates[0].title in agreeing(imported, network, torch.randn(3, Z))


FOUND_BY_EYE = {
    "leaky ReLU": (
        lambda: making.example(32, Z, 4, norm=None, bias=True, activation=lambda: nn.LeakyReLU(0.2)),
        "Leaky ReLU",
    ),
    "sigmoid": (lambda: making.example(32, Z, 4, output=nn.Sigmoid), "Values from 0 to 1"),
    "no output function": (lambda: making.example(32, Z, 4, output=nn.Identity), "No output function"),
    "groups": (
        lambda: making.example(32, Z, 8, norm=lambda width: nn.GroupNorm(8, width)),
        "Normalised in eight groups",
    ),
    "group": (lambda: making.example(32, Z, 8, norm=lambda width: nn.GroupNorm(1, width)), "Normalised all together"),
    "bilinear": (
        lambda: making.Stacked(
            Z, 16, 8,
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(16, 3, 3, 1, 1), nn.Tanh()),
            after=[nn.ReLU()],
        ),
        "Enlarged smoothly",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND_BY_EYE)
def test_another_candidate_makes_the_same_pictures(name: str) -> None:
    make, title = FOUND_BY_EYE[name]
    network = making.enlivened(make())
    imported = read(contents(network))
    assert imported is not None
    assert agreeing(imported, network, torch.randn(3, Z), sigmoid=name == "sigmoid") == [title]


@pytest.mark.parametrize("size", [28, 32])
def test_classes_multiply_the_latent(size: int) -> None:
    network = making.enlivened(making.Upsampling(size, Z, classes=5))
    imported = read(contents(network))
    assert imported is not None and imported.classes == ("0", "1", "2", "3", "4")
    assert "Likeliest" in agreeing(imported, network, torch.randn(3, Z), torch.tensor([0, 4, 2]))


def test_a_standard_generator_has_standard_settings_and_brings_its_critic() -> None:
    generator, critic = making.enlivened(making.example(32, Z, 4)), making.example_critic(32, 4)
    tree = {"netG": contents(generator).tree, "netD": contents(critic).tree, "optimizerG": {"state": {}}, "epoch": 3}
    imported = read(Contents(tree=tree, container="torch"))
    assert imported is not None and imported.discriminator is not None
    settings = settings_from("dcgan", imported.candidates[0].settings)
    assert (settings.z_dim, settings.width, settings.layers) == (Z, 4, ())  # type: ignore[attr-defined]
    ours = family("dcgan").discriminator(settings)
    ours.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in imported.discriminator.items()})
    pictures = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(ours.eval()(pictures).sigmoid(), critic.eval().main(pictures).flatten(1), atol=1e-5)


def wrapped(state: dict[str, Any], way: str) -> object:
    other = {f"0.{name}": value * 0 for name, value in state.items()}
    return {
        "DataParallel": {f"module.{name}": value for name, value in state.items()},
        "compiled": {f"_orig_mod.{name}": value for name, value in state.items()},
        "checkpoint": {"epoch": 3, "generator_state_dict": state, "optimizer_state_dict": {"state": other}},
        "average": {"G": other, "G_ema": state},
        "both in one": {
            "state_dict": {f"discriminator.{name}": value * 0 for name, value in state.items()}
            | {f"generator.{name}": value for name, value in state.items()}
        },
        "other names": {name.replace("main", "gen.layers"): value for name, value in state.items()},
    }[way]


@pytest.mark.parametrize("way", ["DataParallel", "compiled", "checkpoint", "average", "both in one", "other names"])
def test_wrappers_are_taken_off(way: str) -> None:
    network = making.enlivened(making.example(32, Z, 4))
    tree = wrapped(contents(network).tree, way)  # type: ignore[arg-type]
    imported = read(Contents(tree=tree, container="torch"))
    assert imported is not None
    assert "Likeliest" in agreeing(imported, network, torch.randn(2, Z))


@pytest.mark.parametrize("how", ["spectral_norm", "weight_norm"])
@pytest.mark.parametrize("new", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_normalised_weights_are_folded(how: str, new: bool) -> None:
    tool = getattr(nn.utils.parametrizations if new else nn.utils, how)
    network = making.example(32, Z, 4, norm=None, bias=True)
    making.enlivened(network)
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            tool(module)
    network.train()
    for _ in range(5):
        network(torch.randn(2, Z))
    network.eval()
    imported = read(contents(network))
    assert imported is not None
    assert "Likeliest" in agreeing(imported, network, torch.randn(2, Z))


def test_the_size_that_the_config_names_is_taken() -> None:
    network = making.enlivened(main(*first(32), *blocks(32, 16), nn.Conv2d(16, 3, 3, 1, 1), nn.Tanh()))
    for size in (8, 16):
        imported = read(contents(network, config={"image_size": size, "note": "text"}))
        assert imported is not None and imported.candidates[0].settings["resolution"] == size
        assert imported.arguments == {"image_size": size}


ELSEWHERE = {
    "critic": (lambda: making.example_critic(64, 8), "discriminator"),
    "grey critic": (lambda: making.example_critic(64, 8, 1), "discriminator"),
    "pictures to pictures": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 7), nn.Conv2d(16, 32, 3, 2, 1), nn.ConvTranspose2d(32, 16, 3, 2, 1), nn.Conv2d(16, 3, 7)
        ),
        "pictures into pictures",
    ),
}


@pytest.mark.parametrize("container", ["torch", "safetensors"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_halves_and_other_networks_are_refused(name: str, container: str) -> None:
    make, words = ELSEWHERE[name]
    with pytest.raises(BadInput, match=words):
        read(contents(make(), container))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(100, 10)),
        lambda: nn.Sequential(nn.Linear(784, 128), nn.Linear(128, 1)),
        lambda: nn.LSTM(16, 32),
        lambda: nn.TransformerEncoderLayer(16, 2, 32),
        lambda: nn.Sequential(nn.ConvTranspose2d(Z, 8, 4), nn.ConvTranspose2d(16, 3, 4)),
        lambda: nn.Sequential(nn.ConvTranspose2d(Z, 8, (4, 3)), nn.ConvTranspose2d(8, 3, 4)),
    ],
)
def test_what_is_no_stack_is_left_to_others(make: Any) -> None:
    assert read(contents(make())) is None


@pytest.mark.parametrize("tree", [None, [], {}, {"a": 1}, {"a": {"b": {"c": {"d": {}}}}}, "text", {1: {2: 3}}])
def test_trees_without_weights_are_left_to_others(tree: object) -> None:
    assert read(Contents(tree=tree, container="torch")) is None


def test_many_equal_layers_take_no_time() -> None:
    shapes = [(32, 32)] * 40 + [(31, 30)]
    state = {f"layer{number}.weight": torch.zeros(shape).numpy() for number, shape in enumerate(shapes)}
    for container in ("torch", "safetensors"):
        assert read(Contents(tree=state, container=container)) is None


@pytest.mark.parametrize("kind", ["pth", "huggan", "safetensors", "upsampling", "conditional"])
def test_files_open_in_the_studio(tmp_path: Path, kind: str) -> None:
    label = None
    if kind == "huggan":
        network, source, z_dim = making.write_huggan(tmp_path / "hub"), tmp_path / "hub", Z
    elif kind == "safetensors":
        network, source, z_dim = making.enlivened(making.example(32, Z, 4)), tmp_path / "model.safetensors", Z
        save_file(network.state_dict(), source)
    elif kind == "pth":
        source, z_dim = tmp_path / "netG_epoch_3.pth", Z
        network = making.write_dcgan(source)
    else:
        source, z_dim = tmp_path / "generator.pt", 20
        network = making.write_upsampling(source, classes=3 if kind == "conditional" else 0)
        label = torch.tensor([2, 0]) if kind == "conditional" else None
    found = opening.inspect(source, tmp_path / "into")
    generator, _ = opening.build(found)
    z = torch.randn(2, z_dim)
    rows = None if label is None else torch.eye(3)[label]
    with torch.no_grad():
        made = generator.synthesize(generator.map(z, rows))  # type: ignore[operator]
    assert found.family == "dcgan" and (made - making.pictures(network, z, label)).abs().max() < 1e-5


def test_halved_files_are_read_with_their_counters(tmp_path: Path) -> None:
    generator, critic = making.example(32, Z, 4), making.example_critic(32, 4)
    networks = {"netG": generator.half().state_dict(), "netD": critic.half().state_dict()}
    assert networks["netG"]["main.1.num_batches_tracked"].dtype == torch.int64
    halved = {key: {name: value.half() for name, value in state.items()} for key, state in networks.items()}
    torch.save(halved, tmp_path / "half.bin")
    built, judge = opening.build(opening.inspect(tmp_path / "half.bin", tmp_path / "into"))
    assert judge is not None and built.state_dict()["main.1.num_batches_tracked"] == 0
    assert torch.equal(built.state_dict()["main.0.weight"], generator.state_dict()["main.0.weight"].float())


@pytest.mark.parametrize("key", ["", "G", "generator", "model", "netG"])
def test_whole_modules_are_read_as_their_state_dicts(tmp_path: Path, key: str) -> None:
    network = making.example(32, Z, 4)
    torch.save({key: network} if key else network, tmp_path / "whole.pt")
    built, _ = opening.build(opening.inspect(tmp_path / "whole.pt", tmp_path / "into"))
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in built.state_dict().items())


def test_whole_modules_that_nobody_knows_are_still_named(tmp_path: Path) -> None:
    torch.save(nn.GRU(2, 3), tmp_path / "whole.pt")
    with pytest.raises(BadInput, match="whole object of somebody's program"):
        opening.inspect(tmp_path / "whole.pt", tmp_path / "into")
