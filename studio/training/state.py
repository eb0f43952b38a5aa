"""Everything that changes while a run trains, named; a checkpoint saves exactly this, and no random state exists."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studio.families.base import Listening, family, settings_from
from studio.ops import precision, seeds
from studio.training.config import TrainConfig
from studio.training.recogniser import Recogniser
from studio.training.regularisers import require_able, require_room


@dataclass(kw_only=True)
class TrainState:
    """The networks, their optimizers and the counters of a run.

    Attributes:
        recogniser: reads InfoGAN's codes, if there are any; it learns with the generator, by the same optimizer.
        average: the generator whose weights are the moving average; it is what people play.
        step: generator steps done; images: real pictures shown to the critic; seconds: time trained.
        batch: pictures at once, halved when memory runs out.
        rate_scale: what the learning rates are multiplied by, lowered after a rollback.
        augment_p: strength of ADA, with the sum (a scalar on the device) and the count of the signs it is judged by.
        sign_mean: the newest judgement r_t, the mean sign of the critic on real pictures.
        path_mean: moving mean of the path length, a float32 scalar.
        logit_means: moving means of the critic's logits of real and of made pictures [2], for LeCam.
        diversity: the highest diversity of the preview so far.
    """

    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module
    g_optimizer: torch.optim.Optimizer
    d_optimizer: torch.optim.Optimizer
    path_mean: Tensor
    sign_sum: Tensor
    logit_means: Tensor
    batch: int
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    rate_scale: float = 1.0
    rollbacks: int = 0
    augment_p: float = 0.0
    sign_count: int = 0
    sign_mean: float = 0.0
    diversity: float = 0.0
    recogniser: Recogniser | None = None

    @property
    def kimg(self) -> float:
        """Thousands of real pictures shown."""
        return self.images / 1000


COUNTERS = (
    "batch",
    "step",
    "images",
    "seconds",
    "rate_scale",
    "rollbacks",
    "augment_p",
    "sign_count",
    "sign_mean",
    "diversity",
)
MEANS = ("path_mean", "sign_sum", "logit_means")
NETWORKS = ("generator", "discriminator", "average", "recogniser")
OPTIMIZERS = ("g_optimizer", "d_optimizer")


def new_state(
    config: TrainConfig, device: torch.device, base: tuple[nn.Module, nn.Module | None] | None = None
) -> TrainState:
    """A state at step 0: fresh networks from the seed, or copies of the base's generator and discriminator.

    A base without a discriminator gets a fresh one.
    """
    kind, settings = family(config.family), settings_from(config.family, config.settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.stream(config.seed, "networks").initial_seed())
        generator, discriminator = kind.generator(settings), kind.discriminator(settings)
        recogniser = Recogniser(config.codes) if config.codes else None
    forgers = nn.ModuleList(forger for forger in (generator, recogniser) if forger is not None)
    if base is not None:
        generator.load_state_dict(base[0].state_dict())
        if base[1] is not None:
            discriminator.load_state_dict(base[1].state_dict())
    for network in (forgers, discriminator):
        network.to(device=device, dtype=torch.float32).to(memory_format=torch.channels_last)
        network.train().requires_grad_(True)
    freeze(discriminator, config.freeze_d_layers)
    require_able(config, discriminator)
    require_room(config, generator)
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).eval().requires_grad_(False),
        g_optimizer=make_optimizer(config, forgers, generator_side=True),
        d_optimizer=make_optimizer(config, discriminator, generator_side=False),
        recogniser=recogniser,
        path_mean=torch.zeros([], device=device),
        sign_sum=torch.zeros([], device=device),
        logit_means=torch.zeros(2, device=device),
        batch=config.batch,
        augment_p=config.augment_start_p,
    )


def freeze(discriminator: nn.Module, count: int) -> None:
    """Stop the first `count` layers, in the order that pictures pass them, from learning (Mo et al. 2020, Freeze-D)."""
    layers = [module for module in discriminator.modules() if next(module.parameters(recurse=False), None) is not None]
    for layer in layers[:count]:
        layer.requires_grad_(False)


def make_optimizer(config: TrainConfig, network: nn.Module, *, generator_side: bool) -> torch.optim.Optimizer:
    """The optimizer of one network's unfrozen weights; class layers, the last group, learn at `class_pace`.

    Lazy regularisation takes one more step every `interval`, so rate and betas are corrected by
    m = interval / (interval + 1): rate m, beta^m (Karras et al. 2020, appendix B).
    """
    rate = config.g_learning_rate if generator_side else config.d_learning_rate
    lazy = config.path_length_weight > 0 if generator_side else config.smooths_lazily
    interval = config.path_length_interval if generator_side else config.r1_interval
    ratio = interval / (interval + 1) if lazy else 1.0
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = _by_pace(network, parameters, rate * ratio, config.class_pace)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate * ratio, momentum=config.beta1**ratio)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate * ratio, alpha=config.beta2**ratio, foreach=True)
    betas = (config.beta1**ratio, config.beta2**ratio)
    fused = {"fused": True} if parameters and parameters[0].device.type in ("cpu", "cuda") else {}
    return torch.optim.Adam(groups, lr=rate * ratio, betas=betas, eps=1e-8, **fused)


def _by_pace(network: nn.Module, parameters: list[nn.Parameter], rate: float, pace: float) -> list[Any]:
    """The parameters; in two groups if the network has class layers that learn at another pace."""
    listening = [module.class_parameters() for module in network.modules() if isinstance(module, Listening)]
    slow = {id(parameter) for some in listening for parameter in some}
    if not slow or pace == 1:
        return list(parameters)
    first, last = ([one for one in parameters if (id(one) in slow) is wanted] for wanted in (False, True))
    return [{"params": first}, {"params": last, "lr": rate * pace}]


def set_rates(state: TrainState, factor: float = 1.0) -> None:
    """Both learning rates: `factor` times what the configuration and the state's `rate_scale` make of them."""
    for optimizer in (state.g_optimizer, state.d_optimizer):
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * state.rate_scale * factor


