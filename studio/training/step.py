"""One training step, from the papers: G, lazy path length, D, lazy R1, ADA, the moving average.

Every random number comes from `seeds.stream(seed, step, purpose)`: the same step draws the same numbers whatever
happened before, so a resumed run needs no saved random state and goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from studio.errors import StudioError
from studio.families.base import Generator, Noise
from studio.ops import augment, ema, penalties, seeds
from studio.ops.images import from_uint8
from studio.ops.objectives import OBJECTIVES, Objective
from studio.training.config import TrainConfig
from studio.training.state import TrainState

W_AVERAGE_KEPT = 0.995
PATH_BATCH_SHRINK = 2

Metrics = dict[str, Tensor]
Batch = Callable[[list[int]], tuple[Tensor, Tensor]]
"""Indices -> bytes [n, c, h, w] and class numbers [n], as `data.Dataset.batch` answers."""


class NotFinite(StudioError):
    """A loss or a slope is no longer a number. It is found before it can touch a weight."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a step works with and does not change."""

    config: TrainConfig
    device: torch.device
    dtype: torch.dtype
    batch: Batch
    count: int
    beat: Callable[[], None] = lambda: None
    orders: dict[int, list[int]] = field(default_factory=dict)

    @property
    def objective(self) -> Objective:
        return OBJECTIVES[self.config.objective]

    def quick(self) -> AbstractContextManager[Any]:
        """Half precision for convolutions, where this run uses it."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def exact(self) -> AbstractContextManager[Any]:
        """Full precision, for second derivatives."""
        return torch.autocast(self.device.type, enabled=False)

    def stream(self, state: TrainState, purpose: str) -> torch.Generator:
        """The random numbers of this step for one purpose, drawn on the CPU: the same on every device."""
        return seeds.stream(self.config.seed, state.step, purpose)


def train_step(bench: Bench, state: TrainState) -> Metrics:
    """Move `state` by one step. Returns scalars, still on the device.

    Raises:
        NotFinite: a loss or a slope is no number; weights may have moved in an earlier part of this step.
    """
    config = bench.config
    metrics = generator_step(bench, state)
    if config.path_length_weight and state.step % config.path_length_interval == 0:
        metrics |= path_length_step(bench, state)
    for turn in range(config.d_steps):
        pictures, label = real_pictures(bench, state, turn)
        metrics |= discriminator_step(bench, state, pictures, label, turn)
        if (config.r1_gamma or config.r2_gamma) and state.step % config.r1_interval == 0 and turn == 0:
            metrics |= smoothing_step(bench, state, pictures, label)
        state.images += len(pictures)
    update_augmentation(config, state)
    beta = ema.decay(state.batch * config.d_steps, config.ema_kimg, state.images, config.ema_rampup or None)
    ema.update(state.average, state.generator, beta)
    state.step += 1
    return metrics


def generator_step(bench: Bench, state: TrainState) -> Metrics:
    """G learns to raise D's logits on its pictures."""
    with _learning(state.generator, state.discriminator), bench.quick():
        pictures, _, label = make_pictures(bench, state, "generator", state.batch)
        logits = state.discriminator(varied(bench, state, pictures, "generator"), label)
        loss = bench.objective.generator(logits).mean()
    descend(bench, state.g_optimizer, loss, "forger")
    return {"loss_g": loss.detach()}


