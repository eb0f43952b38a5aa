"""Batch normalisation remembers what it met in training: a wrong guess about the layers before it meets something else.

So a few latents are sent through the layers that a guess describes, in numpy, and what arrives at every normalisation is
compared with the mean and the variance that it has learned. Activations, ε, windows and the place of a label show so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from studio.weights.foreign.chain import Chain, Link

_LATENTS = 16
_MOST_PRODUCTS = 150_000_000
_LEAST_VARIANCE = 1e-8

_ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda values: np.maximum(values, 0),
    "leaky_relu": lambda values: np.where(values > 0, values, 0.2 * values),
    "none": lambda values: values,
}


def surprise(chain: Chain, layers: Sequence[Mapping[str, Any]], label_input: str = "beside") -> float | None:
    """How far what the normalisations meet is from what they have learned; None if too little can be told.

    Args:
        layers: of a guess, as settings of the studio's stacks.
    """
    with np.errstate(all="ignore"):
        return _rehearsed(chain, layers, _latents(chain, label_input)[:, :, None, None])


def _rehearsed(chain: Chain, layers: Sequence[Mapping[str, Any]], values: np.ndarray) -> float | None:
    products = 0
    found: list[float] = []
    for link, layer in zip(chain.links, layers, strict=True):
        products += _products(link, layer, values.shape)
        if products > _MOST_PRODUCTS or layer["activation"] not in _ACTIVATIONS or link.slope is not None:
            break
        values = _summed(link, layer, values)
        steps = [_ACTIVATIONS[layer["activation"]]]
        if link.norm is not None:
            if "running_mean" not in link.norm.tensors:
                break
            steps.insert(int(link.norm_last), partial(_normalised, link, layer, found))
        for step in steps:
            values = step(values)
    return float(np.mean(found)) if found else None


def _latents(chain: Chain, label_input: str) -> np.ndarray:
    """Latents as they enter, with embedded labels where there are any. The numbers are the same every time."""
    random, inputs = np.random.default_rng(0), chain.links[0].inputs
    if chain.embedding is None:
        return random.standard_normal((_LATENTS, inputs), np.float32)
    labels = chain.embedding[random.integers(0, len(chain.embedding), _LATENTS)].astype(np.float32)
    if label_input == "times":
        return labels * random.standard_normal((_LATENTS, inputs), np.float32)
    z = random.standard_normal((_LATENTS, inputs - labels.shape[1]), np.float32)
    return np.concatenate([labels, z] if label_input == "embedded_before" else [z, labels], axis=1)


def _products(link: Link, layer: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """Multiplications for one latent."""
    pixels = shape[2] * shape[3] * layer.get("enlarge", 1) ** 2
    return link.total.weight.size * (1 if link.kind == "linear" else pixels)


def _summed(link: Link, layer: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    """The weighted sum of one layer: [n, c, h, w] -> [n, width, h', w']."""
    weight = link.total.weight.astype(np.float32)
    if link.kind == "linear":
        made = (values.reshape(len(values), -1) @ weight.T).reshape(len(values), link.maps, link.kernel, link.kernel)
    elif link.kind == "transposed":
        made = _transposed(values, weight, layer)
    else:
        made = _convolved(values, weight, layer)
    bias = link.total.tensors.get("bias")
    if bias is None:
        return made
    return made + (bias.reshape(made.shape[1:]) if link.kind == "linear" else bias[:, None, None]).astype(np.float32)


def _transposed(values: np.ndarray, weight: np.ndarray, layer: Mapping[str, Any]) -> np.ndarray:
    stride, padding, size = layer["stride"], layer["padding"], values.shape[2]
    kernel, reach = weight.shape[2], (size - 1) * stride + 1
    side = (size - 1) * stride + kernel + layer["output_padding"]
    made = np.zeros((len(values), weight.shape[1], side, side), np.float32)
    for row in range(kernel):
        for column in range(kernel):
            part = np.einsum("nchw,co->nohw", values, weight[:, :, row, column], optimize=True)
            made[:, :, row : row + reach : stride, column : column + reach : stride] += part
    return made[:, :, padding : side - padding, padding : side - padding]


def _convolved(values: np.ndarray, weight: np.ndarray, layer: Mapping[str, Any]) -> np.ndarray:
    times, padding, kernel = layer.get("enlarge", 1), layer["padding"], weight.shape[2]
    values = values.repeat(times, axis=2).repeat(times, axis=3)
    values = np.pad(values, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    side = values.shape[2] - kernel + 1
    made = np.zeros((len(values), weight.shape[0], side, side), np.float32)
    for row in range(kernel):
        for column in range(kernel):
            window = values[:, :, row : row + side, column : column + side]
            made += np.einsum("nchw,oc->nohw", window, weight[:, :, row, column], optimize=True)
    return made


def _normalised(link: Link, layer: Mapping[str, Any], found: list[float], values: np.ndarray) -> np.ndarray:
    """Normalise by what was learned, and note how far that is from what arrived."""
    numbers = {name: tensor.astype(np.float32) for name, tensor in (link.norm.tensors if link.norm else {}).items()}
    mean, variance = numbers["running_mean"], numbers["running_var"]
    met = values.reshape(len(values), len(mean), -1)
    learned = np.maximum(variance, _LEAST_VARIANCE)
    ratio = np.maximum(met.var(axis=(0, 2)), _LEAST_VARIANCE) / learned
    found.append(float(np.median((met.mean(axis=(0, 2)) - mean) ** 2 / learned) + np.median(np.abs(np.log(ratio)))))
    gain = numbers.get("weight", np.ones_like(mean)) / np.sqrt(variance + layer.get("epsilon", 1e-5))
    offset = numbers.get("bias", np.zeros_like(mean)) - mean * gain
    return np.asarray(met * gain[:, None] + offset[:, None], np.float32).reshape(values.shape)
