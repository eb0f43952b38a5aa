"""One training step, from the papers: G, lazy path length, D, lazy R1 and R2, ADA, the moving average.

Every random number comes from `seeds.stream(seed, step, purpose)`: the same step draws the same numbers whatever
happened before, so a resumed run needs no saved random state and goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from studio.families.base import Featured, Joint, Rebuilding, Seeing
from studio.ops import augment, ema, penalties
from studio.ops.smooth import Smoothly
from studio.training.bench import Batch, Bench, Metrics, NotFinite
from studio.training.config import TrainConfig
from studio.training.pictures import codes_of, make_pictures, place_in_order, real_pictures, varied
from studio.training.recogniser import code_error
from studio.training.regularisers import clip_weights, feature_distance, lecam, moved_means, smoothed
from studio.training.state import TrainState, set_rates
from studio.training.statistics import normalising

__all__ = ["Batch", "Bench", "Metrics", "NotFinite", "place_in_order", "train_step"]

PATH_BATCH_SHRINK = 2
CALM = 0.25
"""What the learning rates are multiplied by while a run is calm."""
SETTLED = 0.25
"""The least that remains of the learning rates as a run settles."""
MOVING = ("w_avg", "magnitude_ema")
"""Buffers of G that follow means over the pictures it makes; the mean of several processes' is that of all pictures."""

MOVED_INTERVAL = 4
"""How often it is measured how far a step moves the weights."""

Player = Literal["g", "d"]
Seen = tuple[Tensor, ...]
"""What a critic of `Seeing` saw of pictures."""
Made = tuple[Tensor, Tensor | None, Seen]
"""Pictures [n, c, h, w] that G made, their labels [n, classes] and what was seen of them, if anything; no slopes."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What one turn of D compares: real pictures and made ones [n, c, h, w], with their labels [n, classes].

    Attributes:
        seen: what a critic of `Seeing` saw of the made ones, varied, if it looked already.
    """

    turn: int
    real: Tensor
    label: Tensor | None
    made: Tensor
    made_label: Tensor | None
    seen: Seen = ()

    @classmethod
    def of(
        cls, bench: Bench, state: TrainState, real: Tensor, label: Tensor | None, turn: int, made: Made | None = None
    ) -> Sides:
        """Real pictures beside `made` ones, or fresh ones of G, of the same labels if the objective compares in pairs."""
        given = label if bench.objective.wants_real else None
        with torch.no_grad(), bench.quick():
            if made is None:
                fresh, _, made_label = make_pictures(bench, state, f"discriminator {turn}", len(real), given)
                made = fresh, made_label, ()
        return cls(turn=turn, real=real, label=label, made=made[0], made_label=made[1], seen=made[2])


def train_step(bench: Bench, state: TrainState, *, calm: bool = False) -> Metrics:
    """Move `state` by one step, a small one if the run is to be `calm`. Returns scalars, still on the device.

    Raises:
        NotFinite: a loss or a slope is no number; weights may have moved in an earlier part of this step. On a GPU it
            comes one step late.
    """
    set_rates(state, (CALM if calm else 1.0) * settled(bench.config, state.kimg))
    with normalising(bench, state):
        return _train_step(bench, state)


def settled(config: TrainConfig, kimg: float) -> float:
    """What the learning rates are multiplied by after so many thousand pictures: 1, then a half, a third, and `SETTLED`."""
    return max(SETTLED, 1 / (1 + kimg / config.settle_kimg)) if config.settle_kimg else 1.0


def _train_step(bench: Bench, state: TrainState) -> Metrics:
    config = bench.config
    warming = state.kimg < config.critic_warmup_kimg
    real, label = real_pictures(bench, state, 0)
    metrics, made = (Metrics(), None) if warming else generator_step(bench, state, real, label)
    if config.path_length_weight and state.step % config.path_length_interval == 0 and not warming:
        metrics |= path_length_step(bench, state)
    for turn in range(config.d_steps):
        if turn:
            real, label = real_pictures(bench, state, turn)
        sides = Sides.of(bench, state, real, label, turn, made if config.share_pictures and turn == 0 else None)
        metrics |= discriminator_step(bench, state, sides)
        if config.smooths_lazily and state.step % config.r1_interval == 0 and turn == 0:
            metrics |= smoothing_step(bench, state, sides)
        state.images += state.batch
    if warming:  # a critic that catches up says nothing about ADA, and the forger stands still
        state.sign_sum, state.sign_count = torch.zeros_like(state.sign_sum), 0
    else:
        finish_step(config, state)
    bench.watch.ask()
    state.step += 1
    return metrics