def path_length_step(bench: Bench, state: TrainState) -> Metrics:
    """Equal steps in w should change pictures equally (Karras et al. 2020, section 3.2), on half a batch."""
    config = bench.config
    with _learning(state.generator, state.discriminator), bench.exact():
        pictures, styles, _ = make_pictures(bench, state, "path", max(1, state.batch // PATH_BATCH_SHRINK))
        penalty, mean = penalties.path_length(
            pictures,
            styles,
            state.path_mean,
            weight=config.path_length_weight,
            generator=bench.stream(state, "path noise"),
        )
        loss = penalty.mean() * config.path_length_interval
    descend(bench, state.g_optimizer, loss, "forger")
    state.path_mean = mean.detach()
    return {"path_length": state.path_mean, "path_penalty": penalty.detach().mean()}


def discriminator_step(bench: Bench, state: TrainState, real: Tensor, label: Tensor | None, turn: int) -> Metrics:
    """D learns to tell real pictures [n, c, h, w] from made ones."""
    config, purpose = bench.config, f"discriminator {turn}"
    with torch.no_grad(), bench.quick():
        made, _, made_label = make_pictures(bench, state, purpose, len(real))
        made = varied(bench, state, made, purpose)
        shown = varied(bench, state, real, f"real {turn}")
    with _learning(state.discriminator, state.generator):
        with bench.quick():
            fake_logits, real_logits = state.discriminator(made, made_label), state.discriminator(shown, label)
            loss = bench.objective.discriminator(real_logits, fake_logits).mean()
        if config.gradient_penalty:
            with bench.exact():
                loss = loss + penalties.gradient_penalty(
                    state.discriminator, shown.float(), made.float(), label,
                    weight=config.gradient_penalty, generator=bench.stream(state, f"penalty {turn}"),
                ).mean()  # fmt: skip
        descend(bench, state.d_optimizer, loss, "critic")
    clip_weights(state.discriminator, config.weight_clip)
    signs = real_logits.detach().sign()
    state.sign_sum, state.sign_count = state.sign_sum + float(signs.sum()), state.sign_count + signs.numel()
    return {
        "loss_d": loss.detach(),
        "real_logit": real_logits.detach().mean(),
        "fake_logit": fake_logits.detach().mean(),
    }


def smoothing_step(bench: Bench, state: TrainState, real: Tensor, label: Tensor | None) -> Metrics:
    """R1 and R2 (Mescheder et al. 2018): the slope of D at the pictures before they are varied, through the varying."""
    config, metrics = bench.config, {}
    loss = torch.zeros([], device=bench.device)
    with _learning(state.discriminator, state.generator), bench.exact():
        if config.r1_gamma:
            real = real.detach().requires_grad_(True)
            penalty = penalties.r1(
                state.discriminator(varied(bench, state, real, "r1"), label), real, gamma=config.r1_gamma
            )
            metrics["r1"], loss = penalty.detach().mean(), loss + penalty.mean()
        if config.r2_gamma:
            with torch.no_grad():
                made, _, made_label = make_pictures(bench, state, "r2", len(real))
            made = made.requires_grad_(True)
            penalty = penalties.r2(
                state.discriminator(varied(bench, state, made, "r2"), made_label), made, gamma=config.r2_gamma
            )
            metrics["r2"], loss = penalty.detach().mean(), loss + penalty.mean()
        descend(bench, state.d_optimizer, loss * config.r1_interval, "critic")
    return metrics


def make_pictures(bench: Bench, state: TrainState, purpose: str, count: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """G's pictures [count, c, h, w] of random latents, with their styles and labels."""
    generator = cast(Generator, state.generator)
    random = bench.stream(state, purpose)
    z = torch.randn(2, count, generator.z_dim, generator=random).to(bench.device)
    label = random_labels(bench, generator.classes, count, random)
    styles = generator.map(z[0], label)
    if purpose == "generator" and hasattr(generator, "track_w_average"):
        generator.track_w_average(styles[:, 0], W_AVERAGE_KEPT)
    styles = mix_styles(bench, generator, styles, z[1], label, random)
    return generator.synthesize(styles, random_noise(bench, generator.noise_sizes, count, random)), styles, label


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
    seed = int(torch.randint(2**62, [], generator=random))
    local = torch.Generator(bench.device).manual_seed(seed)
    return tuple(torch.randn(count, 1, size, size, generator=local, device=bench.device) for size in sizes)


def random_labels(bench: Bench, classes: int, count: int, random: torch.Generator) -> Tensor | None:
    """One-hot labels [count, classes] as frequent as in the dataset; None without classes."""
    if not classes:
        return None
    places = torch.randint(bench.count, [count], generator=random).tolist()
    return _one_hot(bench.batch(places)[1], classes, bench.device)


def _one_hot(numbers: Tensor, classes: int, device: torch.device) -> Tensor:
    return nn.functional.one_hot(numbers.long(), classes).float().to(device)


def real_pictures(bench: Bench, state: TrainState, turn: int) -> tuple[Tensor, Tensor | None]:
    """The next pictures [n, c, h, w] of the dataset in [-1, 1], and their labels."""
    places = [place_in_order(bench, number) for number in range(state.images, state.images + state.batch)]
    pixels, numbers = bench.batch(places)
    pictures = shrunk(from_uint8(pixels.to(bench.device)), cast(Generator, state.generator).resolution)
    if bench.config.mirror:
        turned = torch.rand(len(pictures), generator=bench.stream(state, f"mirror {turn}")) < 0.5
        pictures = torch.where(turned.to(bench.device)[:, None, None, None], pictures.flip(3), pictures)
    classes = cast(Generator, state.generator).classes
    return pictures, _one_hot(numbers, classes, bench.device) if classes else None


def shrunk(pictures: Tensor, resolution: int) -> Tensor:
    """Pictures [n, c, h, h] at the resolution of the networks, by averaging whole squares of pixels."""
    factor = pictures.shape[-1] // resolution
    return pictures if factor <= 1 else nn.functional.avg_pool2d(pictures, factor)


def place_in_order(bench: Bench, number: int) -> int:
    """The place in the dataset of the `number`-th picture shown; each epoch has a random order of its own."""
    epoch, position = divmod(number, bench.count)
    if epoch not in bench.orders:
        random = seeds.stream(bench.config.seed, epoch, "order")
        bench.orders.clear()
        bench.orders[epoch] = torch.randperm(bench.count, generator=random).tolist()
    return bench.orders[epoch][position]


def varied(bench: Bench, state: TrainState, pictures: Tensor, purpose: str) -> Tensor:
    """Pictures as the critic sees them."""
    random = bench.stream(state, f"augment {purpose}")
    if bench.config.augment == "diffaugment":
        return augment.diffaugment(pictures, random)
    if bench.config.augment == "ada" and state.augment_p > 0:
        with bench.exact():
            return augment.ada(pictures.float(), state.augment_p, random)
    return pictures


def update_augmentation(config: TrainConfig, state: TrainState) -> None:
    """ADA (Karras et al. 2020, "Training GANs with limited data"): vary more while D is too sure of real pictures."""
    if (state.step + 1) % config.ada_interval or not state.sign_count:
        return
    state.sign_mean = state.sign_sum / state.sign_count
    if config.augment == "ada":
        state.augment_p = augment.ada_step(
            state.augment_p, state.sign_mean,
            target=config.ada_target, images=state.sign_count, speed_kimg=config.ada_speed_kimg,
        )  # fmt: skip
    state.sign_sum, state.sign_count = 0.0, 0


def descend(bench: Bench, optimizer: torch.optim.Optimizer, loss: Tensor, whose: str) -> None:
    """One step down the slope of `loss`, unless it or a slope is not finite: then nothing moves.

    Raises:
        NotFinite: with the one thing to change.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    slopes = [weight.grad for weight in weights if weight.grad is not None]
    sizes = torch.stack([loss.detach(), *torch._foreach_norm(slopes)])
    if not bool(torch.isfinite(sizes).all()):
        raise NotFinite(
            f"The {whose}'s numbers grew beyond all bounds.",
            "Halve both learning rates, or start from an earlier snapshot.",
        )
    optimizer.step()
    bench.beat()


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float) -> None:
    """Keep every weight within ±limit (Arjovsky et al. 2017); 0 leaves them alone."""
    if limit:
        torch._foreach_clamp_max_(list(network.parameters()), limit)
        torch._foreach_clamp_min_(list(network.parameters()), -limit)


@contextmanager
def _learning(learner: nn.Module, other: nn.Module) -> Iterator[None]:
    """Only `learner` gets slopes; weights that are frozen for good stay so."""
    resting = [weight for weight in other.parameters() if weight.requires_grad]
    for weight in resting:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in resting:
            weight.requires_grad_(True)
