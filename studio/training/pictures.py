"""The pictures of a training step, real and made, with their labels, and how they are varied before the critic sees them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from studio.families.base import Generator, Noise, Seeing
from studio.features.fitting import coloured, fitted
from studio.ops import augment, seeds
from studio.ops.images import blur, from_uint8
from studio.training.bench import Bench
from studio.training.state import TrainState

W_AVERAGE_KEPT = 0.995
WITH_ALPHA = 4
CLOSER_SHARE = 0.5
LEAST_BLUR_PX = 0.34
"""A Gaussian this narrow reaches no other pixel."""


def make_pictures(
    bench: Bench, state: TrainState, purpose: str, count: int, label: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """G's pictures [count, c, h, w] of random latents, with their styles and labels; `label` None draws labels."""
    generator = cast(Generator, state.generator)
    random = bench.stream(state, purpose)
    z = [bench.here(latents) for latents in random_latents(bench, generator.z_dim, count, random)]
    label = random_labels(bench, generator.classes, count, random) if label is None else label
    styles = generator.map(z[0], label)
    if purpose == "generator" and hasattr(generator, "track_w_average"):
        generator.track_w_average(styles[:, 0], W_AVERAGE_KEPT)
    styles = mix_styles(bench, generator, styles, z[1], label, random)
    return generator.synthesize(styles, random_noise(bench, generator.noise_sizes, count, random)), styles, label


def random_latents(bench: Bench, z_dim: int, count: int, random: torch.Generator) -> Tensor:
    """Two latents for each picture, the second one for style mixing: [2, count, z_dim].

    Both have the same codes, so that a picture of mixed styles still shows what they say."""
    share, codes = bench.world.share, bench.config.codes
    drawn = torch.randn(2, count * share.size, z_dim, generator=random)
    drawn[1, :, :codes] = drawn[0, :, :codes]
    return torch.stack([share.of(latents) for latents in drawn])


def codes_of(bench: Bench, state: TrainState, purpose: str, count: int) -> Tensor:
    """The codes [count, info_codes] of the pictures that `make_pictures` makes for the same purpose, drawn once more."""
    z_dim = cast(Generator, state.generator).z_dim
    latents = random_latents(bench, z_dim, count, bench.stream(state, purpose))
    return bench.here(latents[0, :, : bench.config.codes])


def mix_styles(
    bench: Bench, generator: Generator, styles: Tensor, z: Tensor, label: Tensor | None, random: torch.Generator
) -> Tensor:
    """With probability `style_mixing`, all styles from one random layer on come from the latents `z` [n, z_dim]."""
    if generator.num_styles < 2 or float(torch.rand([], generator=random)) >= bench.config.style_mixing:
        return styles
    cutoff = int(torch.randint(1, generator.num_styles, [], generator=random))
    return torch.cat([styles[:, :cutoff], generator.map(z, label)[:, cutoff:]], dim=1)


def random_noise(bench: Bench, sizes: tuple[int, ...], count: int, random: torch.Generator) -> Noise | None:
    """Fresh noise [count, 1, r, r] for each size, drawn on the device itself: it is the bulk of all random numbers."""
    if not sizes:
        return None
    local = local_stream(bench, random)
    share, device = bench.world.share, bench.device
    return tuple(share.draw(torch.randn, (count, 1, size, size), local, device=device) for size in sizes)


def local_stream(bench: Bench, random: torch.Generator) -> torch.Generator:
    """A random generator on the device, seeded by one on the CPU."""
    return torch.Generator(bench.device).manual_seed(int(torch.randint(2**62, [], generator=random)))


def random_labels(bench: Bench, classes: int, count: int, random: torch.Generator) -> Tensor | None:
    """One-hot labels [count, classes] as frequent as in the dataset, or evenly if it has none; None without classes."""
    if not classes:
        return None
    if bench.classless:
        return bench.here(_one_hot(random_numbers(bench, classes, count, random), classes))
    places = random_numbers(bench, bench.count, count, random).tolist()
    return bench.here(_one_hot(bench.batch(places)[1], classes))


def random_numbers(bench: Bench, choices: int, count: int, random: torch.Generator) -> Tensor:
    """Whole numbers [count] in 0 … choices - 1."""
    share = bench.world.share
    return share.of(torch.randint(choices, [count * share.size], generator=random))


def _one_hot(numbers: Tensor, classes: int) -> Tensor:
    return nn.functional.one_hot(numbers.long(), classes).float()


def real_pictures(bench: Bench, state: TrainState, turn: int) -> tuple[Tensor, Tensor | None]:
    """The next pictures [n, c, h, w] of the dataset in [-1, 1], and their labels."""
    share, first, after = bench.world.share, state.images, state.images + state.batch
    pixels, numbers = bench.feed.take(
        [place_in_order(bench, number) for number in range(first + share.rank, after, share.size)],
        [place_in_order(bench, number) for number in range(after + share.rank, after + state.batch, share.size)],
    )
    generator = cast(Generator, state.generator)
    pictures = shrunk(recoloured(from_uint8(bench.here(pixels)), generator.channels), generator.resolution)
    if bench.config.mirror:
        turned = share.draw(torch.rand, (len(pictures),), bench.stream(state, f"mirror {turn}")) < 0.5
        pictures = torch.where(bench.here(turned)[:, None, None, None], pictures.flip(3), pictures)
    if generator.classes and bench.classless:
        return pictures, random_labels(bench, generator.classes, len(pictures), bench.stream(state, f"labels {turn}"))
    return pictures, bench.here(_one_hot(numbers, generator.classes)) if generator.classes else None