def finish_step(config: TrainConfig, state: TrainState) -> None:
    """What follows both players' turns: ADA, and the moving average."""
    update_augmentation(config, state)
    beta = ema.decay(state.batch * config.d_steps, config.ema_kimg, state.images, config.ema_rampup or None)
    ema.update(state.average, state.generator, beta)


def generator_step(bench: Bench, state: TrainState, real: Tensor, label: Tensor | None) -> tuple[Metrics, Made]:
    """G learns to raise D's logits on its pictures; where these are compared with `real` ones, they share their labels."""
    objective = bench.objective
    with _resting(state.discriminator), bench.quick():
        given = label if objective.wants_real else None
        plain, _, made_label = make_pictures(bench, state, "generator", len(real), given)
        made = varied(bench, state, plain, "generator")
        with torch.no_grad():
            compares = objective.wants_real or bench.config.feature_matching
            beside = varied(bench, state, real, "generator real") if compares else real
            real_logits = state.discriminator(beside, label) if objective.wants_real else None
        logits, seen = looked(state.discriminator, made, made_label)
        logits, real_logits = compared(bench, logits, real_logits)
        loss = objective.generator(logits, real_logits).mean()
        metrics = {"loss_g": loss.detach()}
        for name, weight, term in generator_terms(bench, state, plain, made, made_label, beside, label):
            metrics[name], loss = term.detach(), loss + weight * term
    figures = [*metrics.values(), *moving(state)]
    metrics |= descend(bench, state, "g", loss, figures, own_turn=True)
    return metrics, (plain.detach(), made_label, tuple(maps.detach() for maps in seen))


def looked(critic: nn.Module, made: Tensor, label: Tensor | None) -> tuple[Tensor, Seen]:
    """The logits [n, k] of made pictures, and what the critic saw of them if it is of `Seeing`."""
    if not isinstance(critic, Seeing):
        return critic(made, label), ()
    seen = critic.features(made)
    return critic.judge_features(seen, label), seen


def generator_terms(
    bench: Bench, state: TrainState, plain: Tensor, made: Tensor, made_label: Tensor | None,
    beside: Tensor, label: Tensor | None,
) -> Iterator[tuple[str, float, Tensor]]:  # fmt: skip
    """What is added to G's loss: a name, a weight and a scalar each.

    Args:
        plain, made, made_label: G's pictures before and after they are varied, and their labels.
        beside, label: varied real pictures, and their labels.
    """
    config = bench.config
    if config.feature_matching:
        critic = cast(Featured, state.discriminator)
        with torch.no_grad():
            wanted = critic.features(beside, label)
        distance = feature_distance(wanted, critic.features(made, made_label), bench.world.mean)
        yield "feature_distance", config.feature_matching, distance
    if state.recogniser:
        error = code_error(state.recogniser(plain), codes_of(bench, state, "generator", len(plain)))
        yield "code_error", config.info_weight * config.codes / 2, error


def moving(state: TrainState) -> list[Tensor]:
    """The buffers `MOVING` of the generator."""
    return [buffer for name, buffer in state.generator.named_buffers() if name.endswith(MOVING)]


def compared(bench: Bench, *logits: Tensor | None) -> tuple[Tensor, ...]:
    """Logits [n, k]; those of the whole batch where the objective holds each picture against all others."""
    if bench.objective.mixes and bench.world.together:
        logits = tuple(values if values is None else bench.world.gather_rows(values) for values in logits)
    return cast(tuple[Tensor, ...], logits)


