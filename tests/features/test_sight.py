"""The frozen network that the projected critic sees with: its maps, the folding of its weights, and its damaged file."""

import pytest
import torch

from studio.errors import Damaged
from studio.features import sight
from studio.features.fold_sight import _PARTS, folded
from studio.features.sight import WIDTHS, Block, Folded, Sight, load_sight


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_four_maps_of_any_picture(channels):
    maps = load_sight(torch.device("cpu"))(torch.rand(2, channels, 50, 40) * 2 - 1, 64)
    assert [tuple(each.shape) for each in maps] == [(2, w, 16 >> n, 16 >> n) for n, w in enumerate(WIDTHS)]


def test_it_is_frozen_and_one_for_all():
    network = load_sight(torch.device("cpu"))
    assert network is load_sight(torch.device("cpu")) and not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_it_knows_what_it_was_taught():
    """Vectors of a picture drawn twice differently are nearer than those of two pictures: it is no random network."""
    across = torch.linspace(-1, 1, 128)
    radius = (across[:, None] ** 2 + across[None, :] ** 2).sqrt()
    disc = torch.where(radius < 0.6, 1.0, -1.0)
    stripes = torch.where(torch.sin(across * 20)[None, :] > 0, 1.0, -1.0).expand(128, 128)
    pictures = torch.stack([disc, disc.roll(9, 1) * 0.8, stripes, stripes.roll(9, 1) * 0.8])[:, None]
    vectors = load_sight(torch.device("cpu"))(pictures, 128)[3].mean(dim=(2, 3))
    alike = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    assert min(alike[0, 1], alike[2, 3]) > alike[:2, 2:].max() + 0.2


def plain_network(network):
    """The published form of a `Sight`: convolutions without bias, and normalisations in evaluation mode."""
    random, weights = torch.Generator().manual_seed(0), {}
    pairs = [("_conv_stem", "_bn0", network.stem)]
    for place, block in enumerate(network.blocks):
        names = _PARTS if len(block.layers) == 3 else _PARTS[1:]
        pairs += [
            (f"_blocks.{place}.{c}", f"_blocks.{place}.{n}", layer)
            for (c, n), layer in zip(names, block.layers, strict=True)
        ]
    for convolution, norm, layer in pairs:
        outputs = len(layer.weight)
        weights[f"{convolution}.weight"] = torch.randn(layer.weight.shape, generator=random) * 0.1
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{part}"] = torch.rand(outputs, generator=random) + 0.1
    return weights, pairs


def test_folding_leaves_what_each_layer_computes():
    torch.manual_seed(0)
    network = Sight()
    weights, pairs = plain_network(network)
    network.load_state_dict(folded(weights))
    for convolution, norm, layer in pairs[:8]:
        pictures = torch.randn(2, layer.in_channels, 8, 8)
        w, layer.bends = weights[f"{convolution}.weight"], False
        bare = Folded(
            layer.in_channels, layer.out_channels, w.shape[-1], stride=layer.stride[0], groups=layer.groups, bends=False
        )
        bare.load_state_dict({"weight": w, "bias": torch.zeros(len(w))})
        values = [weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        expected = torch.nn.functional.batch_norm(bare(pictures), *values, training=False, eps=1e-3)
        assert torch.allclose(layer(pictures), expected, atol=2e-2, rtol=1e-2)


def test_foreign_weights_are_refused():
    weights, _ = plain_network(Sight())
    del weights["_blocks.3._bn2.bias"]
    with pytest.raises(KeyError):
        folded(weights)


def test_halving_pads_at_the_end_as_its_authors_did():
    """A stride of 2 on an even size looks at pixels 0, 1, 2 first, so the last pixel of padding lies behind."""
    layer = Folded(1, 1, 3, stride=2, bends=False)
    torch.nn.init.zeros_(layer.bias)
    layer.weight.data = torch.arange(9.0).reshape(1, 1, 3, 3)
    picture = torch.zeros(1, 1, 4, 4)
    picture[0, 0, 0, 0] = 1
    assert layer(picture).flatten().tolist() == [0, 0, 0, 0] and layer(picture.flip(2, 3))[0, 0, 1, 1] == 4


def test_a_block_has_a_short_cut_only_where_the_shape_stays():
    assert Block(8, 8, 3, stride=1, expansion=2).short
    assert not Block(8, 8, 3, stride=2, expansion=2).short and not Block(8, 4, 3, stride=1, expansion=2).short


def test_a_damaged_file_is_told(tmp_path, monkeypatch):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "sight.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(sight, "bundled", lambda kind: tmp_path)
    load_sight.cache_clear()
    with pytest.raises(Damaged, match="cannot be read"):
        load_sight(torch.device("cpu"))
