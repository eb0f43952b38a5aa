"""Plain convolutional and fully connected generators as people have written them, with files as their programs save them.

Every network here is plain torch with a forward of its own: nothing of the studio's. Weights are random but lively, and
batch statistics are not those of a fresh network, so that a wrong reading shows.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


class Named(nn.Module):
    """A network under one attribute name; its forward takes flat latents and, for some, class numbers."""

    def __init__(self, name: str, network: nn.Module, *, flat: bool = False) -> None:
        super().__init__()
        self.attribute, self.flat = name, flat
        weight = next(network.parameters())
        self.z_dim = weight.shape[1] if flat else weight.shape[0]
        setattr(self, name, network)

    def forward(self, z: Tensor) -> Tensor:
        return getattr(self, self.attribute)(z if self.flat else z[:, :, None, None])


def example(
    resolution: int = 64, z: int = 100, width: int = 64, channels: int = 3, *, name: str = "main", bias: bool = False,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d, activation: Callable[[], nn.Module] = nn.ReLU,
    output: Callable[[], nn.Module] = nn.Tanh, nested: bool = False,
) -> Named:  # fmt: skip
    """The generator of PyTorch's DCGAN example, at any size, and what people make of it."""
    levels = resolution.bit_length() - 3
    widths = [width * min(2**level, 8) for level in reversed(range(levels))]
    parts: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise([z, *widths]):
        window = (4, 2, 1) if parts else (4, 1, 0)
        block: list[nn.Module] = [nn.ConvTranspose2d(inputs, outputs, *window, bias=bias)]
        block += ([norm(outputs)] if norm else []) + [activation()]
        parts += [nn.Sequential(*block)] if nested else block
    parts += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=bias), output()]
    return Named(name, nn.Sequential(*parts))


def example_critic(resolution: int = 64, width: int = 64, channels: int = 3) -> nn.Module:
    """The discriminator of PyTorch's DCGAN example."""
    levels = resolution.bit_length() - 3
    widths = [width * min(2**level, 8) for level in range(levels)]
    parts: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for inputs, outputs in itertools.pairwise(widths):
        parts += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    parts += [nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Sigmoid()]
    return Named("main", nn.Sequential(*parts))