def path_length_step(bench: Bench, state: TrainState) -> Metrics:
    """Equal steps in w should change pictures equally (Karras et al. 2020, section 3.2), on half a batch."""
    config, rows = bench.config, state.batch // bench.world.size
    with _resting(state.discriminator), bench.exact():
        pictures, styles, _ = make_pictures(bench, state, "path", max(1, rows // PATH_BATCH_SHRINK))
        penalty, mean = penalties.path_length(
            pictures,
            styles,
            state.path_mean,
            weight=config.path_length_weight,
            generator=bench.stream(state, "path noise"),
            share=bench.world.share,
            overall=bench.world.mean,
        )
        loss = penalty.mean() * config.path_length_interval
    figure = penalty.detach().mean()
    descend(bench, state, "g", loss, [figure, *moving(state)])
    state.path_mean = mean.detach()
    return {"path_length": state.path_mean, "path_penalty": figure}


def discriminator_step(bench: Bench, state: TrainState, sides: Sides) -> Metrics:
    """D learns to tell real pictures from made ones."""
    config, objective = bench.config, bench.objective
    with torch.no_grad(), bench.quick():
        looked_at = sides.seen and not config.gradient_penalty
        made = sides.made if looked_at else varied(bench, state, sides.made, f"discriminator {sides.turn}")
        real = varied(bench, state, sides.real, f"real {sides.turn}")
    with _resting(state.generator):
        with bench.quick():
            real_logits, fake_logits, terms = judge(bench, state, sides, real, made)
            loss = objective.discriminator(*compared(bench, real_logits, fake_logits)).mean()
        metrics = {"loss_d": loss.detach(), "real_logit": _mean(real_logits), "fake_logit": _mean(fake_logits)}
        terms |= logit_terms(bench, state, real_logits, fake_logits, sides.turn)
        if config.gradient_penalty:
            terms["gradient_penalty"] = sloped(bench, state, real, made, sides)
        if not config.smooths_lazily:
            terms |= smoothing_terms(bench, state, sides)
        loss = torch.stack([loss, *terms.values()]).sum()
        signs = objective.signs(real_logits.detach(), fake_logits.detach())
        certain, shares = signs.sum(), bench.world.size
        metrics |= {name: term.detach() for name, term in terms.items()}
        metrics |= descend(bench, state, "d", loss, [certain, *metrics.values()], own_turn=True)
    clip_weights(state.discriminator, config.weight_clip)
    state.sign_sum, state.sign_count = state.sign_sum + certain * shares, state.sign_count + signs.numel() * shares
    return metrics


def judge(
    bench: Bench, state: TrainState, sides: Sides, real: Tensor, made: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """D's logits of real and of made pictures, both varied; and if D must also redraw the real ones, what that missed."""
    critic, weight = state.discriminator, bench.config.rebuild_weight
    if weight and isinstance(critic, Rebuilding):
        fake_logits = critic(made, sides.made_label)
        random = bench.stream(state, f"rebuild {sides.turn}")
        real_logits, missed = critic.judge_and_rebuild(real, sides.label, random)
        return real_logits, fake_logits, {"rebuilding": weight * missed.float().mean()}
    if isinstance(critic, Joint):
        fake_logits, real_logits = critic.judge_sets((made, real), (sides.made_label, sides.label))
    elif sides.seen:
        fake_logits = cast(Seeing, critic).judge_features(sides.seen, sides.made_label)
        real_logits = critic(real, sides.label)
    else:
        fake_logits, real_logits = critic(made, sides.made_label), critic(real, sides.label)
    return real_logits, fake_logits, {}


def logit_terms(bench: Bench, state: TrainState, real: Tensor, fake: Tensor, turn: int) -> dict[str, Tensor]:
    """What is added to D's loss because of its logits [n, k] alone."""
    config, terms = bench.config, dict[str, Tensor]()
    if config.label_smoothing:
        terms["label_smoothing"] = smoothed(real, config.label_smoothing).mean()
    if config.lecam:
        sides = bench.world.mean(torch.stack([_mean(real), _mean(fake)]))
        state.logit_means = moved_means(state.logit_means, sides[0], sides[1], state.step * config.d_steps + turn)
        terms["lecam"] = config.lecam * lecam(real, fake, state.logit_means)
    return terms


def sloped(bench: Bench, state: TrainState, real: Tensor, made: Tensor, sides: Sides) -> Tensor:
    """The gradient penalty between real and made pictures, both varied; a scalar."""
    with bench.exact(), Smoothly():
        return penalties.gradient_penalty(
            state.discriminator, real.float(), made.float(), sides.label,
            weight=bench.config.gradient_penalty, generator=bench.stream(state, f"penalty {sides.turn}"),
            share=bench.world.share,
        ).mean()  # fmt: skip


def smoothing_step(bench: Bench, state: TrainState, sides: Sides) -> Metrics:
    """A step of D for R1 and R2 alone, as heavy as the steps that went without."""
    with _resting(state.generator):
        terms = smoothing_terms(bench, state, sides)
        loss = torch.stack(list(terms.values())).sum()
        metrics = {name: term.detach() for name, term in terms.items()}
        descend(bench, state, "d", loss * bench.config.r1_interval, list(metrics.values()))
    return metrics


def smoothing_terms(bench: Bench, state: TrainState, sides: Sides) -> dict[str, Tensor]:
    """R1 and R2 (Mescheder et al. 2018): the slope of D at the pictures before they are varied, through the varying."""
    config, terms = bench.config, dict[str, Tensor]()
    with bench.quick(), Smoothly():
        if config.r1_gamma:
            real = sides.real.detach().requires_grad_(True)
            logits = state.discriminator(varied(bench, state, real, "r1"), sides.label)
            terms["r1"] = penalties.r1(logits, real, gamma=config.r1_gamma).mean()
        if config.r2_gamma:
            made = sides.made.detach().requires_grad_(True)
            logits = state.discriminator(varied(bench, state, made, "r2"), sides.made_label)
            terms["r2"] = penalties.r2(logits, made, gamma=config.r2_gamma).mean()
    return terms


def update_augmentation(config: TrainConfig, state: TrainState) -> None:
    """ADA (Karras et al. 2020, "Training GANs with limited data"): vary more while D is too sure of real pictures."""
    if (state.step + 1) % config.ada_interval or not state.sign_count:
        return
    state.sign_mean = float(state.sign_sum) / state.sign_count
    if config.augment == "ada":
        state.augment_p = augment.ada_step(
            state.augment_p, state.sign_mean,
            target=config.ada_target, images=state.sign_count, speed_kimg=config.ada_speed_kimg,
        )  # fmt: skip
    state.sign_sum, state.sign_count = torch.zeros_like(state.sign_sum), 0


def descend(
    bench: Bench,
    state: TrainState,
    player: Player,
    loss: Tensor,
    figures: Sequence[Tensor] = (),
    *,
    own_turn: bool = False,
) -> Metrics:
    """One step of a player down the slope of `loss`, unless it or a slope is not finite: then nothing moves.

    Several processes take the mean of their slopes, and of the `figures`, which are overwritten by it.

    Returns:
        the length of the slope, and in the player's `own_turn`, not in one of a penalty, now and then that of the step as a share
        of the weights' own.

    Raises:
        NotFinite: with the one thing to change.
    """
    optimizer = state.g_optimizer if player == "g" else state.d_optimizer
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    slopes = [weight.grad for weight in weights if weight.grad is not None]
    loss = loss.detach()
    bench.world.average([loss, *slopes, *figures])
    sizes = torch.stack([loss, *torch._foreach_norm(slopes)])
    bench.watch.guard(optimizer, sizes.isfinite().all(), "forger" if player == "g" else "critic")
    metrics = {f"{player}_norm": cast(Tensor, torch.linalg.vector_norm(sizes[1:]))}
    if own_turn and state.step % MOVED_INTERVAL == 0:
        metrics[f"{player}_moved"] = moved_by(optimizer, weights)
    else:
        optimizer.step()
    bench.beat()
    return metrics


@torch.no_grad()
def moved_by(optimizer: torch.optim.Optimizer, weights: Sequence[Tensor]) -> Tensor:
    """Let the optimizer take its step; how far, as a share of the weights' length (without biases, which begin at 0)."""
    matrices = [weight for weight in weights if weight.ndim > 1] or list(weights)
    before = [weight.clone() for weight in matrices]
    optimizer.step()
    torch._foreach_sub_(before, matrices)
    way, length = (torch.linalg.vector_norm(torch.stack(torch._foreach_norm(one))) for one in (before, matrices))
    return cast(Tensor, way / length)


def _mean(logits: Tensor) -> Tensor:
    return logits.detach().mean()


@contextmanager
def _resting(*networks: nn.Module | None) -> Iterator[None]:
    """The weights of these networks get no slopes; those that are frozen for good stay so."""
    resting = [weight for network in networks if network for weight in network.parameters() if weight.requires_grad]
    for weight in resting:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in resting:
            weight.requires_grad_(True)