def tensors_of(state: TrainState) -> dict[str, Tensor]:
    """Every tensor of the state under its name, such as `average.mapping.w_avg` or `g_optimizer.3.exp_avg`."""
    found: dict[str, Tensor] = {name: getattr(state, name) for name in MEANS}
    for name in NETWORKS:
        network: nn.Module | None = getattr(state, name)
        found |= {f"{name}.{key}": value for key, value in network.state_dict().items()} if network else {}
    for name in OPTIMIZERS:
        optimizer: torch.optim.Optimizer = getattr(state, name)
        for place, entry in optimizer.state_dict()["state"].items():
            found |= {f"{name}.{place}.{key}": value for key, value in entry.items() if isinstance(value, Tensor)}
    return found


def put_tensors(state: TrainState, tensors: Mapping[str, Tensor]) -> None:
    """Fill a state with the tensors of `tensors_of`. Raises RuntimeError or KeyError if they do not fit."""
    for name in MEANS:
        if name in tensors:
            setattr(state, name, tensors[name].to(getattr(state, name).device))
    for name in NETWORKS:
        if (network := getattr(state, name)) is not None:
            network.load_state_dict(_below(tensors, name))
    for name in OPTIMIZERS:
        _put_optimizer(getattr(state, name), _below(tensors, name))


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}


def _put_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Each entry takes the memory layout of its weight: fused kernels walk both in memory order."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    entries: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        place, key = name.split(".", 1)
        weight = weights[int(place)]
        if value.shape == weight.shape and key != "step":
            value = torch.empty_like(weight).copy_(value)
        entries.setdefault(int(place), {})[key] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})


def compute_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The number format of the convolutions: bfloat16 where asked for, or where "auto" finds hardware for it."""
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return precision.quick_dtype() if device.type == "cpu" else torch.float32


def pick_device(config: TrainConfig) -> torch.device:
    """The device that the configuration names, or the fastest one here."""
    if config.device != "auto":
        return torch.device(config.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
