import json
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.families import stylegan2
from studio.weights.foreign import nvlabs
from studio.weights.foreign.contents import Contents, Record
from tests.weights.foreign import making_networks as networks
from tests.weights.foreign import making_nvlabs as making

GOLDEN = Path(__file__).parents[2] / "golden"
VECTORS = Path(__file__).parents[4] / "shared" / "vectors"


def read(path):
    return nvlabs.read(networks.contents(path))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_snapshot_comes_back_bit_equal(tmp_path, protocol):
    generator, discriminator = networks.stylegan2()
    path = making.write_stylegan2_ada(tmp_path / "any.pkl", generator, discriminator, kimg=25.0, protocol=protocol)
    imported = read(path)
    assert imported.family == "stylegan2" and imported.kimg == 25 and not imported.warnings
    for found, made in zip(networks.built(imported), (generator, discriminator), strict=True):
        networks.assert_same(found, made)
        assert found.settings == made.settings


def test_the_studio_opens_it_with_all_its_checks(tmp_path):
    made = networks.stylegan2(classes=2)
    found, *opened = networks.opened(making.write_stylegan2_ada(tmp_path / "any.pkl", *made, frozen=3, kimg=7.5))
    assert (found.family, found.kimg, found.classes, found.warnings) == ("stylegan2", 7.5, ("0", "1"), ())
    for network, original in zip(opened, made, strict=True):
        networks.assert_same(network, original)


@pytest.mark.parametrize("settings", [
    {"classes": 3, "discriminator_mapping_layers": 4}, {"channels": 1, "conv_clamp": 0.0}, {"channels": 4, "w_dim": 10},
    {"discriminator_architecture": "orig", "mbstd_group_size": 32}, {"discriminator_architecture": "skip"},
    {"channel_base": 1000, "channel_max": 40}, {"resolution": 4, "channel_base": 64},
], ids=str)  # fmt: skip
def test_every_shape_comes_back(tmp_path, settings):
    made = networks.stylegan2(**settings)
    imported = read(making.write_stylegan2_ada(tmp_path / "any.pkl", *made))
    assert not imported.warnings
    for found, original in zip(networks.built(imported), made, strict=True):
        networks.assert_same(found, original)
    assert len(imported.classes) == made[0].classes


@pytest.mark.parametrize("kind", ["unconditional", "conditional"])
@torch.no_grad()
def test_pictures_and_logits_equal_the_authors(tmp_path, kind):
    with np.load(GOLDEN / f"stylegan2_{kind}_32.npz") as file:
        numbers = {key: torch.from_numpy(file[key]) for key in file if key != "config"}
        config = json.loads(str(file["config"]))
    settings = stylegan2.StyleGAN2Settings(classes=config.pop("c_dim"), **config)
    made = stylegan2.Generator(settings), stylegan2.Discriminator(settings)
    for prefix, network in zip(("G.", "D."), made, strict=True):
        network.load_state_dict({key[2:]: value for key, value in numbers.items() if key.startswith(prefix)})
    generator, discriminator = networks.built(read(making.write_stylegan2_ada(tmp_path / "any.pkl", *made)))
    label = numbers["c"] if settings.classes else None
    pictures, expected = generator(numbers["z"], label, generator.constant_noise()), numbers["image"]
    assert (pictures - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())
    assert torch.allclose(discriminator(expected, label), numbers["logits"], atol=1e-4)


def test_frozen_layers_are_found_among_the_buffers(tmp_path):
    generator, discriminator = networks.stylegan2()
    path = making.write_stylegan2_ada(tmp_path / "any.pkl", generator, discriminator, frozen=6)
    tree = networks.contents(path).tree
    layer = tree["D"].attribute("_modules")["b32"].attribute("_modules")["conv0"]
    assert "weight" in layer.attribute("_buffers") and not layer.attribute("_parameters")
    networks.assert_same(networks.built(read(path))[1], discriminator)


def test_what_the_snapshot_tells_is_kept_without_paths(tmp_path):
    imported = read(making.write_stylegan2_ada(tmp_path / "any.pkl", *networks.stylegan2()))
    arguments = imported.arguments
    assert arguments["augment_p"] == 0.25
    assert arguments["data"] == {"max_size": 1336, "use_labels": False, "xflip": True, "resolution": 32}
    assert arguments["generator"]["synthesis_kwargs"]["channel_base"] == 256
    assert "secret" not in json.dumps(arguments) and "someone" not in json.dumps(arguments)


@pytest.mark.parametrize(("name", "kimg"), [("network-snapshot-000200.pkl", 200), ("ffhq.pkl", 0)])
def test_the_name_tells_the_age_where_the_file_does_not(tmp_path, name, kimg):
    assert read(making.write_stylegan2_ada(tmp_path / name, *networks.stylegan2())).kimg == kimg


