"""FastGAN networks and files laid out as their authors save them, from random weights, to compare ours with."""

import collections
import pickle
import sys
import types

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

MULTIPLES = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
SKIPS = ((4, 64), (8, 128), (16, 256), (32, 512))


class Gate(nn.Module):
    def forward(self, x):
        values, gates = x.chunk(2, 1)
        return values * gates.sigmoid()


class Dust(nn.Module):
    """Noise comes from a queue, so that both networks see the same."""

    def __init__(self, queue):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1) * 0.03)
        self.queue = queue

    def forward(self, x):
        return x + self.weight * self.queue.pop(0) if self.queue else x


class ByClass(nn.Module):
    def __init__(self, width, inputs):
        super().__init__()
        self.gain = spectral_norm(nn.Linear(inputs, width))
        self.bias = spectral_norm(nn.Linear(inputs, width))
        self.register_buffer("stored_mean", torch.randn(width))
        self.register_buffer("stored_var", torch.rand(width) + 0.5)

    def forward(self, x, y):
        mean, spread = self.stored_mean[:, None, None], (self.stored_var + 1e-5).sqrt()[:, None, None]
        return (x - mean) / spread * (1 + self.gain(y))[..., None, None] + self.bias(y)[..., None, None]


class ClassedUp(nn.Module):
    def __init__(self, inputs, outputs, both, z_dim, queue):
        super().__init__()
        self.both = both
        first, second = ("conv1", "bn1") if both else ("conv", "bn")
        setattr(self, first, convolution(inputs, 2 * outputs, 3, padding=1))
        if both:
            self.conv2 = convolution(outputs, 2 * outputs, 3, padding=1)
        setattr(self, second, ByClass(2 * outputs, z_dim))
        if both:
            self.bn2 = ByClass(2 * outputs, z_dim)
            self.noise = Dust(queue)
        self.act = Gate()

    def forward(self, x, y):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        if not self.both:
            return self.act(self.bn(self.conv(x), y))
        x = self.act(self.bn1(self.noise(self.conv1(x)), y))
        return self.act(self.bn2(self.noise(self.conv2(x)), y))


def convolution(*sizes, bias=False, **rest):
    return spectral_norm(nn.Conv2d(*sizes, bias=bias, **rest))


def up(inputs, outputs, both, queue):
    parts = [nn.Upsample(scale_factor=2, mode="nearest"), convolution(inputs, 2 * outputs, 3, padding=1)]
    if both:
        parts += [Dust(queue), nn.BatchNorm2d(2 * outputs), Gate(), convolution(outputs, 2 * outputs, 3, padding=1)]
        parts += [Dust(queue)]
    return nn.Sequential(*parts, nn.BatchNorm2d(2 * outputs), Gate())


class Squeeze(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), convolution(inputs, outputs, 4), nn.SiLU(), convolution(outputs, outputs, 1),
            nn.Sigmoid(),
        )  # fmt: skip


class First(nn.Module):
    def __init__(self, z_dim, outputs):
        super().__init__()
        first = spectral_norm(nn.ConvTranspose2d(z_dim, 2 * outputs, 4, bias=False))
        self.init = nn.Sequential(first, nn.BatchNorm2d(2 * outputs), Gate())


