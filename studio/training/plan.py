"""One dial, the whole configuration: how long may it take? Everything else follows, with a reason for each choice.

The idea: a run needs to see a number of pictures (ten thousand in five minutes, more when there is time), so size and
width of the networks are the largest that this machine shows that many pictures to in the given time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from studio.data.info import DatasetInfo
from studio.errors import BadInput
from studio.families.base import FIRST_CHOICE
from studio.training.base_model import Fit, can_grow, fit
from studio.training.config import TrainConfig, changed
from studio.weights.card import ModelCard
from studio.words import counted, lasting

SHORT_MINUTES = 60.0
SMALL_SET = 1000
_FEW = 200
_WANTED_KIMG_AT_5_MINUTES = 10.0
_WANTED_GROWTH = 0.6
_LARGEST_OF_MLP = 64
_HEAD_START = 4.0
_SMALLEST = 32
_HARDLY_SLOWER = 0.7
_SPREAD_WELL = ("stylegan2", "r3gan")
"""Families that two processes of one core each train quicker than one process of two: 1.3 and 1.2 times, and 1.4 times
beside other work (docs/scaling.md). Batch normalisation and small networks have too much to tell each other."""
_LEAST_SHARE = 8
_FIRST_IMPRESSION_KIMG = 4.0
"""With fewer pictures most runs of docs/recipes.md had not found the kinds of their set yet."""
_STEPS_SHARE = 0.9
"""Of a run's time; the rest goes to sheets, stages with their scores, and checkpoints."""
_BLUR_OF_SIDE = 32
_BLURRED_SHARE, _MOST_BLURRED_KIMG = 0.9, 10.0
_CALM_SHARE, _LEAST_CALMED_KIMG = 0.15, 30.0
"""Towards the end lower rates took the KID of Naturalist from 0.17 to 0.145; short runs have no time for it (docs/recipes.md)."""
_SETTLE_KIMG = 5.0
"""From Naturalist all Monets came to a KID of 0.13 and stayed there, where rates that did not fall took them to 0.31 and 0.36;
all emoji came to 0.22 instead of 0.44, and thirty of them to 0.35 instead of 0.82 (docs/recipes.md)."""
_CLASS_PACE = 0.4
"""With 0.4 kinds of Monets came to a KID of 0.17, with 1 to 0.28 in three runs; with 0.15 to 0.13, but of emoji, which are unlike
each other, the kinds got mixed up (docs/recipes.md)."""
_WIDTHS = (256, 128, 64, 32, 16, 8)
_PLAIN_WIDTH = 32
_PROJECTED_WIDTHS = (64, 32, 16)
_PLAIN_PROJECTED_WIDTH = 24
"""Between them, so that size comes before width: 64 px of width 16 are learned in five minutes (docs/recipes.md)."""
_SHEET_COLUMNS = (6, 8, 5, 7, 9, 10)
_DOUBLED = "deep"
"""A FastGAN with more convolutions than its authors': with fewer, textures stand in a grid (docs/recipes.md)."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a machine trains a StyleGAN2: each picture costs `overhead_seconds`, its G's multiply-adds, and the walks
    through memory over its largest features.

    A training step costs about nine passes of G; the figures below were measured with whole steps, per pass of one G. A run
    spends `_STEPS_SHARE` of its time on them.
    Before the projected critic a FastGAN's multiply-adds go at another rate, what the critic sees costs `sight_seconds` a
    picture of 128 px, and the picture itself `pixel_seconds` for each 64 x 64 pixels.
    """

    macs_per_second: float
    overhead_seconds: float
    values_per_second: float = math.inf
    projected_macs_per_second: float = 48e9
    sight_seconds: float = 0.025
    pixel_seconds: float = 0.008

    def images_per_second(self, resolution: int, width: int, widest: int = 0) -> float:
        """Pictures a second at `width` channels at full size and at most `widest`; 0 is what the plan gives such a width."""
        walks = resolution**2 * width / self.values_per_second
        return _STEPS_SHARE / (
            self.overhead_seconds + generator_macs(resolution, width, widest) / self.macs_per_second + walks
        )

    def projected_per_second(self, resolution: int, width: int, doubled: str = _DOUBLED) -> float:
        """Pictures a second of a FastGAN of this width, and this setting of `doubled`, before the projected critic."""
        sight = self.sight_seconds * (min(max(resolution, 128), 256) / 128) ** 2
        pixels = self.pixel_seconds * (resolution / 64) ** 2
        return _STEPS_SHARE / (
            sight + pixels + fastgan_macs(resolution, width, doubled) / self.projected_macs_per_second
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be trained, and a sentence for every choice that an artist may wonder about."""

    config: TrainConfig
    reasons: tuple[str, ...]


def plan(
    minutes: float,
    info: DatasetInfo,
    base: ModelCard | None = None,
    *,
    family: str = "",
    changes: Mapping[str, Any] = MappingProxyType({}),
    cores: int | None = None,
    has_bfloat16: bool | None = None,
    device: str | None = None,
) -> Plan:
    """Fill the configuration from the dial.

    Args:
        minutes: how long it may take; 5, 30, 180 (an evening) and 480 (a night) are on the dial, any other will do.
        info: the prepared pictures.
        base: the model to start from, or None.
        family: the architecture, where there is no base to decide it; "" is what learns soonest from nothing.
        changes: settings that the artist wants otherwise; "settings" holds the network's.
        cores, has_bfloat16, device: the machine; None looks at this one.

    Raises:
        BadInput: the pictures do not fit the base, or cannot be halved down to 4 px; a change that no run can have.
    """
    device = _this_device() if device is None else device
    quick = _this_has_bfloat16() if has_bfloat16 is None else has_bfloat16
    cores = cores or os.cpu_count() or 1
    speed = speed_of(device, cores, quick)
    family = base.family if base else family or FIRST_CHOICE
    fitted = fit(base, info, _grown(base, minutes, info, speed)) if base is not None else None
    settings = fitted.settings if fitted else _settings(family, minutes, info, speed)
    rate = _rate(speed, settings)
    kimg = rate * minutes * 60 / 1000
    given = _schedule(minutes, kimg, info, settings, base, device)
    given |= _manners(family, given, kimg, settings, base, info.count)
    given |= fitted.manners(kimg, given) if fitted else {}
    given |= _crew(family, settings, minutes, int(given["batch"]), device, cores)
    config = TrainConfig(
        title=info.title[:80], family=family, settings=settings, minutes=minutes,
        dataset_fingerprint=info.fingerprint, mirror=info.mirror, **given,
    )  # fmt: skip
    if changes.get("processes") == 1:
        config = changed(config, {"ghost_batches": 1})  # parts are for processes to share
    config = changed(config, changes)
    kimg = _rate(speed, config.settings) * config.minutes * 60 / 1000
    return Plan(config=config, reasons=tuple(_reasons(config, info, base, fitted, kimg)))


def suggested_base(
    cards: Mapping[str, ModelCard],
    info: DatasetInfo,
    minutes: float,
    *,
    family: str = "",
    speed: Speed | None = None,
) -> str:
    """The id of the model that a run had best start from, out of `cards` by their ids; "" for from nothing.

    A model of other things knows already how edges and surfaces look: after five minutes on 100 paintings a StyleGAN2's
    pictures were four times nearer to the set than those of a fresh one, and a FastGAN came as near in half the time
    (docs/recipes.md). It must be of the family that the run would have anyway, and have its critic, as a new one unlearns
    much, and be of the size that the run would have anyway. In an hour or less a smaller one will do that can grow; in more
    only a StyleGAN2, as a fresh FastGAN is wider than those that there are. A larger one will do if the run still sees a
    quarter of the pictures that a fresh model would need.
    """
    speed = speed or speed_of(_this_device(), os.cpu_count() or 1, _this_has_bfloat16())
    family = family or FIRST_CHOICE
    size, _ = _size(minutes, info, *_choices(family, speed))
    least = _wanted_rate(minutes) / _HEAD_START
    found = [
        (card.resolution, card.kimg, id)
        for id, card in cards.items()
        if card.family == family
        and _serves(card, size, minutes)
        and _rate(speed, {**card.settings, "resolution": card.resolution}) >= least
        and not card.classes
        and _keeps_all(card, info)
    ]
    return max(found)[2] if found else ""


def _serves(card: ModelCard, size: int, minutes: float) -> bool:
    if minutes <= SHORT_MINUTES:
        return card.resolution >= size or can_grow(card)
    return card.resolution >= size and card.family == "stylegan2"


def _grown(base: ModelCard, minutes: float, info: DatasetInfo, speed: Speed) -> int:
    """The size that a base model has time to grow to: it doubles while its pictures are no larger than those to learn
    from, its layers are not too thin, and it still sees enough pictures.

    A second doubling asks for twice as many, as then twice as many layers begin with nothing; and so on.
    """
    size, enough = base.resolution, _wanted_rate(minutes)
    while info.resolution % (2 * size) == 0 and can_grow(base, 2 * size, least=_WIDTHS[-1]):
        if _rate(speed, {**base.settings, "resolution": 2 * size}) < enough:
            break
        size, enough = 2 * size, 2 * enough
    return size


def _keeps_all(card: ModelCard, info: DatasetInfo) -> bool:
    """Whether nothing of the model changes. For grey pictures it may begin with its own grey, and before the projected critic
    with the same pictures under every class."""
    if info.channels == 1:
        info = replace(info, channels=min(card.channels, 3))
    if card.settings.get("projected"):
        info = replace(info, labels=())
    try:
        fitted = fit(card, info)
    except BadInput:
        return False
    return fitted.critic == "kept" and not fitted.reasons


def speed_of(device: str, cores: int, has_bfloat16: bool) -> Speed:
    """The speed of a machine, rounded down from what was measured."""
    if device == "cuda":
        return Speed(
            macs_per_second=1.5e12, overhead_seconds=2e-3,
            projected_macs_per_second=7.5e11, sight_seconds=1e-3, pixel_seconds=2e-4,
        )  # fmt: skip
    if device == "mps":
        return Speed(
            macs_per_second=1.0e11, overhead_seconds=4e-3,
            projected_macs_per_second=5e10, sight_seconds=5e-3, pixel_seconds=1e-3,
        )  # fmt: skip
    if has_bfloat16:
        return Speed(
            macs_per_second=cores * 75e9, overhead_seconds=0.019 / cores, values_per_second=cores * 9e6,
            projected_macs_per_second=cores * 48e9, sight_seconds=0.025 / cores, pixel_seconds=0.008 / cores,
        )  # fmt: skip
    return Speed(
        macs_per_second=cores * 5.5e9, overhead_seconds=0.016 / cores,
        projected_macs_per_second=cores * 10e9, sight_seconds=0.05 / cores, pixel_seconds=0.017 / cores,
    )  # fmt: skip


def generator_macs(resolution: int, width: int, widest: int = 0) -> float:
    """Multiply-adds of the 3 x 3 convolutions of one StyleGAN2 picture, `width` channels at full size, at most `widest`
    (0: what the plan gives such a width)."""
    total, size, inputs = 0.0, 4, 0
    while size <= resolution:
        outputs = min(width * resolution // size, widest or _widest(width))
        total += size**2 * 9 * (inputs * outputs + outputs**2)
        size, inputs = size * 2, outputs
    return total


def fastgan_macs(resolution: int, width: int, doubled: str) -> float:
    """Multiply-adds of the 3 x 3 convolutions of one FastGAN picture."""
    from studio.families.fastgan import CHANNELS, CONVOLUTIONS

    total, inputs = 0.0, CHANNELS[4] * width
    for size in (size for size in CHANNELS if 4 < size <= resolution):
        outputs = CHANNELS[size] * width
        total += size**2 * 18 * outputs * (inputs + outputs * (CONVOLUTIONS[doubled](size) - 1))
        inputs = outputs
    return total


def wanted_kimg(minutes: float) -> float:
    """Thousands of pictures that a run of this length should see: more time goes to more pictures and to finer ones."""
    return float(_WANTED_KIMG_AT_5_MINUTES * (minutes / 5) ** _WANTED_GROWTH)


def _wanted_rate(minutes: float) -> float:
    """Pictures a second that make up `wanted_kimg`."""
    return wanted_kimg(minutes) * 1000 / (minutes * 60)


def _widest(width: int) -> int:
    return min(512, 4 * width)


def _settings(family: str, minutes: float, info: DatasetInfo, speed: Speed) -> dict[str, Any]:
    resolution, width = _size(minutes, info, *_choices(family, speed))
    pictures = {"resolution": resolution, "channels": info.channels, "classes": len(info.labels)}
    if family == "mlp":
        return pictures | {"resolution": min(resolution, _LARGEST_OF_MLP)}
    if family == "fastgan":
        return pictures | {"z_dim": 128, "width": width, "critic_width": 32, "projected": True, "doubled": _DOUBLED}
    if family == "r3gan":
        return pictures | _r3gan_shape(resolution, width)
    if family == "dcgan":
        return pictures | {"width": min(64, 2 * width)}
    widest = _widest(width)
    reading = {"discriminator_mapping_layers": 2} if info.labels and minutes < SHORT_MINUTES * 3 else {}
    return (
        pictures
        | reading
        | {
            "z_dim": max(64, widest),
            "w_dim": max(64, widest),
            "mapping_layers": 2 if minutes < SHORT_MINUTES * 3 else 4,
            "channel_base": width * resolution,
            "channel_max": widest,
        }
    )


def _r3gan_shape(resolution: int, width: int) -> dict[str, Any]:
    """Blocks without groups, which processors multiply quickest; their inner convolutions are no wider than the block."""
    sizes = [4 * 2**place for place in range(int(math.log2(resolution)) - 1)]
    widths = tuple(min(_widest(width), width * resolution // size) for size in sizes)
    ones = (1,) * len(sizes)
    return {"z_dim": 64, "widths": widths, "groups": ones, "blocks": ones, "expansion": 1}


def _choices(family: str, speed: Speed) -> tuple[Callable[[int, int], float], int, tuple[int, ...]]:
    """Pictures a second at a size and a width; the plain width, and all, the largest first."""
    if family == "fastgan":
        return speed.projected_per_second, _PLAIN_PROJECTED_WIDTH, _PROJECTED_WIDTHS
    return speed.images_per_second, _PLAIN_WIDTH, _WIDTHS


def _size(
    minutes: float, info: DatasetInfo, rate: Callable[[int, int], float], plain: int, wide: tuple[int, ...]
) -> tuple[int, int]:
    """The largest size at which the plain width sees enough pictures, then the largest width there.

    Where no size is quick enough, the largest that is hardly slower than the smallest that is still worth looking at.
    """
    wanted = _wanted_rate(minutes)
    sizes = [size for size in _sizes(info.resolution) if size >= _SMALLEST] or [info.resolution]
    least = min(wanted, _HARDLY_SLOWER * rate(sizes[-1], plain))
    size = next(size for size in sizes if rate(size, plain) >= least)
    widths = [width for width in wide if rate(size, width) >= wanted]
    return size, widths[0] if widths else wide[-1]


def _sizes(resolution: int) -> Iterator[int]:
    """The powers of two that pictures of this size can be shrunk to, the largest first."""
    size = resolution & -resolution
    if size < 8:
        raise BadInput(f"Pictures of {resolution} px cannot be trained on.", "Prepare them at 32, 64, 128 or 256 px.")
    while size >= 8:
        yield size
        size //= 2


def _rate(speed: Speed, settings: Mapping[str, Any]) -> float:
    """Pictures a second of networks with these settings."""
    if settings.get("projected"):
        return speed.projected_per_second(
            int(settings["resolution"]), int(settings["width"]), settings.get("doubled", "paper")
        )
    return speed.images_per_second(
        int(settings["resolution"]), _width_of(settings), int(settings.get("channel_max", 0))
    )


def _width_of(settings: Mapping[str, Any]) -> int:
    """The channels at full size of a StyleGAN2, or what comes near in other families."""
    if "channel_base" in settings:
        return max(8, int(settings["channel_base"]) // int(settings["resolution"]))
    return max(8, int(settings.get("width", 64)) // 4)


def _schedule(
    minutes: float, kimg: float, info: DatasetInfo, settings: dict[str, Any], base: ModelCard | None, device: str
) -> dict[str, Any]:
    """Batch, regularisers, augmentation and averaging for about `kimg` thousand pictures."""
    resolution = int(settings["resolution"])
    batch = _batch(resolution, device)
    return {
        "batch": batch,
        "share_pictures": True,
        "r1_gamma": _rounded(0.0002 * resolution**2 / batch),
        "path_length_weight": 0.0 if minutes < SHORT_MINUTES else 2.0,
        "style_mixing": 0.5 if minutes < SHORT_MINUTES else 0.9,
        "ada_speed_kimg": _ada_speed(kimg, info.count, base),
        "ema_kimg": _rounded(min(batch * 10 / 32, max(0.2, kimg / 20))),
        "ema_rampup": 0.05 if base is None else 0.0,
        "g_learning_rate": 0.0025 if base is None else 0.002,
        "d_learning_rate": 0.0025 if base is None else 0.002,
        "freeze_d_layers": 4 if base is not None and info.count < SMALL_SET else 0,
        "checkpoint_seconds": 30.0 if minutes < SHORT_MINUTES else 120.0,
        "preview_seconds": 3.0 if minutes <= 5 else 10.0,
        "preview_columns": _columns(int(settings.get("classes", 0))),
    }


def _columns(classes: int) -> int:
    """Columns of the sheets, whose seeds take the classes by turns: if possible, what stands below each other is of one class."""
    fitting = (count for count in _SHEET_COLUMNS if classes and (count % classes == 0 or classes % count == 0))
    return next(fitting, _SHEET_COLUMNS[0])


def _ada_speed(kimg: float, count: int, base: ModelCard | None) -> float:
    """ADA's own 500 kimg for a thousand pictures or more from nothing: their critic is sure long before it knows them by
    heart, and varied quickly they left one blob (docs/recipes.md). Else quick enough to matter within the run."""
    if base is None and count >= SMALL_SET:
        return 500.0
    return _rounded(min(500.0 if base is None else 100.0, max(10.0, kimg / 2)))


_MANNERS: dict[str, dict[str, Any]] = {
    "stylegan2": {},
    "stylegan3": {"path_length_weight": 0.0, "style_mixing": 0.0},  # as its authors train it
    "fastgan": {
        "objective": "hinge", "augment": "diffaugment", "path_length_weight": 0.0, "style_mixing": 0.0, "r1_gamma": 0.0,
        "g_learning_rate": 0.001, "d_learning_rate": 0.0004, "beta1": 0.5, "beta2": 0.999, "batch": 8,
    },
    "r3gan": {
        "objective": "relativistic", "path_length_weight": 0.0, "style_mixing": 0.0, "r1_interval": 1,
        "g_learning_rate": 0.0005, "d_learning_rate": 0.0005, "beta1": 0.0, "beta2": 0.99,
    },
    # plain weights against the equalised ones of StyleGAN2's critic
    "lightweight": {"augment": "diffaugment", "path_length_weight": 0.0, "g_learning_rate": 0.0002},
    "lucidrains": {"augment": "diffaugment", "path_length_weight": 0.0, "g_learning_rate": 0.0002},
}  # fmt: skip
_PROJECTED_MANNERS: dict[str, Any] = {
    "g_learning_rate": 0.0012, "d_learning_rate": 0.0004, "beta1": 0.0, "beta2": 0.99, "batch": 32,
    "freeze_d_layers": 0,  # what sees is frozen anyway
}  # fmt: skip
_OLD_MANNERS: dict[str, Any] = {
    "augment": "diffaugment", "path_length_weight": 0.0, "style_mixing": 0.0, "r1_gamma": 0.0,
    "g_learning_rate": 0.0002, "d_learning_rate": 0.0002, "beta1": 0.5, "beta2": 0.999, "freeze_d_layers": 0,
}  # fmt: skip


def _manners(
    family: str, schedule: dict[str, Any], kimg: float, settings: dict[str, Any], base: ModelCard | None, count: int
) -> dict[str, Any]:
    """What a family needs that differs from StyleGAN2's schedule; DCGAN and MLP take DCGAN's Adam, and their norms no
    second slopes. R3GAN smooths both sides alike."""
    manners = _MANNERS.get(family, _OLD_MANNERS)
    if family == "r3gan":
        return manners | {"r2_gamma": schedule["r1_gamma"]}
    if settings.get("projected"):
        return manners | _projected_manners(kimg, settings, base, count)
    return manners


def _projected_manners(kimg: float, settings: dict[str, Any], base: ModelCard | None, count: int) -> dict[str, Any]:
    """What a FastGAN before the projected critic needs (docs/recipes.md).

    From a base both players begin quickly and settle, and class layers follow slowly, or all pictures of a class would share
    one palette; one that grows begins as blurred as its enlarged pictures are, or it would emboss them to look sharp. A
    fresh forger begins with shapes alone, and of few pictures its critic is sure too soon.
    Pictures that the critic sees no larger than they are it sees better in parts, enlarged.
    """
    from studio.families.projected_critic import SMALLEST_SEEN_PX

    calm = _CALM_SHARE if kimg > _LEAST_CALMED_KIMG else 0.0
    average = {"ema_kimg": _rounded(min(4.0, max(0.2, kimg / 5))), "ema_rampup": 0.15}  # or a base lingers in it
    closer = settings["resolution"] >= SMALLEST_SEEN_PX
    manners = _PROJECTED_MANNERS | average | {"calm_share": calm, "closer": closer}
    fades = _rounded(max(0.1, min(_MOST_BLURRED_KIMG, kimg * _BLURRED_SHARE)))
    if base is not None:
        grown = settings["resolution"] / base.resolution
        softly = {"blur_px": grown, "blur_kimg": fades} if grown > 1 else {}
        manners |= softly | {"d_learning_rate": manners["g_learning_rate"], "settle_kimg": _SETTLE_KIMG}
        return manners | ({"class_pace": _CLASS_PACE} if settings.get("classes") else {})
    manners |= {"blur_px": settings["resolution"] / _BLUR_OF_SIDE, "blur_kimg": fades}
    return manners if count > _FEW else manners | {"d_learning_rate": manners["d_learning_rate"] / 2}


def _batch(resolution: int, device: str) -> int:
    if device == "cuda":
        return max(4, min(32, 4096 // resolution))
    return 16 if resolution <= 128 else 8


def _crew(family: str, settings: dict[str, Any], minutes: float, batch: int, device: str, cores: int) -> dict[str, int]:
    """How many processes share each batch. They take seconds to meet, which the shortest runs do not have.

    Before the projected critic each of two looks at statistics of its own rows, as its authors' eight do."""
    most = min(cores, batch // _LEAST_SHARE)
    if device != "cpu" or minutes < 1 or most < 2:
        return {}
    if settings.get("projected"):
        return {"processes": 2, "ghost_batches": 2}
    return {"processes": most} if family in _SPREAD_WELL else {}


def _rounded(value: float) -> float:
    """Two significant digits: people read it."""
    return round(value, 1 - math.floor(math.log10(value)))


_VARYING = {
    "ada": "varied as strongly as it takes (ADA)",
    "diffaugment": "shifted, recoloured and partly covered each time (DiffAugment)",
}


def _reasons(
    config: TrainConfig, info: DatasetInfo, base: ModelCard | None, fitted: Fit | None, kimg: float
) -> Iterator[str]:
    size = config.settings["resolution"]
    shown = f"about {_count(kimg * 1000)} pictures at {size} × {size} px"
    yield f"In {lasting(config.minutes)} this machine can show the model {shown}."
    if kimg < _FIRST_IMPRESSION_KIMG:
        yield "So few give a first impression only; more minutes give more to keep."
    if base is not None:
        yield f"It goes on from {base.title}, so the first pictures are good ones and then turn into yours."
    if fitted is not None:
        yield from fitted.reasons
    if size < info.resolution:
        yield (
            f"Your pictures are prepared at {info.resolution} px, but in this time it learns best at {size}: with more time"
            " the model could use more of that."
        )
    if config.settings.get("projected"):
        yield "The critic sees with a network that knows a million photographs, so shapes come soon (Projected GAN)."
    if config.augment in _VARYING:
        few = f"You have {counted(info.count, 'picture')}. " if info.count < SMALL_SET * 5 else ""
        yield f"{few}They are {_VARYING[config.augment]}, so that the critic does not learn them by heart."
    if config.freeze_d_layers:
        yield "The critic keeps its first layers, because there are few pictures (Freeze-D)."
    if config.mirror:
        yield "Mirror images count as pictures of their own."
    if config.family == "stylegan2" and not config.path_length_weight:
        yield "In a short run nothing is spent on an even latent space; from an hour on it is."
    if 0 < info.count < 50:
        yield "Fewer than 50 pictures give close variations of them; the more pictures, the freer the model."


def _count(number: float) -> str:
    """A number as people say it: 9,700 or 86,000."""
    if number < 1000:
        return f"{number:.0f}"
    digits = 1 - math.floor(math.log10(number))
    return f"{round(number, digits):,.0f}"


def _this_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _this_has_bfloat16() -> bool:
    from studio.ops.precision import cpu_has_bfloat16

    return cpu_has_bfloat16()
