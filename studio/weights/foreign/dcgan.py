"""DCGANs and other plain convolutional generators: any state dict whose tensors join to one stack, whatever its names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign import guess, parts
from studio.weights.foreign.chain import Chain, chain_of
from studio.weights.foreign.contents import Contents, Imported
from studio.weights.foreign.geometry import Geometry, geometries

_CHANNELS = (1, 3, 4)
_STILL_LIKELY = 3.0
_MOST_SIZES = 3


def read(contents: Contents) -> Imported | None:
    """A stack with convolutions from a latent to pictures; None if there is none.

    Raises:
        BadInput: the file holds a discriminator, or a network that turns pictures into pictures.
    """
    ordered = contents.container != "safetensors"
    for state in parts.states(contents):
        found = parts.parts_of(state)
        chain = chain_of(found, ordered=ordered) if found else None
        if chain is not None and _is_generator(chain) and (read := _imported(contents, chain)):
            return read
    for state in parts.states(contents):
        _refuse_others(state, ordered=ordered)
    for state in parts.states(contents, critic=True):
        _refuse_others(state, ordered=ordered)
    return None


def _is_generator(chain: Chain) -> bool:
    convolutions = any(link.kind != "linear" for link in chain.links)
    ends = chain.links[0].inputs > 1 and chain.links[-1].maps in _CHANNELS
    return convolutions and ends and bool(guess.label_inputs(chain))


def _imported(contents: Contents, chain: Chain) -> Imported | None:
    channels = chain.links[-1].maps
    told = guess.sizes_told(contents)
    ways = geometries(chain.links, channels=channels, wanted=told) or geometries(chain.links, channels=channels)
    if not ways:
        return None
    found = guess.candidates(chain, _guesses(chain, ways, channels))
    classes = len(chain.embedding) if chain.embedding is not None else 0
    return Imported(
        family="dcgan",
        format=f"DCGAN, {contents.container} state dict",
        candidates=found,
        generator=chain.names(),
        discriminator=_critic(contents, found[0].settings),
        classes=tuple(str(number) for number in range(classes)),
        arguments=guess.numbers_told(contents),
    )


def _guesses(chain: Chain, ways: tuple[Geometry, ...], channels: int) -> Iterator[tuple[str, guess.Guess]]:
    """The likeliest reading, then those that differ from it in one thing."""
    copied = any(link.opened and link.kind == "convolution" for link in chain.links)
    best = guess.Guess(
        moves=ways[0].moves,
        resolution=ways[0].resolution,
        channels=channels,
        activation="leaky_relu" if copied else "relu",
        epsilon=guess.ODD_EPSILON if copied else guess.EPSILON,
        hidden_norm=guess.hidden_norm(chain),
        label_input=guess.label_inputs(chain)[0],
    )

    def others(best: guess.Guess) -> Iterator[tuple[str, guess.Guess]]:
        for way in ways[:_MOST_SIZES]:
            if way.cost <= ways[0].cost + _STILL_LIKELY and way.resolution != best.resolution:
                yield f"{way.resolution} px", replace(best, moves=way.moves, resolution=way.resolution)
        for title, changes in guess.alternatives(chain, best):
            yield title, replace(best, **changes)

    best = guess.settled(chain, best, others)
    yield "Likeliest", best
    yield from others(best)


def _critic(contents: Contents, settings: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The discriminator beside a standard generator, if it is the standard one too."""
    if "layers" in settings:
        return None
    expected = _critic_shapes(settings)
    for state in parts.states(contents, critic=True):
        named = _critic_names(parts.parts_of(state) or ())
        if {name: value.shape for name, value in named.items() if value.ndim} == expected:
            return named
    return None


def _critic_names(found: Sequence[parts.Part]) -> dict[str, np.ndarray]:
    """The tensors under the studio's names: convolution k is main.{3k - 1}, its normalisation main.{3k}."""
    named: dict[str, np.ndarray] = {}
    number = -1
    for part in found:
        number += part.kind == "sum"
        place = max(0, 3 * number - (part.kind == "sum"))
        held = part.tensors if part.kind == "sum" else part.tensors | {"num_batches_tracked": np.zeros((), np.int64)}
        named |= {f"main.{place}.{name}": value for name, value in held.items()}
    return named


def _critic_shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    levels = int(settings["resolution"]).bit_length() - 3
    widths = [int(settings["width"]) * min(2**level, 8) for level in range(levels)]
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise([settings["channels"], *widths, 1])):
        shapes[f"main.{max(0, 3 * number - 1)}.weight"] = (outputs, inputs, 4, 4)
        if 0 < number < levels:
            names = ("weight", "bias", "running_mean", "running_var")
            shapes |= {f"main.{3 * number}.{name}": (outputs,) for name in names}
    return shapes


def _refuse_others(state: Mapping[str, np.ndarray], *, ordered: bool) -> None:
    """Raise BadInput for networks that begin with a picture."""
    names = list(state) if ordered else sorted(state, key=parts.natural)
    windows = [state[name].shape for name in names if state[name].ndim == 4]
    if len(windows) < 2 or windows[0][1] not in (1, 3, 4, 6) or windows[0][0] < 8:
        return
    last = windows[-1]
    if last[0] == 1 and last[1] == max(window[0] for window in windows):
        raise BadInput(
            "This file holds the discriminator of a GAN, which judges pictures and makes none.",
            "Bring the generator; it is often called G or netG.",
        )
    if last[0] in _CHANNELS or last[1] in _CHANNELS:
        raise BadInput(
            "This network turns pictures into pictures, as pix2pix and CycleGAN do; it has no latent space to play.",
            "Bring a generator that makes pictures from random numbers.",
        )