class Upsampling(nn.Module):
    """A linear layer, then enlarge and convolve, as the PyTorch-GAN collection has it; with classes as its ACGAN."""

    def __init__(self, size: int = 32, z: int = 20, channels: int = 3, classes: int = 0, width: int = 16) -> None:
        super().__init__()
        if classes:
            self.label_emb = nn.Embedding(classes, z)
        self.z_dim, self.start, self.width = z, size // 4, width
        self.l1 = nn.Sequential(nn.Linear(z, width * self.start**2))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, stride=1, padding=1),
            nn.BatchNorm2d(width, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width // 2, 3, stride=1, padding=1),
            nn.BatchNorm2d(width // 2, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width // 2, channels, 3, stride=1, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        entering = z if label is None else self.label_emb(label) * z
        return self.conv_blocks(self.l1(entering).view(-1, self.width, self.start, self.start))


class FullyConnected(nn.Module):
    """PyTorch-GAN's first GAN; with classes its CGAN, where the embedded label comes before the latent."""

    def __init__(self, side: int = 28, z: int = 20, channels: int = 1, classes: int = 0, *, label_last: bool = False):
        super().__init__()
        if classes:
            self.label_emb = nn.Embedding(classes, classes)
        self.z_dim, self.shape, self.label_last = z, (channels, side, side), label_last

        def block(inputs: int, outputs: int, normalised: bool = True) -> list[nn.Module]:
            norm = [nn.BatchNorm1d(outputs, 0.8)] if normalised else []
            return [nn.Linear(inputs, outputs), *norm, nn.LeakyReLU(0.2, inplace=True)]

        self.model = nn.Sequential(
            *block(z + classes, 32, normalised=False), *block(32, 64), *block(64, 128),
            nn.Linear(128, channels * side**2), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        if label is not None:
            both = [z, self.label_emb(label)] if self.label_last else [self.label_emb(label), z]
            z = torch.cat(both, dim=-1)
        return self.model(z).view(-1, *self.shape)


def plain_mlp(
    widths: Sequence[int] = (16, 64, 64, 784), *, name: str = "model", activation: Callable[[], nn.Module] = nn.ReLU,
    output: Callable[[], nn.Module] = nn.Tanh, norm: Callable[[int], nn.Module] | None = None, channels: int = 1,
) -> nn.Module:  # fmt: skip
    """A stack of linear layers, as in many a first GAN."""
    parts: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths[:-1]):
        parts += [nn.Linear(inputs, outputs), *([norm(outputs)] if norm else []), activation()]
    side = round((widths[-1] / channels) ** 0.5)
    parts += [nn.Linear(widths[-2], widths[-1]), output(), nn.Unflatten(1, (channels, side, side))]
    return Named(name, nn.Sequential(*parts), flat=True)


class Attributes(nn.Module):
    """Layers as attributes and activations as functions: no numbering tells anything."""

    def __init__(self, z: int = 24, width: int = 8, start: int = 4) -> None:
        super().__init__()
        self.z_dim, self.width, self.start = z, width, start
        self.fc = nn.Linear(z, 4 * width * start**2)
        self.bn_fc = nn.BatchNorm1d(4 * width * start**2)
        self.deconv1 = nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1)
        self.bn1 = nn.BatchNorm2d(2 * width)
        self.deconv2 = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.deconv3 = nn.ConvTranspose2d(width, 3, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = torch.relu(self.bn_fc(self.fc(z))).view(-1, 4 * self.width, self.start, self.start)
        x = torch.relu(self.bn1(self.deconv1(x)))
        return torch.tanh(self.deconv3(torch.relu(self.bn2(self.deconv2(x)))))


class Stacked(nn.Module):
    """A linear layer that makes small pictures, then any convolutional stack."""

    def __init__(self, z: int, width: int, start: int, body: nn.Module, *, after: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.z_dim, self.width, self.start = z, width, start
        self.project = nn.Sequential(nn.Linear(z, width * start**2), *after)
        self.body = body

    def forward(self, z: Tensor) -> Tensor:
        return self.body(self.project(z).view(-1, self.width, self.start, self.start))


def course_blocks(kernels: Sequence[int], strides: Sequence[int], z: int = 16, channels: int = 1) -> nn.Module:
    """Blocks of transposed convolutions without padding, as an online course teaches them; the last one ends in tanh."""
    widths = [z, *(8 * 2**level for level in reversed(range(len(kernels) - 1))), channels]
    blocks = []
    for number, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
        total = nn.ConvTranspose2d(widths[number], widths[number + 1], kernel, stride)
        last = number == len(kernels) - 1
        rest = [nn.Tanh()] if last else [nn.BatchNorm2d(widths[number + 1]), nn.ReLU(inplace=True)]
        blocks.append(nn.Sequential(total, *rest))
    return Named("gen", nn.Sequential(*blocks))


def enlivened(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights of a useful size and statistics as training would have left them; in eval mode."""
    randomness = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0, generator=randomness)
            elif name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.3, generator=randomness)
            elif value.ndim == 1 and value.is_floating_point() and name.endswith("weight"):
                value.normal_(1, 0.2, generator=randomness)
            elif value.ndim in (2, 4):
                value.normal_(
                    0, 1.4 / (value[0].numel() if value.ndim == 2 else value.shape[1] * 4) ** 0.5, generator=randomness
                )
    _calibrate(network, randomness)
    return network.eval()


def _calibrate(network: nn.Module, randomness: torch.Generator) -> None:
    """Let the batch normalisations learn what they meet, as in training."""
    norms = [module for module in network.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        for _ in range(8 if norms else 0):
            z = torch.randn(32, network.z_dim, generator=randomness)
            if hasattr(network, "label_emb"):
                network(z, torch.randint(0, network.label_emb.num_embeddings, (32,), generator=randomness))
            else:
                network(z)


def pictures(network: nn.Module, z: Tensor, label: Tensor | None = None) -> Tensor:
    """What the network itself makes of flat latents."""
    with torch.no_grad():
        return network(z) if label is None else network(z, label)


def write_dcgan(path: Path, resolution: int = 32, width: int = 8, z: int = 16, channels: int = 3) -> nn.Module:
    """A bare state dict as PyTorch's DCGAN example saves it. Returns the network."""
    network = enlivened(example(resolution, z, width, channels))
    torch.save(network.state_dict(), path)
    return network


def write_huggan(folder: Path, resolution: int = 32, width: int = 8, z: int = 16) -> nn.Module:
    """A folder of the Hub with pytorch_model.bin and config.json. Returns the network."""
    folder.mkdir(parents=True, exist_ok=True)
    network = enlivened(example(resolution, z, width, name="model"))
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"num_channels": 3, "latent_dim": z, "hidden_size": width}))
    return network


def write_upsampling(path: Path, size: int = 32, classes: int = 0) -> nn.Module:
    """A state dict as users of PyTorch-GAN's DCGAN (or, with classes, ACGAN) save it. Returns the network."""
    network = enlivened(Upsampling(size, classes=classes))
    torch.save(network.state_dict(), path)
    return network


def write_mlp(path: Path, side: int = 28, classes: int = 0) -> nn.Module:
    """A state dict as users of PyTorch-GAN's GAN (or, with classes, CGAN) save it. Returns the network."""
    network = enlivened(FullyConnected(side, classes=classes))
    torch.save(network.state_dict(), path)
    return network