def recoloured(pictures: Tensor, channels: int) -> Tensor:
    """Pictures [n, c, h, w] in the colours of the networks: grey becomes equal red, green and blue, what has no
    transparency is opaque, and what has it lies on white where the networks know none. c is 1, 3 or 4; `channels` is
    not 1 unless c is."""
    if pictures.shape[1] == channels:
        return pictures
    pictures = coloured(pictures)
    return torch.cat([pictures, torch.ones_like(pictures[:, :1])], dim=1) if channels == 4 else pictures


def shrunk(pictures: Tensor, resolution: int) -> Tensor:
    """Pictures [n, c, h, h] at the resolution of the networks, by averaging whole squares of pixels where they fit."""
    factor, rest = divmod(pictures.shape[-1], resolution)
    if rest:
        return fitted(pictures, resolution)
    return pictures if factor <= 1 else nn.functional.avg_pool2d(pictures, factor)


def place_in_order(bench: Bench, number: int) -> int:
    """The place in the dataset of the `number`-th picture shown; each epoch has a random order of its own."""
    epoch, position = divmod(number, bench.count)
    if epoch not in bench.orders:
        for old in [known for known in bench.orders if known < epoch - 1]:
            del bench.orders[old]
        random = seeds.stream(bench.config.seed, epoch, "order")
        bench.orders[epoch] = torch.randperm(bench.count, generator=random).tolist()
    return bench.orders[epoch][position]


def varied(bench: Bench, state: TrainState, pictures: Tensor, purpose: str) -> Tensor:
    """Pictures as the critic sees them: augmented, and at the start of a run blurred or under noise."""
    random = bench.stream(state, f"augment {purpose}")
    if pictures.shape[1] == WITH_ALPHA and isinstance(state.discriminator, Seeing):
        pictures = grounded(bench, state, pictures, purpose)
    pictures = looked_closer(bench, state, blurred(bench, state, pictures), purpose)
    if bench.config.augment == "diffaugment":
        pictures = augment.diffaugment(pictures, random, share=bench.world.share)
    elif bench.config.augment == "ada" and state.augment_p > 0:
        with bench.exact():
            pictures = augment.ada(pictures.float(), state.augment_p, random, share=bench.world.share)
    return under_noise(bench, state, pictures, purpose)


def grounded(bench: Bench, state: TrainState, pictures: Tensor, purpose: str) -> Tensor:
    """Pictures [n, 4, h, w] on grounds of random brightness, [n, 3, h, w], for a critic that knows no transparency: only
    what is see-through looks right on all of them."""
    drawn = bench.world.share.draw(torch.rand, (len(pictures), 1, 1, 1), bench.stream(state, f"ground {purpose}"))
    opaque = (pictures[:, 3:] + 1) / 2
    return pictures[:, :3] * opaque + (2 * bench.here(drawn) - 1) * (1 - opaque)


def looked_closer(bench: Bench, state: TrainState, pictures: Tensor, purpose: str) -> Tensor:
    """About every second picture as a quarter of itself, from anywhere in it, twice as large: so a critic that sees best what
    is larger than a pixel or two sees how surfaces are made."""
    if not bench.config.closer:
        return pictures
    drawn = bench.world.share.draw(torch.rand, (len(pictures), 3), bench.stream(state, f"closer {purpose}"))
    side = pictures.shape[-1] // 2
    chosen = [row for row, share in enumerate(drawn[:, 2].tolist()) if share < CLOSER_SHARE]
    if not chosen:
        return pictures
    corners = (drawn[chosen, :2] * (side + 1)).long().tolist()
    quarters = [pictures[row, :, y : y + side, x : x + side] for row, (y, x) in zip(chosen, corners, strict=True)]
    seen = pictures.clone()
    seen[chosen] = fitted(torch.stack(quarters), 2 * side)
    return seen


def blurred(bench: Bench, state: TrainState, pictures: Tensor) -> Tensor:
    """Pictures without their details (Sauer et al. 2021, in their code): a Gaussian whose width fades linearly over the
    first `blur_kimg` thousand pictures, which only the state decides."""
    sigma = bench.config.blur_px * (1 - state.kimg / bench.config.blur_kimg)
    if sigma < LEAST_BLUR_PX:
        return pictures
    return blur(pictures, sigma)


def under_noise(bench: Bench, state: TrainState, pictures: Tensor, purpose: str) -> Tensor:
    """Instance noise (Sønderby et al. 2016): what is real and what is made overlap, so that D has a slope everywhere.

    It fades linearly over the first `instance_noise_kimg` thousand pictures, which only the state decides."""
    fade = 1 - state.kimg / bench.config.instance_noise_kimg
    if not bench.config.instance_noise or fade <= 0:
        return pictures
    local = local_stream(bench, bench.stream(state, f"instance noise {purpose}"))
    noise = bench.world.share.draw(torch.randn, pictures.shape, local, device=bench.device)
    return pictures + noise * (bench.config.instance_noise * fade)