class FastGAN(nn.Module):
    """`projected` None: FastGAN's own; else the set of sizes with two convolutions in Projected GAN's."""

    def __init__(self, size, z_dim, ngf, *, projected=None, classes=0, embeddings=0):
        super().__init__()
        width = {key: int(value * ngf) for key, value in MULTIPLES.items()}
        self.size, self.projected, self.queue = size, projected, []
        self.init = First(z_dim, width[4])
        both = {8, 32, 128, 512} if projected is None else projected
        built = [one for one in MULTIPLES if 4 < one <= max(size, 256)]
        for one in built:
            if classes:
                block = ClassedUp(width[one // 2], width[one], one in both, z_dim, self.queue)
            else:
                block = up(width[one // 2], width[one], one in both, self.queue)
            setattr(self, f"feat_{one}", block)
        for coarse, fine in SKIPS:
            if fine in built:
                setattr(self, f"se_{fine}", Squeeze(width[coarse], width[fine]))
        if projected is None:
            self.to_128 = convolution(width[128], 3, 1)
        self.to_big = convolution(width[size], 3, 3, padding=1, bias=projected is not None)
        if classes:
            self.embed = nn.Embedding(embeddings, z_dim)
        self.apply(liven)
        with torch.no_grad():
            count = 8 if size <= 256 else 3
            self(torch.randn(count, z_dim), torch.arange(count) % embeddings if classes else None)
        self.eval()

    def forward(self, z, label=None, noise=()):
        self.queue.extend(noise)
        y = () if label is None else (self.embed(label),)
        if self.projected is not None:
            z = z / (z.pow(2).mean(1, keepdim=True) + 1e-8).sqrt()
        known = {4: self.init.init(z[..., None, None])}
        for one in [one for one in MULTIPLES if 4 < one <= self.size]:
            x = getattr(self, f"feat_{one}")(known[one // 2], *y)
            for coarse, fine in SKIPS:
                if fine == one:
                    x = x * getattr(self, f"se_{one}").main(known[coarse])
            known[one] = x
        picture = self.to_big(known[self.size])
        return picture.tanh() if self.size == 1024 and self.projected is None else picture


def liven(module):
    """Weights as if something had been learned, and singular vectors that have settled."""
    if isinstance(module, nn.BatchNorm2d):
        module.weight.data.normal_(1, 0.2)
        module.bias.data.normal_(0, 0.2)
        module.momentum = 1.0
    if hasattr(module, "weight_orig"):
        module.weight_orig.data.mul_(3)
        with torch.no_grad():
            for hook in module._forward_pre_hooks.values():
                for _ in range(3):
                    hook.compute_weight(module, do_power_iteration=True)


def checkpoint(network, *, averaged=False, parallel=True):
    """The authors' `.pth`: `averaged` adds the moving average as the bare list that `all_*.pth` files hold."""
    prefix = "module." if parallel else ""
    state = collections.OrderedDict((f"{prefix}{key}", value) for key, value in network.state_dict().items())
    saved = {"g": state, "d": collections.OrderedDict({"module.down_from_big.0.weight_orig": torch.zeros(1)})}
    if averaged:
        saved["g_ema"] = [parameter.data * 0.9 for parameter in network.parameters()]
        saved["opt_g"] = {"state": {}, "param_groups": []}
    return saved


def pickled(network, **attributes):
    """Projected GAN's pickle: plain classes of modules that nobody here has, whole networks, a little beside them."""
    blocks, networks = types.ModuleType("pg_modules.blocks"), types.ModuleType("pg_modules.networks_fastgan")
    homes = dict.fromkeys((Gate, Dust, ByClass, ClassedUp, Squeeze, First), blocks)
    homes |= dict.fromkeys((FastGAN, Generator), networks)
    generator = Generator(network, **attributes)
    for kind, home in homes.items():
        kind.__module__ = home.__name__
        setattr(home, kind.__name__, kind)
    sys.modules |= {"pg_modules": types.ModuleType("pg_modules"), blocks.__name__: blocks, networks.__name__: networks}
    try:
        progress = {"cur_nimg": torch.tensor(64000), "best_fid": 9999}
        return pickle.dumps({"G": generator, "D": None, "G_ema": generator, "progress": progress})
    finally:
        for kind in homes:
            kind.__module__ = __name__
        for name in ("pg_modules", blocks.__name__, networks.__name__):
            del sys.modules[name]


class Generator(nn.Module):
    """What Projected GAN wraps around the synthesis."""

    def __init__(self, network, **attributes):
        super().__init__()
        self.mapping = nn.Module()
        self.synthesis = network
        for name, value in attributes.items():
            setattr(self, name, value)
