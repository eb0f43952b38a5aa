"""Fully connected generators: any state dict whose tensors join to one stack of linear layers, ending in all pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from studio.weights.foreign import guess, parts
from studio.weights.foreign.chain import Chain, chain_of
from studio.weights.foreign.contents import Contents, Imported
from studio.weights.foreign.geometry import Move

_CHANNELS = (3, 1, 4)
_SMALLEST, _LARGEST = 8, 512


def read(contents: Contents) -> Imported | None:
    """A stack of linear layers from a latent to all pixels of a picture; None if there is none."""
    for state in parts.states(contents):
        found = parts.parts_of(state)
        chain = chain_of(found, ordered=contents.container != "safetensors") if found else None
        if chain is not None and _is_generator(chain):
            return _imported(contents, chain)
    return None


def _is_generator(chain: Chain) -> bool:
    links = chain.links
    linear = all(link.kind == "linear" for link in links)
    ends = links[0].inputs > 1 and bool(_pictures(links[-1].outputs))
    return linear and len(links) > 1 and ends and bool(guess.label_inputs(chain))


def _pictures(numbers: int) -> list[tuple[int, int]]:
    """(channels, resolution) of the square pictures that have so many numbers, the likeliest first."""
    return [
        (channels, side)
        for channels in _CHANNELS
        if _SMALLEST <= (side := math.isqrt(numbers // channels)) <= _LARGEST and channels * side**2 == numbers
    ]


def _imported(contents: Contents, chain: Chain) -> Imported:
    normalised = any(link.norm is not None for link in chain.links)
    classes = len(chain.embedding) if chain.embedding is not None else 0
    return Imported(
        family="mlp",
        format=f"Fully connected generator, {contents.container} state dict",
        candidates=guess.candidates(chain, _guesses(contents, chain)),
        generator=chain.names(places=3 if normalised else 2),
        classes=tuple(str(number) for number in range(classes)),
        arguments=guess.numbers_told(contents),
    )


def _guesses(contents: Contents, chain: Chain) -> Iterator[tuple[str, guess.Guess]]:
    """The likeliest reading, then those that differ from it in one thing."""
    told = guess.sizes_told(contents)
    (channels, side), *others = sorted(_pictures(chain.links[-1].outputs), key=lambda picture: picture[1] not in told)
    best = guess.Guess(
        moves=(Move(),) * len(chain.links),
        resolution=side,
        channels=channels,
        activation="leaky_relu" if _grows(chain) else "relu",
        epsilon=guess.ODD_EPSILON if _is_copied(chain) else guess.EPSILON,
        label_input=guess.label_inputs(chain)[0],
    )

    def changed(best: guess.Guess) -> Iterator[tuple[str, guess.Guess]]:
        return ((title, replace(best, **changes)) for title, changes in guess.alternatives(chain, best))

    best = guess.settled(chain, best, changed)
    yield "Likeliest", best
    yield from changed(best)
    for other_channels, other_side in others:
        colours = {1: "grey", 3: "colour", 4: "colour with transparency"}[other_channels]
        yield f"{other_side} px, {colours}", replace(best, channels=other_channels, resolution=other_side)


def _grows(chain: Chain) -> bool:
    """Whether each hidden layer is wider than the one before, as where leaky ReLUs are usual."""
    return all(link.inputs < link.outputs for link in chain.links[1:])


def _is_copied(chain: Chain) -> bool:
    """Whether all hidden layers but the first are normalised, as in a widely copied collection of GANs."""
    norms = [link.norm_kind for link in chain.links]
    return len(norms) > 2 and norms[0] == norms[-1] == "none" and set(norms[1:-1]) == {"batch"}
