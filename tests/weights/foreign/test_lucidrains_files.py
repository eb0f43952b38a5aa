import json

import making_lucidrains as making
import pytest
import torch

from studio.errors import BadInput
from studio.ops import seeds
from studio.weights.foreign import opening

LATENT = 24


def saved(size=32, *, rate=0.1, seed=0, **options):
    torch.manual_seed(seed)
    pairs = [(making.Vectorizer(LATENT, 4, rate), making.Generator(size, LATENT, 4, **options)) for _ in range(2)]
    return *pairs[0], making.checkpoint(*pairs[0], pairs[1])


def opened(folder, content, config=None, candidate=0):
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / "model_3.pt")
    if config is not None:
        (folder / ".config.json").write_text(json.dumps(config))
    found = opening.inspect(folder / "model_3.pt", folder / "imported")
    assert found.family == "lucidrains"
    return opening.build(found, candidate)[0], found


def uniform(noise):
    """Our normal noise picture as the author's uniform one, whose axes lie the other way."""
    return torch.distributions.Normal(0, 1).cdf(noise[0]).permute(0, 3, 2, 1)


def assert_within(found, expected, share=1e-4):
    """Equal within a share of the range of the expected numbers."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= share * (expected.max() - expected.min())


@torch.no_grad()
def assert_same_pictures(generator, mapping, reference):
    z, noise = seeds.latents([1, 2], LATENT), seeds.noise(5, generator.noise_sizes)
    w = mapping(z)[:, None].expand(-1, generator.num_styles, -1)
    assert_within(generator.map(z), w)
    expected = reference(w, uniform(noise).expand(2, -1, -1, -1)) * 2 - 1
    assert_within(generator(z, noise=noise), expected)
    assert_within(generator.prepared(torch.float32)(z, noise=noise), expected)
    assert_within(generator(z), reference(w, torch.full((2, *[generator.resolution] * 2, 1), 0.5)) * 2 - 1)
    assert not torch.allclose(generator(z), expected, atol=1e-3)
    mixed = w.clone()
    mixed[:, 1:] = w[:, 1:].flip(0)
    assert_within(generator.synthesize(mixed, noise), reference(mixed, uniform(noise).expand(2, -1, -1, -1)) * 2 - 1)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (16, {}), (64, {"channels": 4, "most": 16}), (32, {"const": False}), (32, {"attention": (0, 1, 3)}),
        (32, {"soft": False}),
    ],
)  # fmt: skip
def test_the_authors_pictures(tmp_path, size, options):
    mapping, reference, content = saved(size, **options)
    config = {"image_size": size, "lr_mlp": 0.1, "fq_layers": [1]}
    generator, found = opened(tmp_path / "a", content, config)
    assert (len(found.candidates), found.warnings, found.arguments["fq_layers"]) == (1, (), [1])
    assert generator.settings.blurred == options.get("soft", True) and generator.resolution == size
    assert_same_pictures(generator, mapping, reference)


@torch.no_grad()
def test_truncation_pulls_towards_the_mean_style(tmp_path):
    mapping, _, content = saved()
    generator, _ = opened(tmp_path / "a", content)
    mean = mapping(torch.randn(20_000, LATENT)).mean(dim=0)
    assert (generator.w_avg - mean).abs().max() < 0.1 * mapping(torch.randn(500, LATENT)).std(dim=0).max()
    assert torch.allclose(generator.map(torch.randn(1, LATENT), truncation=0.0)[0, 0], generator.w_avg)
    before = generator.w_avg.clone()
    generator.calibrate()
    assert torch.allclose(generator.w_avg, before, rtol=0.2, atol=0.1 * float(before.std()))


def test_a_rate_that_is_not_stated_is_left_to_the_eye(tmp_path):
    mapping, reference, content = saved(rate=1.0)
    generator, found = opened(tmp_path / "a", content, candidate=1)
    assert [candidate.settings["mapping_rate"] for candidate in found.candidates] == [0.1, 1.0]
    assert_same_pictures(generator, mapping, reference)


def test_latest_weights_will_do(tmp_path):
    _, _, content = saved()
    content["GAN"] = {key: value for key, value in content["GAN"].items() if not key.startswith(("SE.", "GE."))}
    _, found = opened(tmp_path / "a", content)
    assert "averaged" in found.warnings[0]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("initial_conv.weight", "early version"),
        ("blocks.2.conv1.weight", "lacks layers"),
        ("blocks.1.conv1.weight", "lacks"),
    ],
)
def test_missing_layers_are_refused(tmp_path, name, sentence):
    _, _, content = saved()
    del content["GAN"][f"GE.{name}"]
    with pytest.raises(BadInput, match=sentence):
        opened(tmp_path / "a", content)


def test_attention_of_early_versions_is_refused(tmp_path):
    _, _, content = saved()
    content["GAN"]["GE.attns.0.0.fn.g"] = torch.zeros(1)
    with pytest.raises(BadInput, match="early version"):
        opened(tmp_path / "a", content)


def test_a_mapping_that_does_not_fit_is_refused(tmp_path):
    _, _, content = saved()
    content["GAN"]["SE.net.2.weight"] = torch.zeros(3, 3)
    with pytest.raises(BadInput, match="does not fit"):
        opened(tmp_path / "a", content)


@pytest.mark.parametrize("name", ["G.blocks.0.conv1.weight", "G.blocks.2.to_rgb.conv.weight", "S.net.0.weight"])
def test_numbers_without_axes_are_refused(tmp_path, name):
    content = saved(16)[-1]
    for prefix in ("", "E"):
        place = name.replace(".", f"{prefix}.", 1)
        assert place in content["GAN"]
        content["GAN"][place] = torch.zeros(())
    with pytest.raises(BadInput, match="lacks layers"):
        opened(tmp_path / "a", content)
