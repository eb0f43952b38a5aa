"""Which rows batch normalisation looks at together, where several processes share a batch or a batch has parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from studio.families.fastgan import ClassNormalisation
from studio.training.bench import Bench
from studio.training.distributed import World, summed
from studio.training.state import TrainState


def normalising(bench: Bench, state: TrainState) -> AbstractContextManager[Any]:
    """A context in which each part of a batch, as `ghost_batches` says, is normalised by itself, whichever processes have it.

    Where the parts cannot be dealt out to the processes evenly, all rows are looked at together."""
    parts, world = bench.config.ghost_batches, bench.world
    alone = parts == world.size
    if alone or not normalises(state):
        return nullcontext()
    return SharedStatistics(world) if parts % world.size else GhostBatches(parts // world.size)


def normalises(state: TrainState) -> bool:
    """Whether a network looks at the statistics of a batch."""
    networks: tuple[nn.Module, ...] = (state.generator, state.discriminator)
    return any(isinstance(part, (_BatchNorm, ClassNormalisation)) for network in networks for part in network.modules())


class _Statistics(TorchFunctionMode):
    """A context in which `normalised` takes the place of batch normalisation in training."""

    def __torch_function__(
        self,
        called: Callable[..., Any],
        types: Any,
        given: tuple[Any, ...] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        named = named or {}
        if called is F.batch_norm and (named.get("training") or given[5:6] == (True,)):
            return self.normalised(*given, **named)
        return called(*given, **named)

    def normalised(self, images: Tensor, *given: Any, **named: Any) -> Tensor:
        """images [n, c, …], and the rest of what `torch.nn.functional.batch_norm` takes."""
        raise NotImplementedError


class GhostBatches(_Statistics):
    """Every `parts`-th row is normalised together, as if it were a batch (Hoffer et al. 2017, "Train longer, generalize
    better"). They are the rows that as many processes would have; the statistics kept for play are the first ones', as the
    leader's would be. What cannot be parted evenly is left together."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self._parts = parts

    def normalised(
        self, images: Tensor, kept_mean: Tensor | None, kept_variance: Tensor | None, *given: Any, **named: Any
    ) -> Tensor:
        if len(images) % self._parts:
            return F.batch_norm(images, kept_mean, kept_variance, *given, **named)
        last = images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last)
        rows = images.permute(0, 2, 3, 1) if last else images  # so that copies walk through memory as it lies
        parts = []
        for part in rows.reshape(-1, self._parts, *rows.shape[1:]).unbind(1):
            part = _packed(part).permute(0, 3, 1, 2) if last else _packed(part)
            part = F.batch_norm(part, kept_mean, kept_variance, *given, **named)
            kept_mean = kept_variance = None
            parts.append(_packed(part.permute(0, 2, 3, 1) if last else part))
        rows = torch.stack(parts, dim=1).flatten(0, 1)
        return rows.permute(0, 3, 1, 2) if last else rows


def _packed(values: Tensor) -> Tensor:
    """The same without gaps, and so its slope: batch normalisation is five times as slow on others."""
    values = values.contiguous()
    if values.requires_grad:
        values.register_hook(torch.Tensor.contiguous)  # type: ignore[no-untyped-call]
    return values


class SharedStatistics(_Statistics):
    """Batch normalisation looks at the rows of all processes, as if they were one batch."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def normalised(
        self,
        images: Tensor,
        kept_mean: Tensor | None,
        kept_variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """images [n, c, …] with the mean and variance of each channel over all processes. The same type."""
        dims, values = [0, *range(2, images.dim())], images.float()
        variance, mean = torch.var_mean(values, dim=dims, correction=0)
        own = torch.zeros(self._world.size, 1, 1, device=images.device)
        own[self._world.rank] = 1
        means, variances = summed(own * torch.stack([mean, variance]), self._world).unbind(dim=1)
        mean = means.mean(dim=0)
        variance = variances.mean(dim=0) + (means - mean).square().mean(dim=0)
        count = values.numel() // values.shape[1] * self._world.size
        if kept_mean is not None and kept_variance is not None:
            kept_mean.lerp_(mean.detach(), momentum)
            kept_variance.lerp_(variance.detach() * (count / max(count - 1, 1)), momentum)
        shape = (1, -1, *[1] * (images.dim() - 2))
        result = (values - mean.view(shape)) * torch.rsqrt(variance + eps).view(shape)
        if weight is not None and bias is not None:
            result = result * weight.view(shape) + bias.view(shape)
        return result.to(images.dtype)