def test_a_generator_alone_says_that_its_critic_will_be_new(tmp_path):
    generator, _ = networks.stylegan2()
    imported = read(making.write_stylegan2_ada(tmp_path / "any.pkl", generator))
    assert imported.discriminator is None and "new critic" in imported.warnings[0]
    networks.assert_same(networks.built(imported)[0], generator)


def test_a_critic_of_another_kind_is_left_out(tmp_path):
    generator, _ = networks.stylegan2()
    projected = making.Instance(
        making.Global("pg_modules.discriminator", "ProjectedDiscriminator"),
        making.module_state(parameters={"conv.weight": torch.nn.Parameter(torch.zeros(3))}),
    )
    imported = read(making.write_stylegan2_ada(tmp_path / "any.pkl", generator, critic=projected))
    assert imported.discriminator is None and len(imported.warnings) == 1
    networks.assert_same(networks.built(imported)[0], generator)


@pytest.mark.parametrize("other", [
    {"channel_base": 128}, {"conv_clamp": 0.0}, {"classes": 2}, {"resolution": 16}, {"channels": 1},
], ids=str)  # fmt: skip
def test_a_critic_that_does_not_fit_is_left_out(tmp_path, other):
    generator, _ = networks.stylegan2()
    _, discriminator = networks.stylegan2(**other)
    imported = read(making.write_stylegan2_ada(tmp_path / "any.pkl", generator, discriminator))
    assert imported.discriminator is None and "new critic" in imported.warnings[0]
    networks.assert_same(networks.built(imported)[0], generator)


@pytest.mark.parametrize("settings", [
    {}, {"config": "r"}, {"classes": 3}, {"num_layers": 8, "num_critical": 1, "margin_size": 6}, {"channels": 1},
    {"conv_clamp": 128.0, "mbstd_group_size": 8}, {"channel_base": 700, "channel_max": 1000},
], ids=str)  # fmt: skip
def test_a_stylegan3_comes_back_bit_equal(tmp_path, settings):
    made = networks.stylegan3(**settings)
    imported = read(making.write_stylegan3(tmp_path / "any.pkl", *made, kimg=12.0))
    assert imported.family == "stylegan3" and imported.kimg == 12 and not imported.warnings
    for found, original in zip(networks.built(imported), made, strict=True):
        networks.assert_same(found, original)
    told = networks.built(imported)[0].settings
    assert (told.config, told.channel_base, told.conv_clamp) == tuple(
        getattr(made[0].settings, name) for name in ("config", "channel_base", "conv_clamp")
    )


def test_the_studio_opens_a_stylegan3(tmp_path):
    made = networks.stylegan3(config="r")
    found, *opened = networks.opened(making.write_stylegan3(tmp_path / "any.pkl", *made))
    assert found.candidates[0].title == "StyleGAN3-R" and found.warnings == ()
    for network, original in zip(opened, made, strict=True):
        networks.assert_same(network, original)


@torch.no_grad()
@pytest.mark.skipif(not VECTORS.is_dir(), reason="the reference numbers lie beside the repository only")
@pytest.mark.parametrize("config", ["t", "r"])
def test_stylegan3_pictures_equal_the_authors(tmp_path, config):
    with np.load(VECTORS / f"stylegan3_{config}_64.npz") as file:
        numbers = {key: torch.from_numpy(file[key]) for key in file if key != "config"}
        given = json.loads(str(file["config"]))
    settings = {name: given[name] for name in ("z_dim", "w_dim", "resolution", "mapping_layers", "channel_base")}
    made, _ = networks.stylegan3(**settings, channel_max=given["channel_max"], config=config)
    made.load_state_dict({key[2:]: value for key, value in numbers.items() if key.startswith("G.")})
    generator, critic = networks.built(read(making.write_stylegan3(tmp_path / "any.pkl", made)))
    pictures, expected = generator(numbers["z"]), numbers["image"]
    assert critic is None
    assert (pictures - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


@pytest.mark.parametrize("config", ["t", "r"])
def test_a_stylegan3_tells_its_shape_without_arguments(config):
    made, _ = networks.stylegan3(config=config, channel_base=1000, channel_max=40)
    state = {name: tensor.numpy() for name, tensor in made.state_dict().items() if "w_avg" not in name}
    found, _ = networks.built(nvlabs.read(Contents(tree={"G_ema": state}, container="torch")))
    assert all(torch.equal(tensor, torch.from_numpy(state[name])) for name, tensor in found.state_dict().items()
               if name in state)  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [
    (lambda state: state.pop("synthesis.L3_36_16.weight"), "lacks some of its layers"),
    (lambda state: state.update({"synthesis.L0_36_16.weight": np.zeros((16, 16, 5, 5))}), "5 pixels"),
    (lambda state: state.update({"synthesis.L3_36_15.weight": state.pop("synthesis.L3_36_16.weight")}), "of their own"),
    (lambda state: state.pop("synthesis.L0_36_16.up_filter"), "up_filter"),
    (lambda state: state.pop("synthesis.L5_52_16.down_filter"), "lacks 'synthesis.L5_52_16.down_filter'"),
    (lambda state: state.update({"mapping.embed_proj.weight": np.zeros((4, 4))}), "embed_proj"),
    (lambda state: state.update({"synthesis.L3_36_16.bias": np.zeros(4)}), "L3_36_16.bias"),
])  # fmt: skip
def test_an_unknown_stylegan3_is_refused_in_words(change, words):
    state = {name: tensor.numpy() for name, tensor in networks.stylegan3()[0].state_dict().items()}
    change(state)
    with pytest.raises(BadInput, match=words):
        nvlabs.read(Contents(tree={"G_ema": state}, container="torch"))


