"""lightweight-gan networks and files laid out as their author saves them, from random weights, to compare ours with."""

import collections
import math

import torch
import torch.nn.functional as F
from torch import nn

EXCITED = {3: 7, 4: 8, 5: 9, 6: 10}


class Shuffled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.SiLU(), nn.PixelShuffle(2))

    def forward(self, x):
        return self.net(x)


class Smooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("f", torch.tensor([1.0, 2.0, 1.0]))

    def forward(self, x):
        kernel = torch.outer(self.f, self.f) / 16
        width = x.shape[1]
        return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), kernel.repeat(width, 1, 1, 1), groups=width)


class Dust(nn.Module):
    def __init__(self, queue):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1) * 0.1)
        self.queue = queue

    def forward(self, x):
        return x + self.weight * self.queue.popleft() if self.queue else x


class Context(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.to_k = nn.Conv2d(inputs, 1, 1)
        between = max(3, outputs // 2)
        self.net = nn.Sequential(
            nn.Conv2d(inputs, between, 1), nn.LeakyReLU(0.1), nn.Conv2d(between, outputs, 1), nn.Sigmoid()
        )

    def forward(self, x):
        weights = self.to_k(x).flatten(1).softmax(-1)
        return self.net((x.flatten(2) * weights[:, None]).sum(-1)[..., None, None])


class Frequencies(nn.Module):
    def __init__(self, inputs, outputs, width):
        super().__init__()
        weights = torch.zeros(1, inputs, width, width)
        pairs = [(0, wave) for wave in range(8)] + [(wave, 0) for wave in range(8)]
        share = inputs // 16
        for group, pair in enumerate(pairs):
            for x in range(width):
                for y in range(width):
                    value = 1.0
                    for place, wave in zip((x, y), pair, strict=True):
                        value *= math.cos(math.pi * wave * (place + 0.5) / width) / math.sqrt(width)
                        value *= math.sqrt(2) if wave else 1
                    weights[0, group * share : (group + 1) * share, x, y] = value
        self.register_buffer("dct_weights", weights)
        between = max(3, outputs // 4)
        self.net = nn.Sequential(
            nn.Conv2d(inputs, between, 1), nn.LeakyReLU(0.1), nn.Conv2d(between, outputs, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return self.net((x * self.dct_weights).sum((2, 3))[..., None, None])


class Separable(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        first = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.net = nn.Sequential(first, nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x):
        return self.net(x)


class Attends(nn.Module):
    """Written place by place, head by head."""

    def __init__(self, width, nearby):
        super().__init__()
        self.nearby = nearby
        if nearby:
            self.to_lin_q = nn.Conv2d(width, 512, 1, bias=False)
            self.to_lin_kv = Separable(width, 1024)
            self.to_q = nn.Conv2d(width, 512, 1, bias=False)
            self.to_kv = nn.Conv2d(width, 1024, 1, bias=False)
        else:
            self.to_q = nn.Conv2d(width, 512, 1, bias=False)
            self.to_kv = Separable(width, 1024)
        self.to_out = nn.Conv2d(1024 if nearby else 512, width, 1)

    def forward(self, x):
        wide = (self.to_lin_q, self.to_lin_kv) if self.nearby else (self.to_q, self.to_kv)
        parts = [F.gelu(self.all_places(wide[0](x), wide[1](x)))]
        if self.nearby:
            parts.append(self.nine_places(self.to_q(x), self.to_kv(x)))
        return self.to_out(torch.cat(parts, 1))

    @staticmethod
    def all_places(q, kv):
        k, v = kv[:, :512], kv[:, 512:]
        out = torch.zeros_like(q)
        for head in range(8):
            rows = slice(64 * head, 64 * head + 64)
            query = q[:, rows].softmax(1) / 8
            key = k[:, rows].flatten(2).softmax(2)
            context = torch.einsum("bdn,ben->bde", key, v[:, rows].flatten(2))
            out[:, rows] = torch.einsum("bdxy,bde->bexy", query, context)
        return out

    @staticmethod
    def nine_places(q, kv):
        size = q.shape[-1]
        padded = F.pad(kv, [1] * 4)
        views = [padded[..., top : top + size, left : left + size] for top in range(3) for left in range(3)]
        out = torch.zeros_like(q)
        for head in range(8):
            rows, others = slice(64 * head, 64 * head + 64), slice(512 + 64 * head, 576 + 64 * head)
            likeness = torch.stack([(q[:, rows] / 8 * view[:, rows]).sum(1) for view in views], 1).softmax(1)
            out[:, rows] = sum(likeness[:, place, None] * view[:, others] for place, view in enumerate(views))
        return out


class Before(nn.Module):
    def __init__(self, width, fn):
        super().__init__()
        self.fn = fn
        self.norm = nn.Module()
        self.norm.g = nn.Parameter(torch.randn(1, width, 1, 1))
        self.norm.b = nn.Parameter(torch.randn(1, width, 1, 1))

    def forward(self, x):
        x = F.layer_norm(x.movedim(1, -1), x.shape[1:2], eps=1e-5).movedim(-1, 1)
        return self.fn(x * self.norm.g + self.norm.b)


class LightweightGAN(nn.Module):
    def __init__(
        self, size, latent, *, fmap_max=32, coef=9, channels=3, later=True, antialias=False, attention=(),
        nearby=True, frequencies=False,
    ):  # fmt: skip
        super().__init__()
        self.power, self.queue = int(math.log2(size)), collections.deque()
        widths = [latent, *(min(2 ** (coef - n), fmap_max) if n < 8 else 3 for n in range(2, self.power))]
        self.initial_conv = nn.Sequential(
            nn.ConvTranspose2d(latent, 2 * latent, 4), nn.BatchNorm2d(2 * latent), nn.GLU(1)
        )
        self.layers = nn.ModuleList()
        for n in range(2, self.power):
            inputs, outputs = widths[n - 2 : n]
            soft = Smooth() if antialias else nn.Identity()
            if later:
                same = nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(inputs, 2 * outputs, 4))
                parts = [Shuffled(inputs), soft, same, Dust(self.queue)]
            else:
                parts = [nn.Upsample(scale_factor=2), soft, nn.Conv2d(inputs, 2 * outputs, 3, padding=1)]
            excite = None
            if EXCITED.get(n, 99) <= self.power:
                goal = widths[EXCITED[n] - 2]
                excite = Frequencies(outputs, goal, 2 ** (n + 1)) if frequencies else Context(outputs, goal)
            attend = Before(inputs, Attends(inputs, nearby)) if 2**n in attention else None
            up = nn.Sequential(*parts, nn.BatchNorm2d(2 * outputs), nn.GLU(1))
            self.layers.append(nn.ModuleList([up, excite, attend]))
        self.out_conv = nn.Conv2d(widths[-1], channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            self(torch.randn(16 if size <= 128 else 4, latent))
        self.eval()

    def forward(self, z, noise=()):
        self.queue.extend(noise)
        x = self.initial_conv(z[..., None, None])
        x = x / x.norm(dim=1, keepdim=True)
        waiting = {}
        for n, (up, excite, attend) in enumerate(self.layers, 2):
            if attend is not None:
                x = attend(x) + x
            x = up(x)
            if excite is not None:
                waiting[EXCITED[n]] = excite(x)
            if n + 1 in waiting:
                x = x * waiting[n + 1]
        return self.out_conv(x)


def checkpoint(averaged, latest):
    """The author's `model_{n}.pt`: everything in one state dict, the discriminator twice."""
    state = collections.OrderedDict()
    for prefix, network in (("G.", latest), ("GE.", averaged)):
        state.update({f"{prefix}{key}": value for key, value in network.state_dict().items()})
    for prefix in ("D.", "D_aug.D."):
        state[f"{prefix}residual_layers.0.0.branches.0.1.weight"] = torch.zeros(2, 2, 1, 1)
    return {"GAN": state, "version": "1.1.1", "G_scaler": {"scale": 65536.0}, "D_scaler": {"scale": 65536.0}}
