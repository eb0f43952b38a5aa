"""Networks and files of stylegan2-pytorch, laid out as their author saves them, from random weights."""

import collections

import torch
import torch.nn.functional as F
from making_lightweight import Attends, Before, Smooth
from torch import nn


class Rated(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width) * 22 / width**0.5)
        self.bias = nn.Parameter(torch.randn(width))
        self.rate = rate

    def forward(self, x):
        return x @ (self.rate * self.weight).T + self.rate * self.bias


class Vectorizer(nn.Module):
    def __init__(self, width, depth, rate):
        super().__init__()
        self.net = nn.Sequential(*(part for _ in range(depth) for part in (Rated(width, rate), nn.LeakyReLU(0.2))))

    def forward(self, z):
        return self.net(z / z.norm(dim=1, keepdim=True))


class Modulated(nn.Module):
    """One picture at a time, with weights of its own."""

    def __init__(self, inputs, outputs, size, demodulate=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size) / inputs**0.5)
        self.demodulate = demodulate

    def forward(self, x, style):
        pictures = []
        for one, scales in zip(x, style, strict=True):
            weight = self.weight * (scales + 1)[None, :, None, None]
            if self.demodulate:
                weight = weight / (weight.pow(2).sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            pictures.append(F.conv2d(one[None], weight, padding=weight.shape[-1] // 2))
        return torch.cat(pictures)


class Coloured(nn.Module):
    def __init__(self, latent, inputs, channels, doubled, soft):
        super().__init__()
        self.to_style = nn.Linear(latent, inputs)
        self.conv = Modulated(inputs, channels, 1, demodulate=False)
        parts = (
            [nn.Upsample(scale_factor=2, mode="bilinear"), Smooth()]
            if soft
            else [nn.Upsample(scale_factor=2, mode="bilinear")]
        )
        self.upsample = nn.Sequential(*parts) if doubled else None

    def forward(self, x, before, style):
        picture = self.conv(x, self.to_style(style))
        picture = picture if before is None else picture + before
        return picture if self.upsample is None else self.upsample(picture)


class Block(nn.Module):
    def __init__(self, latent, inputs, outputs, channels, first, last, soft):
        super().__init__()
        self.up = None if first else nn.Upsample(scale_factor=2, mode="bilinear")
        self.to_style1, self.to_noise1 = nn.Linear(latent, inputs), nn.Linear(1, outputs)
        self.conv1 = Modulated(inputs, outputs, 3)
        self.to_style2, self.to_noise2 = nn.Linear(latent, outputs), nn.Linear(1, outputs)
        self.conv2 = Modulated(outputs, outputs, 3)
        self.to_rgb = Coloured(latent, outputs, channels, not last, soft)

    def forward(self, x, before, style, noise):
        x = x if self.up is None else self.up(x)
        grain = noise[:, : x.shape[2], : x.shape[3]]
        x = F.leaky_relu(self.conv1(x, self.to_style1(style)) + self.to_noise1(grain).permute(0, 3, 2, 1), 0.2)
        x = F.leaky_relu(self.conv2(x, self.to_style2(style)) + self.to_noise2(grain).permute(0, 3, 2, 1), 0.2)
        return x, self.to_rgb(x, before, style)


class Around(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return x + self.fn(x)


class Generator(nn.Module):
    def __init__(self, size, latent, capacity, *, most=512, channels=3, const=True, attention=(), soft=True):
        super().__init__()
        count = size.bit_length() - 2
        widths = [min(most, capacity * 2 ** (power + 1)) for power in range(count)][::-1]
        if const:
            self.initial_block = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        else:
            self.to_initial_block = nn.ConvTranspose2d(latent, widths[0], 4, bias=False)
        self.initial_conv = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.blocks, self.attns = nn.ModuleList(), nn.ModuleList()
        for place, (inputs, outputs) in enumerate(zip([widths[0], *widths], widths, strict=False)):
            mixing = [nn.Conv2d(inputs, 2 * inputs, 1), nn.LeakyReLU(0.2), nn.Conv2d(2 * inputs, inputs, 1)]
            both = [Before(inputs, Attends(inputs, False)), Before(inputs, nn.Sequential(*mixing))]
            self.attns.append(nn.Sequential(*map(Around, both)) if place in attention else None)
            self.blocks.append(Block(latent, inputs, outputs, channels, place == 0, place == count - 1, soft))

    def forward(self, styles, noise):
        """styles [n, blocks, latent], noise [n, size, size, 1] from 0 to 1."""
        if hasattr(self, "initial_block"):
            x = self.initial_block.expand(len(styles), -1, -1, -1)
        else:
            x = self.to_initial_block(styles.mean(1)[..., None, None])
        x, picture = self.initial_conv(x), None
        for style, block, attend in zip(styles.unbind(1), self.blocks, self.attns, strict=True):
            x, picture = block(x if attend is None else attend(x), picture, style, noise)
        return picture


def checkpoint(mapping, generator, others):
    """The author's `model_{n}.pt`: averages under SE and GE, the latest under S and G, the discriminator twice."""
    state = collections.OrderedDict()
    for prefix, network in (("S.", others[0]), ("G.", others[1]), ("SE.", mapping), ("GE.", generator)):
        state.update({f"{prefix}{key}": value for key, value in network.state_dict().items()})
    for prefix in ("D.", "D_aug.D."):
        state[f"{prefix}blocks.0.conv_res.weight"] = torch.zeros(2, 3, 1, 1)
        state[f"{prefix}attn_blocks.0.0.fn.norm.g"] = torch.zeros(1, 2, 1, 1)
        state[f"{prefix}quantize_blocks.0.fn._codebook.embed"] = torch.zeros(2, 4)
    return {"GAN": state, "version": "1.8.9"}