@torch.no_grad()
def test_layers_without_noise_are_silent():
    generator, _ = networks.stylegan2()
    state = {name: tensor.numpy() for name, tensor in generator.state_dict().items() if ".noise_" not in name}
    found, _ = networks.built(nvlabs.read(Contents(tree={"G_ema": state}, container="torch")))
    z = torch.randn(2, 10)
    assert torch.allclose(found(z, noise=found.constant_noise()), generator(z))


@torch.no_grad()
@pytest.mark.parametrize("classes", [0, 3])
def test_a_missing_mean_style_is_taken_anew(classes):
    generator, _ = networks.stylegan2(classes=classes, z_dim=64, w_dim=64)
    state = {name: tensor.numpy() for name, tensor in generator.state_dict().items() if "w_avg" not in name}
    found, _ = networks.built(nvlabs.read(Contents(tree=state, container="safetensors")))
    label = torch.eye(classes).repeat(7000, 1)[:20_000] if classes else None
    mean = generator.map_w(torch.randn(20_000, 64), label).mean(dim=0)
    assert (found.mapping.w_avg - mean).abs().max() < 0.05 and mean.abs().max() > 0.2


def tampered(tree, path, **changes):
    """The same tree, with attributes of one module changed."""
    record = tree["G_ema"]
    for part in path:
        record = record.attribute("_modules")[part]
    record.state.update(changes)
    return tree


@pytest.mark.parametrize(("path", "changes", "words"), [
    (("mapping", "fc0"), {"bias_gain": 0.1}, "0.1 of the usual rate"),
    (("mapping", "fc1"), {"activation": "relu"}, "relu"),
    (("synthesis", "b8", "conv0"), {"activation": "swish"}, "swish"),
    (("synthesis", "b8"), {"_buffers": {"resample_filter": np.ones((2, 2), np.float32) / 4}}, "filter"),
])  # fmt: skip
def test_what_computes_otherwise_is_refused(tmp_path, path, changes, words):
    file = making.write_stylegan2_ada(tmp_path / "any.pkl", *networks.stylegan2())
    tree = tampered(networks.contents(file).tree, path, **changes)
    with pytest.raises(BadInput, match=words):
        nvlabs.read(Contents(tree=tree, container="pickle"))


@pytest.mark.parametrize(("change", "words"), [
    (lambda state: state.pop("synthesis.b8.torgb.weight"), "last size"),
    (lambda state: state.pop("synthesis.b8.conv1.weight"), "lacks some of its sizes"),
    (lambda state: state.update({"synthesis.b8.attention.weight": np.zeros(3)}), "attention"),
    (lambda state: state.update({"synthesis.b4.const": np.zeros((16, 4, 7))}), r"4, 4\]"),
    (lambda state: state.update({"mapping.fc1.weight": np.zeros((12, 13))}), "width"),
    (lambda state: state.update({"synthesis.b32.torgb.weight": np.zeros((7, 8, 1, 1))}), "7 channels"),
    (lambda state: state.update({"synthesis.b8.conv1.weight": np.zeros((9, 16, 3, 3))}), "rule of their own"),
    (lambda state: state.update({"mapping.embed.weight": np.zeros((12, 20_000))}), "20000 classes"),
    (lambda state: state.update({"mapping.fc0.weight": np.zeros(())}), "mapping.fc0.weight"),
])  # fmt: skip
def test_unknown_shapes_are_refused_in_words(change, words):
    state = {name: tensor.numpy() for name, tensor in networks.stylegan2()[0].state_dict().items()}
    change(state)
    with pytest.raises(BadInput, match=words):
        nvlabs.read(Contents(tree={"G_ema": state}, container="torch"))


@pytest.mark.parametrize("tree", [
    {}, [], None, {"G_ema": None}, {"G_ema": Record(name="x.y", state=[])}, {"G_ema": 3, "D": 4}, {"state_dict": {}},
    Record(name="training.networks.Generator", state={"_modules": {"a": 1}}),
])  # fmt: skip
def test_other_files_are_left_to_others(tree):
    assert nvlabs.read(Contents(tree=tree, container="pickle")) is None
