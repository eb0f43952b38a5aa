"""Tiny random networks for the tests of foreign formats, and what an import becomes in the studio."""

import torch

from studio.families import stylegan2 as second
from studio.families import stylegan3 as third
from studio.families.base import family, settings_from
from studio.weights.foreign import opening
from studio.weights.foreign.contents import Contents
from studio.weights.foreign.torchfiles import read_pickle, read_zip

TINY = {
    "resolution": 32, "z_dim": 10, "w_dim": 12, "mapping_layers": 2, "channel_base": 256, "channel_max": 16,
    "conv_clamp": 256.0,
}  # fmt: skip

TINY_3 = {
    "resolution": 32, "z_dim": 10, "w_dim": 12, "mapping_layers": 2, "channel_base": 256, "channel_max": 16,
    "discriminator_channel_base": 512, "discriminator_channel_max": 24,
}  # fmt: skip


def stylegan2(seed=0, **settings):
    """A generator and a discriminator of family stylegan2 with every weight random, also those that begin at zero."""
    torch.manual_seed(seed)
    made = second.StyleGAN2Settings(**{**TINY, **settings})
    networks = second.Generator(made).eval(), second.Discriminator(made).eval()
    for network in networks:
        shake(network)
    return networks


def stylegan3(seed=0, **settings):
    """A generator and a discriminator of family stylegan3 with every weight random."""
    torch.manual_seed(seed)
    made = third.StyleGAN3Settings(**{**TINY_3, **settings})
    networks = third.Generator(made).eval(), third.Discriminator(made).eval()
    for network in networks:
        shake(network)
    return networks


@torch.no_grad()
def shake(network):
    """Move biases, strengths and means away from where they begin."""
    for name, tensor in network.state_dict().items():
        if name.endswith(("bias", "noise_strength", "w_avg", "phases")):
            tensor.add_(torch.randn_like(tensor) * (30 if "mapping.fc" in name else 0.3))


def contents(path):
    """A file parsed by its first bytes, as the studio's child process does it."""
    data = memoryview(path.read_bytes())
    zipped = bytes(data[:2]) == b"PK"
    tree = read_zip(data) if zipped else read_pickle(data)
    return Contents(tree=tree, container="torch" if zipped else "pickle", file_name=path.name)


def opened(path):
    """What the studio makes of a file, its child process and all its checks included: facts, generator, discriminator."""
    found = opening.inspect(path, path.with_suffix(".read"))
    return found, *opening.build(found)


def built(imported, candidate=0):
    """The networks of an import, under the names, shapes and settings that the studio insists on."""
    kind = family(imported.family)
    settings = settings_from(imported.family, imported.candidates[candidate].settings)
    generator = kind.generator(settings).eval()
    generator.load_state_dict(as_tensors(imported.generator))
    if imported.discriminator is None:
        return generator, None
    discriminator = kind.discriminator(settings).eval()
    discriminator.load_state_dict(as_tensors(imported.discriminator))
    return generator, discriminator


def as_tensors(arrays):
    """Arrays as torch's tensors."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def assert_same(network, other):
    """Every tensor of two networks is equal to the last bit."""
    ours, theirs = network.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
