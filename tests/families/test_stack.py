"""Stacks of layers: built as described, folded for play, refused where they cannot be."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from studio.errors import BadInput
from studio.families import dcgan, mlp, stack
from studio.families.layout import ACTIVATIONS, Layer
from studio.options import from_json, to_json

START = Layer(width=8, stride=1, padding=0, norm="batch")
END = Layer(width=3, activation="tanh")


def settings(*layers: Layer, resolution: int = 16, **more: Any) -> dcgan.DCGANSettings:
    return dcgan.DCGANSettings(resolution=resolution, z_dim=6, layers=layers, **more)


def lively(generator: nn.Module) -> nn.Module:
    """Random statistics and gains, so that folding has something to fold."""
    for name, value in generator.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.3, 2)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(0.5, 0.3)
        elif value.is_floating_point():
            value.normal_(0, 0.2)
    return generator.eval()


MIDDLES = {
    "biased": Layer(width=6, bias=True, norm="batch", activation="leaky_relu"),
    "not affine": Layer(width=6, norm="batch", affine=False),
    "soft": Layer(width=6, norm="batch", epsilon=0.8),
    "norm last": Layer(width=6, norm="batch", norm_last=True),
    "instance": Layer(width=6, norm="instance", affine=False),
    "groups": Layer(width=6, norm="group", groups=3),
    "layer": Layer(width=6, norm="layer"),
    "enlarged": Layer(kind="convolution", width=6, kernel=3, stride=1, enlarge=2, norm="batch", bias=True),
    "smooth": Layer(kind="convolution", width=6, kernel=3, stride=1, enlarge=2, smooth=True, norm="batch"),
    "window of 5": Layer(width=6, kernel=5, padding=2, output_padding=1, norm="batch"),
    "linear": Layer(kind="linear", width=6, kernel=8, norm="flat_batch", bias=True),
    "linear, by maps": Layer(kind="linear", width=6, kernel=8, norm="batch"),
} | {name: Layer(width=6, activation=name) for name in ACTIVATIONS}


@pytest.mark.parametrize("name", MIDDLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folded_for_play_it_makes_the_same_pictures(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    generator = lively(dcgan.Generator(settings(START, MIDDLES[name], END)))
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    styles = generator.map(torch.randn(3, 6))  # type: ignore[operator]
    with torch.no_grad():
        plain = generator.synthesize(styles)  # type: ignore[operator]
        folded = generator.prepared(dtype).synthesize(styles)  # type: ignore[operator]
    assert plain.shape == (3, 3, 16, 16) and folded.dtype == torch.float32
    assert (plain - folded).abs().max() < (1e-5 if dtype == torch.float32 else 0.1)
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())
    assert all(parameter.requires_grad for parameter in generator.parameters())


@pytest.mark.parametrize("kind", ["transposed", "convolution"])
def test_wide_layers_of_few_pixels_are_matrix_products(kind: str) -> None:
    torch.manual_seed(0)
    wide = {"transposed": Layer(width=256, bias=True), "convolution": MIDDLES["enlarged"]}[kind]
    start = dataclasses.replace(START, width=512)
    generator = lively(dcgan.Generator(settings(start, dataclasses.replace(wide, width=256), END)))
    prepared = generator.prepared(torch.float32)  # type: ignore[operator]
    assert any(isinstance(module, stack.FoldedDoubling) for module in prepared.modules())
    z = torch.randn(2, 6)
    with torch.no_grad():
        assert torch.allclose(generator(z), prepared(z), atol=1e-4)


def test_batch_normalisation_is_gone_in_play() -> None:
    prepared = dcgan.Generator(dcgan.DCGANSettings(resolution=32, width=4)).prepared(torch.float32)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in prepared.modules())
    assert all(not parameter.requires_grad for parameter in prepared.parameters())
    assert prepared.prepared(torch.float32) is prepared


def test_a_standard_stack_is_pytorchs_example() -> None:
    torch.manual_seed(0)
    widths, parts = (6, 32, 16, 8), []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        parts += [nn.ConvTranspose2d(inputs, outputs, 4, 2 if number else 1, 1 if number else 0, bias=False)]
        parts += [nn.BatchNorm2d(outputs), nn.ReLU()]
    network = nn.Sequential(*parts, nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh())
    generator = dcgan.Generator(dcgan.DCGANSettings(resolution=32, z_dim=6, width=8))
    generator.main.load_state_dict(lively(network).state_dict())
    z = torch.randn(4, 6)
    with torch.no_grad():
        assert torch.equal(generator.eval()(z), network(z[:, :, None, None]))


@pytest.mark.parametrize(("black", "white"), [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)])
def test_black_and_white_become_minus_one_and_one(black: float, white: float) -> None:
    generator = dcgan.Generator(settings(START, Layer(width=6), END, black=black, white=white)).eval()
    plain = dcgan.Generator(settings(START, Layer(width=6), END)).eval()
    plain.load_state_dict(generator.state_dict())
    z = torch.randn(2, 6)
    expected = (plain(z) - black) / (white - black) * 2 - 1
    assert torch.allclose(generator(z), expected, atol=1e-6)
    assert torch.allclose(generator.prepared(torch.float32)(z), expected, atol=1e-5)


@pytest.mark.parametrize(("label_input", "width"), [("embedded_before", 4), ("embedded_after", 4), ("times", 6)])
def test_embedded_labels_enter(label_input: str, width: int) -> None:
    embedding = settings(START, Layer(width=6), END, classes=3, label_input=label_input, label_width=width)
    generator = lively(dcgan.Generator(embedding))
    z, label = torch.randn(3, 6), torch.eye(3)
    embedded = generator.label_emb.weight  # type: ignore[union-attr]
    if label_input == "times":
        entering = z * embedded
    else:
        entering = torch.cat([embedded, z] if label_input == "embedded_before" else [z, embedded], dim=1)
    with torch.no_grad():
        expected = generator.main(entering[:, :, None, None])  # type: ignore[operator]
        assert torch.allclose(generator(z, label), expected, atol=1e-6)
        assert torch.allclose(generator.prepared(torch.float32)(z, label), expected, atol=1e-5)  # type: ignore[operator]


def test_settings_travel_as_json() -> None:
    known = settings(START, MIDDLES["enlarged"], END, black=0.0)
    assert from_json(dcgan.DCGANSettings, to_json(known)) == known
    assert known.sizes == (1, 4, 8, 16)
    old = {"resolution": 32, "channels": 3, "classes": 0, "z_dim": 100, "width": 64}
    assert from_json(dcgan.DCGANSettings, old) == dcgan.DCGANSettings(resolution=32)


IMPOSSIBLE = {
    "another size": (START, END),
    "other channels": (START, Layer(width=6), dataclasses.replace(END, width=2)),
    "nothing left": (START, Layer(kind="convolution", width=4, kernel=7, stride=1, padding=0), END),
    "far too large": (Layer(kind="linear", width=1 << 20, kernel=16), Layer(width=1 << 20), END),
    "far too many": (START,) * 65,
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_stacks_are_refused(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        settings(*IMPOSSIBLE[name])
    assert caught.value.message.endswith(".") and caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel": 17}, {"padding": 9}, {"output_padding": 2}, {"enlarge": 2}, {"norm": "flat_batch"},
        {"norm": "group", "groups": 5}, {"norm": "spectral"}, {"activation": "exec"}, {"kind": "pickle"}, {"width": 0},
    ],
)  # fmt: skip
def test_impossible_layers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Layer(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"black": 1.0, "white": 1.0}, {"black": float("nan")}, {"label_input": "beside", "label_width": 4},
        {"label_input": "times", "label_width": 4, "classes": 2}, {"label_input": "embedded_after", "label_width": 4},
        {"label_input": "eval"},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        dcgan.DCGANSettings(resolution=32, **wrong)


def test_odd_sizes_play_but_do_not_train() -> None:
    start = Layer(kind="linear", width=4, kernel=7)
    odd = settings(start, Layer(width=4), END, resolution=28)
    assert not odd.trains and dcgan.Generator(odd)(torch.randn(1, 6)).shape == (1, 3, 28, 28)
    with pytest.raises(BadInput, match="28 px"):
        dcgan.Discriminator(odd)
    trained = settings(START, Layer(width=6), END)
    assert trained.trains and dcgan.Discriminator(trained)(torch.randn(2, 3, 16, 16)).shape == (2, 1)


def test_an_mlp_holds_linear_layers_only() -> None:
    last = Layer(kind="linear", width=1, kernel=8, bias=True, activation="sigmoid")
    hidden = Layer(kind="linear", width=5, kernel=1, norm="batch", activation="leaky_relu")
    known = mlp.MLPSettings(resolution=8, channels=1, z_dim=6, layers=(hidden, last), black=0.0)
    generator = lively(mlp.Generator(known))
    names = {name for name in generator.state_dict() if name.endswith("weight")}
    assert names == {"main.0.weight", "main.1.weight", "main.3.weight"}
    z = torch.randn(2, 6)
    prepared = generator.prepared(torch.bfloat16)  # type: ignore[operator]
    assert torch.allclose(generator(z), prepared(z), atol=1e-5) and generator(z).min() >= -1
    with pytest.raises(BadInput, match="fully connected"):
        mlp.MLPSettings(resolution=8, z_dim=6, layers=(START, END))
